/**
 * Contract of the kernels that reach shared objects (variables, accumulators, queues). They find their object when they are bound, from
 * the handle edge alone; where they take a handle, the executor passes `HANDLE` and nothing flows.
 */
import { GradsyncError } from '../../../errors.js';
import type { Operation } from '../../../graph/operation.js';
import { handleOf } from '../handles.js';
import type { BoundKernel } from '../kernel.js';
import type { TaskResources } from '../resources.js';
import type { Value } from '../value.js';

export interface ResourceKernel {
  /** Positions of the inputs that are handles or references. */
  readonly handles: readonly number[];
  readonly bind: (operation: Operation, resources: TaskResources) => BoundKernel;
}

export type ResourceKernelTable = Readonly<Record<string, ResourceKernel>>;

/** No outputs: references that an operation passes on are resolved from the graph. */
export const NOTHING: readonly Value[] = [];

/** The operation that made the handle at input `position`. */
export function handleAt(operation: Operation, position: number): Operation {
  const input = operation.inputs[position];
  const handle = input === undefined ? undefined : handleOf(input);
  if (handle === undefined) {
    throw new GradsyncError('UNIMPLEMENTED', `Input ${position} of "${operation.name}" (${operation.type})`, {
      expected: 'the handle of a variable, accumulator or queue of this graph',
      received: input === undefined ? 'nothing' : `"${input.name}" (${input.operation.type})`,
      remedy: 'run this graph on TensorFlow',
      operation: operation.name,
    });
  }
  return handle;
}

/** The one element of an int64 scalar. */
export function scalarInt64(value: Value): bigint {
  return BigInt((value.host() as ArrayLike<number | bigint>)[0] ?? 0);
}
