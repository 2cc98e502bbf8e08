/**
 * Conditional accumulators. A gradient goes from the wasm heap straight into the native object (its one copy); what is taken stays in
 * host memory, where the optimizer reads it. The task is the contributor: contributions are reduced in the order of tasks.
 */
import type { IndexArray, NativeSparseAccumulator, Pending } from '../../../addon/native.js';
import type { Operation } from '../../../graph/operation.js';
import type { BoundKernel, TaskRuntime } from '../kernel.js';
import type { Meeting, TaskResources } from '../resources.js';
import { Value } from '../value.js';
import { boolAttr } from './attributes.js';
import { numeric, scalar } from './host.js';
import {
  handleAt,
  NOTHING,
  type ResourceKernel,
  type ResourceKernelTable,
  scalarInt64,
} from './resource-kernel.js';
import { waitFor } from './wait.js';

const make: ResourceKernel = { handles: [], bind: () => () => NOTHING };

function onHandle(bind: (operation: Operation, resources: TaskResources) => BoundKernel): ResourceKernel {
  return { handles: [0], bind };
}

const apply = onHandle((operation, resources) => {
  const { object, traffic } = resources.denseAccumulator(handleAt(operation, 0));
  return ([, localStep, gradient]) => {
    object.apply(scalarInt64(localStep!), resources.task, numeric(gradient!), gradient!.shape);
    traffic.given++;
    return NOTHING;
  };
});

const take = onHandle((operation, resources) => {
  const meeting = resources.denseAccumulator(handleAt(operation, 0));
  return ([, required], runtime) =>
    taken(
      meeting,
      runtime,
      (options) => meeting.object.take(scalar(required!), options),
      (average) => [Value.ofHost(average.dtype, average.shape, average.data)],
    );
});

const sparseApply = onHandle((operation, resources) => {
  const { object, traffic } = resources.sparseAccumulator(handleAt(operation, 0));
  const hasShape = boolAttr(operation, 'has_known_shape', false);
  return (inputs) => {
    applySlices(object, resources.task, inputs, hasShape);
    traffic.given++;
    return NOTHING;
  };
});

function applySlices(
  object: NativeSparseAccumulator,
  task: number,
  [, localStep, indices, values, shape]: readonly Value[],
  hasShape: boolean,
): void {
  const denseShape = hasShape ? Array.from(shape!.host() as ArrayLike<number | bigint>, Number) : null;
  object.apply(
    scalarInt64(localStep!),
    task,
    indices!.host() as IndexArray,
    numeric(values!),
    values!.shape,
    denseShape,
  );
}

const sparseTake = onHandle((operation, resources) => {
  const meeting = resources.sparseAccumulator(handleAt(operation, 0));
  return ([, required], runtime) =>
    taken(
      meeting,
      runtime,
      (options) => meeting.object.take(scalar(required!), options),
      ({ indices, values, shape }) => [
        Value.ofHost('int64', [indices.length], indices),
        Value.ofHost(values.dtype, values.shape, values.data),
        Value.ofHost('int64', [shape.length], shape),
      ],
    );
});

async function taken<T>(
  meeting: Meeting<unknown>,
  runtime: TaskRuntime,
  start: (options: { deadlineMs: number }) => Pending<T>,
  outputs: (result: T) => readonly Value[],
): Promise<readonly Value[]> {
  const result = await waitFor(meeting.key, start({ deadlineMs: runtime.deadlineMs }));
  meeting.traffic.taken++;
  return outputs(result);
}

const numAccumulated = onHandle((operation, resources) => {
  const { object } = eitherAccumulator(operation, resources);
  return () => [Value.ofHost('int32', [], Int32Array.of(object.numAccumulated))];
});

const setGlobalStep = onHandle((operation, resources) => {
  const { object } = eitherAccumulator(operation, resources);
  return ([, step]) => {
    object.setGlobalStep(scalarInt64(step!));
    return NOTHING;
  };
});

export const ACCUMULATOR_KERNELS: ResourceKernelTable = {
  ConditionalAccumulator: make,
  ResourceConditionalAccumulator: make,
  SparseConditionalAccumulator: make,
  AccumulatorApplyGradient: apply,
  ResourceAccumulatorApplyGradient: apply,
  AccumulatorTakeGradient: take,
  ResourceAccumulatorTakeGradient: take,
  SparseAccumulatorApplyGradient: sparseApply,
  SparseAccumulatorTakeGradient: sparseTake,
  AccumulatorNumAccumulated: numAccumulated,
  ResourceAccumulatorNumAccumulated: numAccumulated,
  AccumulatorSetGlobalStep: setGlobalStep,
  ResourceAccumulatorSetGlobalStep: setGlobalStep,
};

/** NumAccumulated and SetGlobalStep serve dense and sparse accumulators alike. */
function eitherAccumulator(operation: Operation, resources: TaskResources) {
  const handle = handleAt(operation, 0);
  return handle.type === 'SparseConditionalAccumulator'
    ? resources.sparseAccumulator(handle)
    : resources.denseAccumulator(handle);
}
