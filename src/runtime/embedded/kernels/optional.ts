/** Optionals: values that only one branch of a functional If has, for its gradient. */
import type { Operation } from '../../../graph/operation.js';
import type { KernelBinder, KernelTable } from '../kernel.js';
import { Value } from '../value.js';
import { invalid } from './attributes.js';
import { ElementList } from './element-list.js';

function optional(elements: (Value | undefined)[]): Value {
  return Value.ofHeld('variant', new ElementList('variant', null, elements));
}

function elementsOf(operation: Operation, { held, dtype }: Value): readonly (Value | undefined)[] {
  if (held instanceof ElementList) return held.elements;
  throw invalid(operation, 'an optional', dtype);
}

const fromValue: KernelBinder = () => (inputs) => [optional(inputs.map((value) => value.retain()))];
const none: KernelBinder = () => () => [optional([])];

const hasValue: KernelBinder =
  (operation) =>
  ([value]) => [Value.ofHost('bool', [], Uint8Array.of(elementsOf(operation, value!).length > 0 ? 1 : 0))];

const getValue: KernelBinder =
  (operation) =>
  ([value]) => {
    const elements = elementsOf(operation, value!);
    if (elements.length === 0)
      throw invalid(operation, 'an optional with a value', 'one of a branch that was not taken');
    return elements.map((element) => element!.retain());
  };

export const OPTIONAL_KERNELS: KernelTable = {
  OptionalFromValue: fromValue,
  OptionalNone: none,
  OptionalHasValue: hasValue,
  OptionalGetValue: getValue,
};
