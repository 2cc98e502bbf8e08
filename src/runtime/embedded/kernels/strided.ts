/** Copies between a strided and a dense array: the one loop behind slices, transposes, tiles and broadcasts in host memory. */
import type { NumericArray } from '../../../addon/native.js';
import type { HostArray } from '../value.js';
import { forEachRow, planLoop } from './broadcast.js';

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
  const block = step === 1 && length > 16 && ArrayBuffer.isView(target);
  const to = target as unknown as Elements;
  const from = source as unknown as Elements;
  forEachRow(loop, (start, starts) => {
    const at = region.offset + starts[0]!;
    if (block) copyBlock(target as NumericArray, start, source as NumericArray, at, length);
    else for (let n = 0; n < length; n++) to[start + n] = from[at + n * step];
  });
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
