/**
 * Handles: which operation a handle or reference edge leads back to, and under which key its resource lives. Both are known from the
 * graph alone, so kernels find their resources once, when they are bound, and no handle flows while a step runs.
 */
import { parseDevice } from '../../graph/device.js';
import type { Operation, Tensor } from '../../graph/operation.js';
import { stringAttr } from './kernels/attributes.js';

export type ResourceKind = 'variable' | 'accumulator' | 'queue';

/** Operations that make a handle (Resource..., VarHandleOp, ...V2 queues) or a reference (the others), and of what. */
const HANDLE_TYPES: Readonly<Record<string, ResourceKind>> = {
  VarHandleOp: 'variable',
  VariableV2: 'variable',
  Variable: 'variable',
  ConditionalAccumulator: 'accumulator',
  ResourceConditionalAccumulator: 'accumulator',
  SparseConditionalAccumulator: 'accumulator',
  FIFOQueueV2: 'queue',
  FIFOQueue: 'queue',
};

const REFERENCE_VARIABLES = new Set(['VariableV2', 'Variable']);

/** Operations whose output 0 is the reference that came in at input 0. */
const REFERENCE_FORWARDING = new Set([
  'Assign',
  'AssignAdd',
  'AssignSub',
  'ScatterAdd',
  'ScatterSub',
  'ScatterUpdate',
  'ApplyGradientDescent',
  'ApplyMomentum',
  'ApplyAdam',
  'ApplyAdagrad',
  'ApplyAdagradV2',
  'SparseApplyMomentum',
  'SparseApplyAdagrad',
  'SparseApplyAdagradV2',
  'RefIdentity',
]);

export function resourceKind(operation: Operation): ResourceKind | undefined {
  return Object.hasOwn(HANDLE_TYPES, operation.type) ? HANDLE_TYPES[operation.type] : undefined;
}

/** Operations that pass a resource handle on as it is: through Identities, and into, through and out of loops and branches. */
const HANDLE_FORWARDING = new Set(['Identity', 'Enter', 'Exit', 'NextIteration', 'Switch', 'Merge']);

/** The operation that made the handle or reference `tensor`; undefined if it is an ordinary value. */
export function handleOf(tensor: Tensor): Operation | undefined {
  for (let at = tensor; ; ) {
    const { operation } = at;
    if (at.index === 0 && resourceKind(operation) !== undefined) return operation;
    const source = forwarded(at);
    if (source === undefined) return undefined;
    at = source;
  }
}

/** The input that `tensor` is, as a handle or reference. */
export function forwarded({ operation, index }: Tensor): Tensor | undefined {
  const { type, inputs } = operation;
  if (index === 0 && REFERENCE_FORWARDING.has(type)) return inputs[0];
  if (type === 'IdentityN') return isResource(inputs[index]) ? inputs[index] : undefined;
  if (!HANDLE_FORWARDING.has(type) || (index > 0 && type !== 'Switch')) return undefined;
  const dtype = operation.attributes.get('T');
  return dtype?.kind === 'type' && dtype.value === 'resource' ? inputs[0] : undefined;
}

function isResource(tensor: Tensor | undefined): boolean {
  return tensor !== undefined && handleOf(tensor) !== undefined;
}

/** The reference variable whose current value a consumer of `tensor` reads; undefined if `tensor` is no reference. */
export function referencedVariable(tensor: Tensor): Operation | undefined {
  const handle = handleOf(tensor);
  return handle !== undefined && REFERENCE_VARIABLES.has(handle.type) ? handle : undefined;
}

/** What a resource is called: the task that holds it, and its name within that task and container. */
export interface ResourceAddress {
  readonly task: number;
  readonly container: string;
  readonly name: string;
}

/** `task` is the one whose graph this is: where an operation lives whose device says nothing. */
export function addressOf(handle: Operation, task: number): ResourceAddress {
  const shared = stringAttr(handle, 'shared_name');
  return {
    task: parseDevice(handle.device).task ?? task,
    container: stringAttr(handle, 'container'),
    name: shared === '' ? handle.name : shared,
  };
}

/** The key in the native session. Kinds have separate namespaces, as in TensorFlow. */
export function resourceKey(kind: ResourceKind, { task, container, name }: ResourceAddress): string {
  return [kind, task, container, name].join('|');
}

const KEY_PREFIX = /\b(?:variable|accumulator|queue)\|\d+\|[^|\s'"]*\|/g;

/** A message of the native session, with the names of resources in place of their keys. */
export function withoutKeys(message: string): string {
  return message.replace(KEY_PREFIX, '');
}
