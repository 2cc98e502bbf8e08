/** Slices of tensors and their gradients, for every dtype, in host memory or straight on the wasm heap. */
import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';
import type { Operation } from '../../../graph/operation.js';
import { elementCount, printShape } from '../../../graph/shape.js';
import type { KernelBinder, KernelTable } from '../kernel.js';
import { type HostArray, Value } from '../value.js';
import { intAttr, invalid } from './attributes.js';
import { sameShape, stridesOf } from './broadcast.js';
import { integers, numeric, output, scalar } from './host.js';
import { normalizeAxis } from './shape.js';
import { copyFromStrided, copyToStrided } from './strided.js';

export interface Region {
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly offset: number;
}

/** A dense copy of a strided region, of any dtype. */
export function extract(backend: BackendWasm, source: Value, region: Region, shape = region.shape): Value {
  if (source.dtype === 'string') {
    const strings = new Array<Uint8Array>(elementCount(shape));
    copyFromStrided(strings, source.host(), region);
    return Value.ofHost('string', shape, strings);
  }
  const out = output(backend, source.dtype, shape);
  copyFromStrided(out.data, numeric(source), region);
  return out.value;
}

const slice: KernelBinder =
  (operation) =>
  ([value, beginInput, sizeInput], { backend }) => {
    const from = value!.shape;
    const begin = integers(beginInput!);
    const shape = integers(sizeInput!).map((dim, i) => (dim < 0 ? from[i]! - begin[i]! : dim));
    const fits =
      shape.length === from.length && shape.every((dim, i) => begin[i]! >= 0 && begin[i]! + dim <= from[i]!);
    if (!fits) throw invalid(operation, `a slice inside ${printShape(from)}`, `${begin} + ${shape}`);
    if (sameShape(shape, from)) return [value!.retain()];
    const strides = stridesOf(from);
    const offset = begin.reduce((sum, at, i) => sum + at * strides[i]!, 0);
    return [extract(backend, value!, { shape, strides, offset })];
  };

interface Masks {
  readonly begin: number;
  readonly end: number;
  readonly ellipsis: number;
  readonly newAxis: number;
  readonly shrink: number;
}

interface StridedPlan {
  readonly region: Region;
  /** The region's shape with new axes in and shrunk ones out. */
  readonly shape: readonly number[];
}

/** What a NumPy-like slice of a tensor of shape `from` selects. */
export function planStridedSlice(
  operation: Operation,
  from: readonly number[],
  [begin, end, step]: readonly [number[], number[], number[]],
  masks: Masks,
): StridedPlan {
  const strides = stridesOf(from);
  const region = { shape: [] as number[], strides: [] as number[], offset: 0 };
  const shape: number[] = [];
  let dim = 0;
  const take = (start: number, count: number, stepOf: number): void => {
    region.offset += start * strides[dim]!;
    region.shape.push(count);
    region.strides.push(stepOf * strides[dim]!);
    dim++;
  };
  const all = (): void => {
    shape.push(from[dim]!);
    take(0, from[dim]!, 1);
  };
  const specs = begin.length;
  const added = [...begin.keys()].filter(
    (i) => (masks.newAxis >> i) & 1 && !((masks.ellipsis >> i) & 1),
  ).length;
  for (let i = 0; i < specs; i++) {
    const bit = (mask: number): boolean => ((mask >> i) & 1) === 1;
    if (bit(masks.ellipsis)) {
      for (let n = from.length - (specs - 1 - added); n > 0; n--) all();
    } else if (bit(masks.newAxis)) {
      shape.push(1);
    } else {
      const size = from[dim];
      if (size === undefined) throw invalid(operation, `at most ${from.length} indices`, String(specs));
      if (bit(masks.shrink)) {
        take(normalizeAxis(operation, begin[i]!, size), 1, 1);
      } else {
        const stepOf = step[i]!;
        if (stepOf === 0) throw invalid(operation, 'a stride that is not 0', '0');
        const start = bit(masks.begin) ? (stepOf > 0 ? 0 : size - 1) : clamp(begin[i]!, size, stepOf);
        const stop = bit(masks.end) ? (stepOf > 0 ? size : -1) : clamp(end[i]!, size, stepOf);
        const count = Math.max(0, Math.ceil((stop - start) / stepOf));
        shape.push(count);
        take(count === 0 ? 0 : start, count, stepOf);
      }
    }
  }
  while (dim < from.length) all();
  return { region, shape };
}

/** A bound counted from the start, kept where a walk in that direction may begin or end. */
function clamp(index: number, size: number, step: number): number {
  const at = index < 0 ? index + size : index;
  return step > 0 ? Math.min(Math.max(at, 0), size) : Math.min(Math.max(at, -1), size - 1);
}

export function readMasks(operation: Operation): Masks {
  return {
    begin: intAttr(operation, 'begin_mask', 0),
    end: intAttr(operation, 'end_mask', 0),
    ellipsis: intAttr(operation, 'ellipsis_mask', 0),
    newAxis: intAttr(operation, 'new_axis_mask', 0),
    shrink: intAttr(operation, 'shrink_axis_mask', 0),
  };
}

