/** Stacks: where the loops of graphs without functions keep what their gradients need. Made anew in every step; a handle is a value. */
import type { KernelBinder, KernelTable } from '../kernel.js';
import { Value } from '../value.js';
import { invalid, typeAttr } from './attributes.js';
import { ElementList, listOf } from './element-list.js';

const stack: KernelBinder = (operation) => {
  const dtype = typeAttr(operation, 'elem_type');
  return () => [Value.ofHeld('resource', new ElementList(dtype, null, []))];
};

const push: KernelBinder =
  (operation) =>
  ([handle, value]) => {
    listOf(operation, handle!).elements.push(value!.retain());
    return [value!.retain()];
  };

const pop: KernelBinder =
  (operation) =>
  ([handle]) => {
    const top = listOf(operation, handle!).elements.pop();
    if (top === undefined) throw invalid(operation, 'a stack with an element', 'an empty one');
    return [top];
  };

const close: KernelBinder = (operation) => (inputs) => {
  listOf(operation, inputs[0]!).release();
  return [];
};

export const STACK_KERNELS: KernelTable = {
  StackV2: stack,
  StackPushV2: push,
  StackPopV2: pop,
  StackCloseV2: close,
};
