/**
 * Collective operations, on communicators whose ranks are the tasks. All ranks get the same bits, reduced in rank order, and rows may be of
 * different numbers. A rank's data lie in shared memory: the addon reads and writes them in place.
 */
import type { CollectiveReduction, NativeDType, NumericArray } from '../../../addon/native.js';
import { GradsyncError } from '../../../errors.js';
import type { Operation } from '../../../graph/operation.js';
import { type CollectiveKeys, keysIn } from '../collective-keys.js';
import type { BoundKernel } from '../kernel.js';
import type { TaskResources } from '../resources.js';
import { Value } from '../value.js';
import { intAttr, stringAttr } from './attributes.js';
import { numeric, scalar } from './host.js';
import type { ResourceKernel, ResourceKernelTable } from './resource-kernel.js';
import { waitFor } from './wait.js';

function collective(bind: (operation: Operation, resources: TaskResources) => BoundKernel): ResourceKernel {
  return { handles: [], bind };
}

const reduce = collective((operation, resources) => {
  const reduction = reductionOf(operation);
  return async ([input, ...keys], runtime) => {
    const { key, object, traffic } = resources.collective(keysAt(operation, keys));
    const tensor = { dtype: input!.dtype as NativeDType, shape: input!.shape, data: sharedCopy(input!) };
    traffic.given++;
    await waitFor(key, object.allReduce(tensor, { key, reduction, deadlineMs: runtime.deadlineMs }));
    traffic.taken++;
    return [Value.ofHost(input!.dtype, input!.shape, tensor.data)];
  };
});

const gather = collective((operation, resources) => async ([input, ...keys], runtime) => {
  const { key, object, traffic } = resources.collective(keysAt(operation, keys));
  const tensor = { dtype: input!.dtype as NativeDType, shape: input!.shape, data: sharedCopy(input!) };
  traffic.given++;
  const { values } = await waitFor(key, object.allGather(tensor, { key, deadlineMs: runtime.deadlineMs }));
  traffic.taken++;
  return [Value.ofHost(input!.dtype, values.shape, values.data)];
});

export const COLLECTIVE_KERNELS: ResourceKernelTable = {
  CollectiveReduce: reduce,
  CollectiveGather: gather,
  CollectiveReduceV2: reduce,
  CollectiveGatherV2: gather,
};

/** The keys: attributes, or as they come in with the values. */
function keysAt(operation: Operation, inputs: readonly Value[]): CollectiveKeys {
  if (inputs.length === 0) return keysIn(operation);
  const [size, group, instance] = inputs.map(scalar);
  if (intAttr(operation, 'Nordering_token', 0) === 0) {
    return { size: size!, group: group!, instance: instance! };
  }
  throw new GradsyncError('UNIMPLEMENTED', `Operation "${operation.name}" (${operation.type})`, {
    expected: 'no ordering tokens',
    received: 'some',
    remedy: 'run it on TensorFlow',
    operation: operation.name,
  });
}

const REDUCTIONS: Readonly<Record<string, CollectiveReduction>> = {
  Add: 'sum',
  Mul: 'product',
  Min: 'min',
  Max: 'max',
};

function reductionOf(operation: Operation): CollectiveReduction {
  const merge = stringAttr(operation, 'merge_op');
  const final = stringAttr(operation, 'final_op');
  const reduction = Object.hasOwn(REDUCTIONS, merge) ? REDUCTIONS[merge] : undefined;
  if (reduction !== undefined && final === 'Id') return reduction;
  if (merge === 'Add' && final === 'Div') return 'mean';
  throw new GradsyncError('UNIMPLEMENTED', `Operation "${operation.name}" (${operation.type})`, {
    expected: 'Add, Mul, Min or Max, and Add with Div for the mean',
    received: `${merge} with ${final}`,
    remedy: 'run it on TensorFlow',
    operation: operation.name,
  });
}

/** A copy in memory that all threads see, in which a result may be written. */
function sharedCopy(value: Value): NumericArray {
  const source = numeric(value);
  const Elements = source.constructor as new (buffer: SharedArrayBuffer) => NumericArray;
  const copy = new Elements(new SharedArrayBuffer(source.byteLength));
  (copy as Float32Array).set(source as Float32Array);
  return copy;
}