const stridedSlice: KernelBinder = (operation) => {
  const masks = readMasks(operation);
  return ([value, begin, end, strides], { backend }) => {
    const bounds = [integers(begin!), integers(end!), integers(strides!)] as const;
    const { region, shape } = planStridedSlice(operation, value!.shape, bounds, masks);
    const whole = region.offset === 0 && sameShape(region.strides, stridesOf(value!.shape));
    if (whole && sameShape(region.shape, value!.shape)) return [value!.reshaped(shape)];
    return [extract(backend, value!, region, shape)];
  };
};

const stridedSliceGrad: KernelBinder = (operation) => {
  const masks = readMasks(operation);
  return ([shape, begin, end, strides, dy], { backend }) => {
    const from = integers(shape!);
    const bounds = [integers(begin!), integers(end!), integers(strides!)] as const;
    const { region } = planStridedSlice(operation, from, bounds, masks);
    return [placed(backend, dy!, from, region)];
  };
};

/** Zeros of `shape` with `value` in a region of it. */
function placed(
  backend: BackendWasm,
  value: Value,
  shape: readonly number[],
  region: Region,
  filler?: HostArray,
): Value {
  const out = output(backend, value.dtype, shape);
  const zero = value.dtype === 'int64' ? 0n : 0;
  (out.data as unknown as { fill(element: unknown): void }).fill(filler?.[0] ?? zero);
  copyToStrided(out.data, numeric(value), region);
  return out.value;
}

const reverse: KernelBinder =
  (operation) =>
  ([value, axes], { backend }) => {
    const { shape } = value!;
    const turned = new Set(integers(axes!).map((axis) => normalizeAxis(operation, axis, shape.length)));
    const own = stridesOf(shape);
    const strides = own.map((stride, i) => (turned.has(i) ? -stride : stride));
    const offset = own.reduce((sum, stride, i) => sum + (turned.has(i) ? stride * (shape[i]! - 1) : 0), 0);
    return [extract(backend, value!, { shape, strides, offset })];
  };

const pad: KernelBinder =
  () =>
  ([value, paddings, filler], { backend }) => {
    const pairs = integers(paddings!);
    const shape = value!.shape.map((dim, i) => pairs[2 * i]! + dim + pairs[2 * i + 1]!);
    const strides = stridesOf(shape);
    const offset = strides.reduce((sum, stride, i) => sum + stride * pairs[2 * i]!, 0);
    return [placed(backend, value!, shape, { shape: value!.shape, strides, offset }, filler?.host())];
  };

/** Pieces along an axis. */
export function pieces(
  backend: BackendWasm,
  value: Value,
  axis: number,
  sizes: readonly number[],
  shapeOf: (size: number) => readonly number[],
): Value[] {
  const strides = stridesOf(value.shape);
  let start = 0;
  return sizes.map((size) => {
    const region = { shape: value.shape.with(axis, size), strides, offset: start * strides[axis]! };
    start += size;
    return extract(backend, value, region, shapeOf(size));
  });
}

const split: KernelBinder = (operation) => {
  const count = intAttr(operation, 'num_split');
  return ([dim, value], { backend }) => {
    const axis = normalizeAxis(operation, scalar(dim!), value!.shape.length);
    const size = value!.shape[axis]! / count;
    if (!Number.isInteger(size))
      throw invalid(operation, `a dimension divisible by ${count}`, printShape(value!.shape));
    if (count === 1) return [value!.retain()];
    return pieces(backend, value!, axis, new Array<number>(count).fill(size), (n) =>
      value!.shape.with(axis, n),
    );
  };
};

const splitV: KernelBinder =
  (operation) =>
  ([value, sizes, dim], { backend }) => {
    const axis = normalizeAxis(operation, scalar(dim!), value!.shape.length);
    const given = integers(sizes!);
    const rest = value!.shape[axis]! - given.reduce((sum, size) => sum + Math.max(size, 0), 0);
    const resolved = given.map((size) => (size < 0 ? rest : size));
    return pieces(backend, value!, axis, resolved, (n) => value!.shape.with(axis, n));
  };

const unpack: KernelBinder = (operation) => {
  const axisAttr = intAttr(operation, 'axis', 0);
  return ([value], { backend }) => {
    const axis = normalizeAxis(operation, axisAttr, value!.shape.length);
    const shape = value!.shape.toSpliced(axis, 1);
    return pieces(backend, value!, axis, new Array<number>(value!.shape[axis]!).fill(1), () => shape);
  };
};

export const SLICE_KERNELS: KernelTable = {
  Slice: slice,
  StridedSlice: stridedSlice,
  StridedSliceGrad: stridedSliceGrad,
  ReverseV2: reverse,
  Pad: pad,
  PadV2: pad,
  Split: split,
  SplitV: splitV,
  Unpack: unpack,
};
