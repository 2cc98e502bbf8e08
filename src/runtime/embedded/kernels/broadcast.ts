/** Broadcasting in host memory: shapes as NumPy and TensorFlow combine them, and loops over two or three broadcast inputs. */
import type { NumericArray } from '../../../addon/native.js';

/** The broadcast shape of two shapes; undefined when they do not fit. */
export function broadcastShape(a: readonly number[], b: readonly number[]): number[] | undefined {
  const rank = Math.max(a.length, b.length);
  const shape = new Array<number>(rank);
  for (let i = 1; i <= rank; i++) {
    const p = a[a.length - i] ?? 1;
    const q = b[b.length - i] ?? 1;
    if (p !== q && p !== 1 && q !== 1) return undefined;
    shape[rank - i] = p === 1 ? q : p;
  }
  return shape;
}

export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((dim, i) => dim === b[i]);
}

/** Row-major strides of `shape`, in elements. */
export function stridesOf(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  for (let i = shape.length - 1, stride = 1; i >= 0; i--) {
    strides[i] = stride;
    stride *= shape[i]!;
  }
  return strides;
}

/** Strides that walk an array of shape `from` along `to`: 0 where a dimension is repeated. */
export function broadcastStrides(from: readonly number[], to: readonly number[]): number[] {
  const own = stridesOf(from);
  const missing = to.length - from.length;
  return to.map((_, i) => (i < missing || from[i - missing] === 1 ? 0 : own[i - missing]!));
}

export interface Loop {
  /** Dimensions, outermost first; neighbours that are walked alike are merged. Never empty. */
  readonly dims: readonly number[];
  /** For each input, one stride per dimension. */
  readonly strides: readonly (readonly number[])[];
}

/** Plans a walk over `shape` in order, with the given strides per input. */
export function planLoop(shape: readonly number[], strides: readonly (readonly number[])[]): Loop {
  const dims: number[] = [];
  const merged: number[][] = strides.map(() => []);
  shape.forEach((dim, i) => {
    if (dim === 1) return;
    const last = dims.length - 1;
    const joins = last >= 0 && strides.every((s, k) => merged[k]![last] === s[i]! * dim);
    if (joins) {
      dims[last] = dims[last]! * dim;
      merged.forEach((m, k) => {
        m[last] = strides[k]![i]!;
      });
    } else {
      dims.push(dim);
      merged.forEach((m, k) => {
        m.push(strides[k]![i]!);
      });
    }
  });
  if (dims.length === 0) return { dims: [1], strides: strides.map(() => [0]) };
  return { dims, strides: merged };
}

/** Calls `row` once for each innermost run: its start in the output and in every input. */
export function forEachRow(
  { dims, strides }: Loop,
  row: (outStart: number, starts: readonly number[]) => void,
): void {
  if (dims.includes(0)) return;
  const outer = dims.length - 1;
  const length = dims[outer]!;
  const index = new Array<number>(outer).fill(0);
  const starts = strides.map(() => 0);
  for (let out = 0; ; out += length) {
    row(out, starts);
    let d = outer - 1;
    for (; d >= 0; d--) {
      index[d]!++;
      for (let k = 0; k < starts.length; k++) starts[k]! += strides[k]![d]!;
      if (index[d]! < dims[d]!) break;
      for (let k = 0; k < starts.length; k++) starts[k]! -= strides[k]![d]! * dims[d]!;
      index[d] = 0;
    }
    if (d < 0) return;
  }
}

type Elements<T> = { [index: number]: T };

/** `out[i] = combine(a[i], b[i])` with broadcasting; numbers or bigints, as the arrays hold them. */
export function combineBroadcast<T>(
  out: NumericArray,
  shape: readonly number[],
  a: { data: NumericArray; shape: readonly number[] },
  b: { data: NumericArray; shape: readonly number[] },
  combine: (x: T, y: T) => unknown,
): void {
  const target = out as unknown as Elements<unknown>;
  const left = a.data as unknown as Elements<T>;
  const right = b.data as unknown as Elements<T>;
  if (combineAligned(target, out.length, left, a.data.length, right, b.data.length, combine)) return;
  const loop = planLoop(shape, [broadcastStrides(a.shape, shape), broadcastStrides(b.shape, shape)]);
  const last = loop.dims.length - 1;
  const length = loop.dims[last]!;
  const p = loop.strides[0]![last]!;
  const q = loop.strides[1]![last]!;
  forEachRow(loop, (start, starts) => {
    const i = starts[0]!;
    const j = starts[1]!;
    for (let n = 0; n < length; n++) target[start + n] = combine(left[i + n * p]!, right[j + n * q]!);
  });
}

/** The common cases without a plan: inputs as large as the output, or of one element. */
function combineAligned<T>(
  out: Elements<unknown>,
  length: number,
  a: Elements<T>,
  aLength: number,
  b: Elements<T>,
  bLength: number,
  combine: (x: T, y: T) => unknown,
): boolean {
  if (aLength === length && bLength === length) {
    for (let n = 0; n < length; n++) out[n] = combine(a[n]!, b[n]!);
  } else if (aLength === length && bLength === 1) {
    const y = b[0]!;
    for (let n = 0; n < length; n++) out[n] = combine(a[n]!, y);
  } else if (aLength === 1 && bLength === length) {
    const x = a[0]!;
    for (let n = 0; n < length; n++) out[n] = combine(x, b[n]!);
  } else {
    return false;
  }
  return true;
}
