/**
 * Reductions over integer axes. Sums and means are accumulated in double precision, in order, those over a batch pairwise: repeatable, and
 * at least as exact as TensorFlow's.
 */
import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';
import type { NumericArray } from '../../../addon/native.js';
import type { DType } from '../../../graph/dtype.js';
import type { Operation } from '../../../graph/operation.js';
import { elementCount } from '../../../graph/shape.js';
import type { KernelBinder, KernelTable } from '../kernel.js';
import type { Value } from '../value.js';
import { boolAttr, typeAttr } from './attributes.js';
import { forEachRow, planLoop, stridesOf } from './broadcast.js';
import { bindColumnSums, type ColumnSums } from './column-sums.js';
import { hostOutput, integers, numeric, output, SMALL, scalar } from './host.js';
import { bindMiddleSums } from './middle-sums.js';
import { normalizeAxis } from './shape.js';

type Combine<T> = (sum: T, x: T) => T;

interface Reduction {
  readonly start: number;
  readonly combine: Combine<number>;
  readonly bigint?: { readonly start: bigint; readonly combine: Combine<bigint> };
  readonly mean?: boolean;
  readonly allowed: readonly DType[];
}

interface Plan {
  /** Input dimensions, and for each the step in the output: 0 where it is reduced. */
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly outShape: readonly number[];
  /** Elements that go into each output. */
  readonly width: number;
}

function planReduction(operation: Operation, x: Value, axesInput: Value, keepDims: boolean): Plan {
  const { shape } = x;
  const axes = new Set(integers(axesInput).map((axis) => normalizeAxis(operation, axis, shape.length)));
  const kept = shape.map((dim, i) => (axes.has(i) ? 1 : dim));
  const own = stridesOf(kept);
  return {
    shape,
    strides: own.map((stride, i) => (axes.has(i) ? 0 : stride)),
    outShape: keepDims ? kept : shape.filter((_, i) => !axes.has(i)),
    width: [...axes].reduce((product, axis) => product * shape[axis]!, 1),
  };
}

const reduction =
  (what: Reduction): KernelBinder =>
  (operation) => {
    const { allowed } = what;
    const dtype: DType = allowed[0] === 'bool' ? 'bool' : typeAttr(operation, 'T', { allowed });
    const keepDims = boolAttr(operation, 'keep_dims');
    const columnSums = dtype === 'float32' && what.combine === plus ? bindColumnSums() : undefined;
    const middleSums = columnSums !== undefined && what.mean !== true ? bindMiddleSums() : undefined;
    return ([x, axes], { backend }) => {
      const plan = planReduction(operation, x!, axes!, keepDims);
      // Nothing to combine: dimensions of 1 fall away.
      if (plan.width === 1) return [x!.reshaped(plan.outShape)];
      const product = middleSums?.(backend, x!, planLoop(plan.shape, [plan.strides]), plan.outShape);
      if (product !== undefined) return [product];
      const count = elementCount(plan.outShape);
      const results =
        dtype === 'int64'
          ? reduceBigints(what, numeric(x!), plan, count)
          : (leadingSums(columnSums, backend, x!, plan, what.mean === true) ??
            reduceNumbers(what, numeric(x!), plan, count));
      const out = output(backend, dtype, plan.outShape);
      (out.data as Float32Array).set(results as Float64Array);
      return [out.value];
    };
  };

function reduceBigints(
  { bigint, mean }: Reduction,
  source: NumericArray,
  plan: Plan,
  count: number,
): bigint[] {
  const sums = new Array<bigint>(count).fill(bigint!.start);
  accumulate(sums, source, plan, bigint!.combine);
  return mean === true ? sums.map((sum) => sum / BigInt(plan.width)) : sums;
}

function reduceNumbers(what: Reduction, source: NumericArray, plan: Plan, count: number): Float64Array {
  const sums = new Float64Array(count).fill(what.start);
  if (what.combine === plus) accumulateSum(sums, source as Float32Array, plan);
  else accumulate(sums, source, plan, what.combine);
  if (what.mean === true) for (let i = 0; i < count; i++) sums[i]! /= plan.width;
  return sums;
}

/** Sums of a large tensor over its leading dimensions; undefined for any other reduction. */
function leadingSums(
  columnSums: ColumnSums | undefined,
  backend: BackendWasm,
  x: Value,
  plan: Plan,
  mean: boolean,
): Float32Array | Float64Array | undefined {
  if (columnSums === undefined || x.elementCount <= SMALL) return undefined;
  const { dims, strides } = planLoop(plan.shape, [plan.strides]);
  if (dims.length > 2 || strides[0]![0] !== 0 || strides[0]![1] === 0) return undefined;
  const sums = columnSums(backend, x, dims[0]!, dims[1] ?? 1);
  if (mean) for (let i = 0; i < sums.length; i++) sums[i]! /= plan.width;
  return sums;
}

const plus: Combine<number> = (sum, x) => sum + x;

