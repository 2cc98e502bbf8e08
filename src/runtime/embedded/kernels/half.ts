/**
 * float16 and bfloat16, which are kept as their 16 bits: conversions from and to float32, rounded to the nearest, ties to even, as the
 * native kernels do. A NaN stays one.
 */

export type HalfType = 'float16' | 'bfloat16';

export function isHalf(dtype: string): dtype is HalfType {
  return dtype === 'float16' || dtype === 'bfloat16';
}

/** The floats that halves stand for: each is exactly one. */
export function widen(halves: Uint16Array, type: HalfType, out: Float32Array): void {
  const bits = new Uint32Array(out.buffer, out.byteOffset, out.length);
  if (type === 'bfloat16') for (let i = 0; i < out.length; i++) bits[i] = halves[i]! << 16;
  else for (let i = 0; i < out.length; i++) out[i] = floatOf(halves[i]!);
}

export function narrow(floats: Float32Array, type: HalfType, out: Uint16Array): void {
  const bits = new Uint32Array(floats.buffer, floats.byteOffset, floats.length);
  const round = type === 'bfloat16' ? bfloat16Of : float16Of;
  for (let i = 0; i < out.length; i++) out[i] = round(bits[i]!);
}

function floatOf(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

function bfloat16Of(bits: number): number {
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

function float16Of(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  // Beyond 65504 by half a unit or more.
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude >= 0x38800000)
    return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
  return sign | subnormal(magnitude);
}

/** Below 2 ** -14, in units of 2 ** -24. */
function subnormal(magnitude: number): number {
  const exponent = magnitude >>> 23;
  const shift = 126 - exponent;
  if (shift > 24) return 0;
  const significand = (magnitude & 0x7fffff) | 0x800000;
  const kept = significand >>> shift;
  const rest = significand & ((1 << shift) - 1);
  const tie = 1 << (shift - 1);
  return kept + (rest > tie || (rest === tie && (kept & 1) === 1) ? 1 : 0);
}
