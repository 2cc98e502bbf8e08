/** Numbers that a seed and a name decide: the same whenever they are asked for. */

/** From 0 up to, not including, 1. */
export function uniform(seed: number, name: string, count: number): number[] {
  let state = seed | 0;
  for (let i = 0; i < name.length; i++) state = Math.imul(state ^ name.charCodeAt(i), 0x01000193);
  return Array.from({ length: count }, () => {
    state = (state + 0x6d2b79f5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), 1 | state);
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits;
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  });
}

/** Of both signs, smaller than `limit`. */
export function signed(seed: number, name: string, count: number, limit: number): Float32Array {
  return Float32Array.from(uniform(seed, name, count), (value) => (2 * value - 1) * limit);
}