/** Combines every element of `source` into the output it belongs to, in row-major order. */
function accumulate<T>(
  sums: { [i: number]: T },
  source: NumericArray,
  plan: Plan,
  combine: Combine<T>,
): void {
  const from = source as unknown as { [i: number]: T };
  const loop = planLoop(plan.shape, [plan.strides]);
  const last = loop.dims.length - 1;
  const length = loop.dims[last]!;
  const step = loop.strides[0]![last]!;
  forEachRow(loop, (start, starts) => {
    let to = starts[0]!;
    for (let n = 0; n < length; n++, to += step) sums[to] = combine(sums[to]!, from[start + n]!);
  });
}

/** The same for sums, without a call per element. */
function accumulateSum(
  sums: Float64Array,
  source: Float32Array,
  plan: Pick<Plan, 'shape' | 'strides'>,
): void {
  const loop = planLoop(plan.shape, [plan.strides]);
  const last = loop.dims.length - 1;
  const length = loop.dims[last]!;
  const step = loop.strides[0]![last]!;
  forEachRow(loop, (start, starts) => {
    let to = starts[0]!;
    if (step === 0) sums[to]! += sumRun(source, start, length);
    else for (let n = 0; n < length; n++, to += step) sums[to]! += source[start + n]!;
  });
}

/** Four running sums, so that an addition need not wait for the one before it. */
function sumRun(source: Float32Array, start: number, length: number): number {
  let [a, b, c, d] = [0, 0, 0, 0];
  const end = start + length;
  let i = start;
  for (; i + 3 < end; i += 4) {
    a += source[i]!;
    b += source[i + 1]!;
    c += source[i + 2]!;
    d += source[i + 3]!;
  }
  for (; i < end; i++) a += source[i]!;
  return a + b + (c + d);
}

/** Half the sum of squares. */
const l2Loss: KernelBinder = (operation) => {
  const dtype = typeAttr(operation, 'T', { allowed: ['float32', 'float64'] });
  return ([x]) => {
    const source = numeric(x!) as Float32Array;
    let [a, b] = [0, 0];
    const even = source.length & ~1;
    for (let i = 0; i < even; i += 2) {
      a += source[i]! * source[i]!;
      b += source[i + 1]! * source[i + 1]!;
    }
    if (even < source.length) a += source[even]! * source[even]!;
    const out = hostOutput(dtype, []);
    (out.data as Float32Array)[0] = (a + b) / 2;
    return [out.value];
  };
};

/** The first index of the largest (or smallest) element along an axis. */
const argBest =
  (better: (x: number, best: number) => boolean): KernelBinder =>
  (operation) => {
    const dtype = typeAttr(operation, 'output_type', { allowed: ['int32', 'int64'], fallback: 'int64' });
    typeAttr(operation, 'T', { allowed: ['float32', 'float64', 'int32'] });
    return ([x, dimension]) => {
      const axis = normalizeAxis(operation, scalar(dimension!), x!.shape.length);
      const size = x!.shape[axis]!;
      const inner = elementCount(x!.shape.slice(axis + 1));
      const out = hostOutput(dtype, x!.shape.toSpliced(axis, 1));
      const target = out.data as unknown as { [i: number]: number | bigint };
      const source = numeric(x!) as Float32Array;
      for (let i = 0; i < out.data.length; i++) {
        const first = Math.floor(i / inner) * size * inner + (i % inner);
        let best = 0;
        for (let k = 1; k < size; k++) {
          if (better(source[first + k * inner]!, source[first + best * inner]!)) best = k;
        }
        target[i] = dtype === 'int64' ? BigInt(best) : best;
      }
      return [out.value];
    };
  };

const NUMBERS: readonly DType[] = ['float32', 'float64', 'int32', 'int64'];

export const REDUCE_KERNELS: KernelTable = {
  Sum: reduction({
    start: 0,
    combine: plus,
    bigint: { start: 0n, combine: (a, b) => a + b },
    allowed: NUMBERS,
  }),
  Mean: reduction({
    start: 0,
    combine: plus,
    bigint: { start: 0n, combine: (a, b) => a + b },
    mean: true,
    allowed: NUMBERS,
  }),
  Prod: reduction({
    start: 1,
    combine: (a, b) => a * b,
    bigint: { start: 1n, combine: (a, b) => a * b },
    allowed: NUMBERS,
  }),
  Max: reduction({
    start: Number.NEGATIVE_INFINITY,
    combine: Math.max,
    bigint: { start: -(2n ** 63n), combine: (a, b) => (a > b ? a : b) },
    allowed: NUMBERS,
  }),
  Min: reduction({
    start: Number.POSITIVE_INFINITY,
    combine: Math.min,
    bigint: { start: 2n ** 63n - 1n, combine: (a, b) => (a < b ? a : b) },
    allowed: NUMBERS,
  }),
  All: reduction({ start: 1, combine: (a, b) => (a !== 0 && b !== 0 ? 1 : 0), allowed: ['bool'] }),
  Any: reduction({ start: 0, combine: (a, b) => (a !== 0 || b !== 0 ? 1 : 0), allowed: ['bool'] }),
  L2Loss: l2Loss,
  ArgMax: argBest((x, best) => x > best),
  ArgMin: argBest((x, best) => x < best),
};
