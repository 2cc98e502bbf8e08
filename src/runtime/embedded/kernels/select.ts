/** Comparisons, logic and choice: kernels whose inputs or outputs are bool. */
import type { NumericArray } from '../../../addon/native.js';
import type { DType } from '../../../graph/dtype.js';
import { elementCount, printShape } from '../../../graph/shape.js';
import type { KernelBinder, KernelTable } from '../kernel.js';
import type { Value } from '../value.js';
import { broadcastValue } from './array.js';
import { boolAttr, intAttr, invalid, typeAttr, unsupported } from './attributes.js';
import { broadcastStrides, combineBroadcast, forEachRow, planLoop, sameShape } from './broadcast.js';
import { hostOutput, numeric, output } from './host.js';
import { requireBroadcast } from './shape.js';

type Comparison = (a: number | bigint | string, b: number | bigint | string) => boolean;

const ORDERED: readonly DType[] = ['float32', 'float64', 'int32', 'int64', 'uint8', 'int8', 'int16'];

const compare =
  (allowed: readonly DType[], holds: Comparison): KernelBinder =>
  (operation) => {
    typeAttr(operation, 'T', { allowed });
    if (!boolAttr(operation, 'incompatible_shape_error', true)) {
      throw unsupported(operation, 'incompatible_shape_error true', 'false');
    }
    return ([a, b]) => [boolResult(requireBroadcast(operation, a!.shape, b!.shape), a!, b!, holds)];
  };

/** Elements that compare by value: numbers, or the bytes of strings as texts. */
function comparable(value: Value): NumericArray {
  if (value.dtype !== 'string') return numeric(value);
  const texts = (value.host() as readonly Uint8Array[]).map((bytes) => Buffer.from(bytes).toString('latin1'));
  return texts as unknown as NumericArray;
}

const logical =
  (holds: (a: number, b: number) => boolean): KernelBinder =>
  (operation) =>
  ([a, b]) => [boolResult(requireBroadcast(operation, a!.shape, b!.shape), a!, b!, holds)];

function boolResult<T>(shape: readonly number[], a: Value, b: Value, holds: (x: T, y: T) => boolean): Value {
  const out = hostOutput('bool', shape);
  const left = { data: comparable(a), shape: a.shape };
  const right = { data: comparable(b), shape: b.shape };
  combineBroadcast<T>(out.data, shape, left, right, (x, y) => (holds(x, y) ? 1 : 0));
  return out.value;
}

const logicalNot: KernelBinder =
  () =>
  ([value]) => {
    const out = hostOutput('bool', value!.shape);
    const source = numeric(value!) as Uint8Array;
    for (let i = 0; i < source.length; i++) (out.data as Uint8Array)[i] = source[i] === 0 ? 1 : 0;
    return [out.value];
  };

/** Chooses element by element after broadcasting; a scalar condition passes one input on without a copy. */
const selectV2: KernelBinder =
  (operation) =>
  ([condition, yes, no], { backend }) => {
    const branches = requireBroadcast(operation, yes!.shape, no!.shape);
    const shape = requireBroadcast(operation, condition!.shape, branches);
    if (condition!.elementCount === 1) {
      const chosen = numeric(condition!)[0] !== 0 ? yes! : no!;
      return [sameShape(chosen.shape, shape) ? chosen.retain() : broadcastValue(backend, chosen, shape)];
    }
    const out = output(backend, yes!.dtype, shape);
    const [flags, a, b] = [condition!, yes!, no!].map((value) => numeric(value) as Float32Array);
    const inputs = [condition!, yes!, no!].map((value) => broadcastStrides(value.shape, shape));
    chooseRows(out.data as Float32Array, planLoop(shape, inputs), flags!, a!, b!);
    return [out.value];
  };

function chooseRows(
  out: Float32Array,
  loop: ReturnType<typeof planLoop>,
  flags: ArrayLike<number>,
  a: ArrayLike<number>,
  b: ArrayLike<number>,
): void {
  const last = loop.dims.length - 1;
  const length = loop.dims[last]!;
  const [p, q, r] = loop.strides.map((strides) => strides[last]!) as [number, number, number];
  forEachRow(loop, (start, starts) => {
    const [i, j, k] = [starts[0]!, starts[1]!, starts[2]!];
    for (let n = 0; n < length; n++) {
      out[start + n] = flags[i + n * p] !== 0 ? a[j + n * q]! : b[k + n * r]!;
    }
  });
}

/** The first form: the condition has the branches' shape, is a scalar, or is a vector that chooses rows. */
const selectV1: KernelBinder = (operation) => {
  const choose = selectV2(operation);
  return (inputs, runtime) => {
    const [condition, yes, no] = inputs as [Value, Value, Value];
    const rows = condition.shape.length === 1 && condition.shape[0] === yes.shape[0];
    const fits = condition.shape.length === 0 || rows || sameShape(condition.shape, yes.shape);
    if (!sameShape(yes.shape, no.shape) || !fits) {
      throw invalid(operation, `a condition for ${printShape(yes.shape)}`, printShape(condition.shape));
    }
    if (!rows || yes.shape.length === 1) return choose(inputs, runtime);
    const column = condition.reshaped([yes.shape[0]!, ...yes.shape.slice(1).map(() => 1)]);
    const chosen = choose([column, yes, no], runtime);
    column.release();
    return chosen;
  };
};

/** Whether the true class is among the k best; equal scores count as in, scores that are not finite as out. */
const inTopK =
  (kOf: (inputs: readonly Value[]) => number): KernelBinder =>
  (operation) =>
  (inputs) => {
    const [predictions, targets] = inputs as [Value, Value];
    const k = kOf(inputs);
    const [batch, classes] = predictions.shape as [number, number];
    if (elementCount(targets.shape) !== batch) {
      throw invalid(operation, `${batch} targets`, printShape(targets.shape));
    }
    const out = hostOutput('bool', [batch]);
    const scores = numeric(predictions) as Float32Array;
    const labels = numeric(targets);
    for (let row = 0; row < batch; row++) {
      const label = Number(labels[row]);
      const own = label >= 0 && label < classes ? scores[row * classes + label]! : Number.NaN;
      let better = Number.isFinite(own) ? 0 : Number.POSITIVE_INFINITY;
      for (let c = 0; c < classes; c++) {
        const score = scores[row * classes + c]!;
        if (!Number.isFinite(score)) better = Number.POSITIVE_INFINITY;
        else if (score > own) better++;
      }
      (out.data as Uint8Array)[row] = better < k ? 1 : 0;
    }
    return [out.value];
  };

export const SELECT_KERNELS: KernelTable = {
  Equal: compare([...ORDERED, 'bool', 'string'], (a, b) => a === b),
  NotEqual: compare([...ORDERED, 'bool', 'string'], (a, b) => a !== b),
  Less: compare(ORDERED, (a, b) => a < b),
  LessEqual: compare(ORDERED, (a, b) => a <= b),
  Greater: compare(ORDERED, (a, b) => a > b),
  GreaterEqual: compare(ORDERED, (a, b) => a >= b),
  LogicalAnd: logical((a, b) => a !== 0 && b !== 0),
  LogicalOr: logical((a, b) => a !== 0 || b !== 0),
  LogicalNot: logicalNot,
  Select: selectV1,
  SelectV2: selectV2,
  InTopK: (operation) => {
    const k = intAttr(operation, 'k');
    return inTopK(() => k)(operation);
  },
  InTopKV2: inTopK((inputs) => Number(numeric(inputs[2]!)[0])),
};
