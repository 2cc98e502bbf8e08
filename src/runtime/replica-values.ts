/** Values of several replicas inside one task: a fed value is split into their shares, fetched ones are put together. */
import type { NumericArray } from '../addon/native.js';
import { GradsyncError } from '../errors.js';
import { elementCount } from '../graph/shape.js';
import type { FeedSpec, TensorData } from './executor.js';

/** How one name of the user's is fed: to how many tensors, and along which axis it is split over them; null gives each the whole. */
export interface FeedTarget {
  readonly name: string;
  readonly count: number;
  readonly split: number | null;
}

/** How the tensors that one name of the user's stands for become one value. */
export interface FetchTarget {
  readonly name: string;
  readonly count: number;
  readonly combine: 'first' | 'concat' | 'mean';
}

/** What a value may be that is split into parts of which each is as `spec` says. */
export function wholeSpec(spec: FeedSpec, { count, split }: FeedTarget): FeedSpec {
  if (split === null || spec.shape === null) return spec;
  return { ...spec, shape: spec.shape.map((dim, axis) => (axis === split && dim >= 0 ? dim * count : dim)) };
}

/** Refuses a value of which some replica would get nothing. */
export function checkSplit({ shape }: TensorData, { name, count, split }: FeedTarget): void {
  if (split === null || (shape[split] ?? 0) >= count) return;
  throw new GradsyncError('INVALID_ARGUMENT', `Feed "${name}"`, {
    expected: `at least ${count} along axis ${split}, one for each replica`,
    received: `[${shape}]`,
    remedy: 'feed larger batches, or use fewer replicas',
  });
}

/** The shapes of the shares of all tensors, in order. */
export function splitShape(
  shape: readonly number[],
  { count, split }: FeedTarget,
): readonly (readonly number[])[] {
  if (split === null || count === 1) return Array.from({ length: count }, () => shape);
  const starts = startsOf(shape[split] ?? 0, count);
  return starts.slice(1).map((end, i) => shape.with(split, end - starts[i]!));
}

/** Where each of `count` shares begins, and the last one ends. */
function startsOf(size: number, count: number): readonly number[] {
  return Array.from(
    { length: count + 1 },
    (_, i) => i * Math.floor(size / count) + Math.min(i, size % count),
  );
}

/** The shares of all tensors, in order; sizes differ by at most one, the larger first. */
export function splitFeed(value: TensorData, target: FeedTarget): readonly TensorData[] {
  const { count, split } = target;
  if (count === 1) return [value];
  if (split === null) return Array.from({ length: count }, (_, i) => (i === 0 ? value : copyOf(value)));
  const starts = startsOf(value.shape[split] ?? 0, count);
  return starts.slice(1).map((end, i) => sliceOf(value, split, starts[i]!, end));
}

/** The parts of these sizes along an axis, in order. */
export function partsAlong(value: TensorData, axis: number, sizes: readonly number[]): readonly TensorData[] {
  let end = 0;
  return sizes.map((size) => {
    end += size;
    return sliceOf(value, axis, end - size, end);
  });
}

/** The reverse: values one behind the other along an axis. */
export function joinAlong(values: readonly TensorData[], axis: number): TensorData {
  const first = values[0]!;
  const outer = elementCount(first.shape.slice(0, axis));
  const rows = Array.from({ length: outer }, (_, row) =>
    values.map(({ data }) => {
      const inner = data.length / outer;
      return data.slice(row * inner, (row + 1) * inner) as TensorData['data'];
    }),
  );
  const size = values.reduce((sum, { shape }) => sum + shape[axis]!, 0);
  return { dtype: first.dtype, shape: first.shape.with(axis, size), data: joined(rows.flat()) };
}

function copyOf(value: TensorData): TensorData {
  return { ...value, data: value.data.slice() as TensorData['data'] };
}

/** Elements from `start` up to, not including, `end` along an axis. */
function sliceOf({ dtype, shape, data }: TensorData, axis: number, start: number, end: number): TensorData {
  const inner = elementCount(shape.slice(axis + 1));
  const outer = elementCount(shape.slice(0, axis));
  const stride = shape[axis]! * inner;
  const parts = Array.from({ length: outer }, (_, i) =>
    data.slice(i * stride + start * inner, i * stride + end * inner),
  );
  const part = parts.length === 1 ? parts[0]! : joined(parts as TensorData['data'][]);
  return { dtype, shape: shape.with(axis, end - start), data: part as TensorData['data'] };
}

/** One value of those of the replicas. */
export function combineFetched(values: readonly TensorData[], { combine }: FetchTarget): TensorData {
  const first = values[0]!;
  if (combine === 'first' || values.length === 1) return first;
  if (combine === 'mean') return meanOf(values);
  return joinAlong(values, 0);
}

function meanOf(values: readonly TensorData[]): TensorData {
  const first = values[0]!;
  const data = (first.data as NumericArray).slice() as Float32Array;
  for (let i = 0; i < data.length; i++) {
    let sum = 0;
    for (const value of values) sum += Number(value.data[i]);
    data[i] = sum / values.length;
  }
  return { ...first, data };
}

function joined(parts: readonly TensorData['data'][]): TensorData['data'] {
  if (Array.isArray(parts[0])) return (parts as readonly (readonly Uint8Array[])[]).flat();
  const arrays = parts as readonly Float32Array[];
  const all = new (arrays[0]!.constructor as Float32ArrayConstructor)(
    arrays.reduce((sum, { length }) => sum + length, 0),
  );
  let at = 0;
  for (const part of arrays) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
