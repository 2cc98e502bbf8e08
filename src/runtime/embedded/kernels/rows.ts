/** Rows of variables: gather reads them from the shared storage directly, scatter changes them there; the table is never copied. */
import type { DataType } from '@tensorflow/tfjs-core';
import type { IndexArray, NativeVariable, NumericArray } from '../../../addon/native.js';
import { GradsyncError } from '../../../errors.js';
import type { Operation } from '../../../graph/operation.js';
import type { BoundKernel } from '../kernel.js';
import type { TaskResources } from '../resources.js';
import { livesOnHeap, Value } from '../value.js';
import type { VariableAccess } from '../variable-access.js';
import { intAttr } from './attributes.js';
import { sameShape } from './broadcast.js';
import { numeric } from './host.js';
import { handleAt, NOTHING, type ResourceKernel, type ResourceKernelTable } from './resource-kernel.js';

/** A gather along dimension 0 of the variable whose handle operation is `handle`; indices are input 1. */
export function bindGather(operation: Operation, handle: Operation, resources: TaskResources): BoundKernel {
  if (intAttr(operation, 'batch_dims', 0) !== 0) throw noBatchDims(operation);
  const variable = resources.variable(handle);
  return (inputs) => [gatherRows(variable, inputs[1]!, resources)];
}

function gatherRows(variable: VariableAccess, indices: Value, { backend }: TaskResources): Value {
  const shape = [...indices.shape, ...variable.currentShape().slice(1)];
  const { dtype } = variable;
  if (!livesOnHeap(dtype)) return gatherOnHost(variable, indices, shape);
  // The output comes first: making it may grow the heap, and views of the heap die then.
  const info = backend.makeOutput(shape, dtype as DataType);
  const out = backend.typedArrayFromHeap(info) as unknown as NumericArray;
  const value = Value.ofDevice(backend, info);
  variable.native.gather(indices.host() as IndexArray, out);
  return value;
}

function gatherOnHost(variable: VariableAccess, indices: Value, shape: readonly number[]): Value {
  const sample = variable.native.read().data;
  const ArrayType = sample.constructor as new (length: number) => NumericArray;
  const out = new ArrayType(shape.reduce((count, dim) => count * dim, 1));
  variable.native.gather(indices.host() as IndexArray, out);
  return Value.ofHost(variable.dtype, shape, out);
}

function scatter(
  run: (native: NativeVariable, indices: IndexArray, rows: NumericArray) => void,
): ResourceKernel {
  return {
    handles: [0],
    bind: (operation, resources) => {
      const variable = resources.variable(handleAt(operation, 0));
      return ([, indices, updates]) => {
        checkRows(operation, variable, indices!, updates!);
        run(variable.native, indices!.host() as IndexArray, numeric(updates!));
        return NOTHING;
      };
    },
  };
}

const scatterAdd = scatter((native, indices, rows) => native.scatterAdd(indices, rows));
const scatterSub = scatter((native, indices, rows) => native.scatterSub(indices, rows));
const scatterUpdate = scatter((native, indices, rows) => native.scatterUpdate(indices, rows));

export const ROW_KERNELS: ResourceKernelTable = {
  ResourceGather: {
    handles: [0],
    bind: (operation, resources) => bindGather(operation, handleAt(operation, 0), resources),
  },
  ScatterAdd: scatterAdd,
  ScatterSub: scatterSub,
  ScatterUpdate: scatterUpdate,
  ResourceScatterAdd: scatterAdd,
  ResourceScatterSub: scatterSub,
  ResourceScatterUpdate: scatterUpdate,
};

function checkRows(operation: Operation, variable: VariableAccess, indices: Value, rows: Value): void {
  const expected = [...indices.shape, ...variable.currentShape().slice(1)];
  if (sameShape(expected, rows.shape)) return;
  throw new GradsyncError('INVALID_ARGUMENT', `Updates of "${operation.name}" (${operation.type})`, {
    expected: `shape [${expected}], one row of variable "${variable.name}" per index`,
    received: `[${rows.shape}]`,
    remedy: 'give as many rows as indices; a scalar update is not broadcast',
    operation: operation.name,
    variable: variable.name,
  });
}

function noBatchDims(operation: Operation): GradsyncError {
  return new GradsyncError('UNIMPLEMENTED', `Operation "${operation.name}" (${operation.type})`, {
    expected: 'batch_dims = 0',
    received: 'another number',
    remedy: 'run this graph on TensorFlow',
    operation: operation.name,
  });
}
