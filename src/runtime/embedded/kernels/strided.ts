/** Copies between a strided and a dense array: the one loop behind slices, transposes, tiles and broadcasts in host memory. */
import type { NumericArray } from '../../../addon/native.js';
import type { HostArray } from '../value.js';
import { forEachRow, type Loop, planLoop } from './broadcast.js';

type Elements = { [index: number]: unknown };

/** `target[i] = source[offset + walk(i)]`: gathers a strided region into dense order. */
export function copyFromStrided(
  target: HostArray,
  source: HostArray,
  region: { readonly shape: readonly number[]; readonly strides: readonly number[]; readonly offset: number },
): void {
  const loop = planLoop(region.shape, [region.strides]);
  const last = loop.dims.length - 1;
  const length = loop.dims[last]!;
  const step = loop.strides[0]![last]!;
  if (ArrayBuffer.isView(target) && loop.strides[0]!.includes(0)) {
    repeat(target as NumericArray, source as NumericArray, loop, region.offset);
    return;
  }
  const block = step === 1 && length > 16 && ArrayBuffer.isView(target);
  const to = target as unknown as Elements;
  const from = source as unknown as Elements;
  forEachRow(loop, (start, starts) => {
    const at = region.offset + starts[0]!;
    if (block) copyBlock(target as NumericArray, start, source as NumericArray, at, length);
    else for (let n = 0; n < length; n++) to[start + n] = from[at + n * step];
  });
}

/** As copyFromStrided, where a dimension is repeated: what it repeats is gathered once, then copied within the target. */
function repeat(target: NumericArray, source: NumericArray, { dims, strides }: Loop, offset: number): void {
  if (dims.includes(0)) return;
  const to = target as Float32Array;
  const from = source as Float32Array;
  const last = dims.length - 1;
  /** Writes dimensions `d` and all within; gives where it ended. */
  const write = (d: number, start: number, at: number): number => {
    const count = dims[d]!;
    const stride = strides[0]![d]!;
    const once = stride === 0 ? 1 : count;
    let end = start;
    for (let n = 0; n < once; n++) {
      if (d === last) to[end++] = from[at + n * stride]!;
      else end = write(d + 1, end, at + n * stride);
    }
    return stride === 0 ? double(to, start, end, start + count * (end - start)) : end;
  };
  write(0, 0, offset);
}

/** Repeats what lies from `start` to `end` as far as `wanted`, twice as much at a time. */
function double(target: Float32Array, start: number, end: number, wanted: number): number {
  for (let to = end; to < wanted; to += to - start) {
    target.copyWithin(to, start, Math.min(to, start + wanted - to));
  }
  return wanted;
}

/** `target[offset + walk(i)] = source[i]`: the reverse. */
export function copyToStrided(
  target: HostArray,
  source: HostArray,
  region: { readonly shape: readonly number[]; readonly strides: readonly number[]; readonly offset: number },
): void {
  const loop = planLoop(region.shape, [region.strides]);
  const last = loop.dims.length - 1;
  const length = loop.dims[last]!;
  const step = loop.strides[0]![last]!;
  const block = step === 1 && length > 16 && ArrayBuffer.isView(target);
  const to = target as unknown as Elements;
  const from = source as unknown as Elements;
  forEachRow(loop, (start, starts) => {
    const at = region.offset + starts[0]!;
    if (block) copyBlock(target as NumericArray, at, source as NumericArray, start, length);
    else for (let n = 0; n < length; n++) to[at + n * step] = from[start + n];
  });
}

/** Copies `length` neighbouring elements between arrays of one dtype. */
export function copyBlock(
  target: NumericArray,
  at: number,
  source: NumericArray,
  from: number,
  length: number,
): void {
  (target as Float32Array).set((source as Float32Array).subarray(from, from + length), at);
}
