/**
 * The keys under which a checkpoint's index has the parts of a tensor: name and extents in an encoding that sorts as its values do
 * (TensorFlow's EncodeTensorNameSlice; strings::OrderedCode).
 */
import type { Slice } from './entry.js';
import type { ByteText } from './table.js';

/** Stands for a length that the slice does not give. */
const WHOLE = -1;

export function sliceKey(name: string, slice: Slice): ByteText {
  const extents = slice.flatMap(({ start, length }) => [signed(start), signed(length ?? WHOLE)]);
  // The leading zero tells these keys from names.
  const bytes = [unsigned(0), text(name), unsigned(slice.length), extents.flat()].flat();
  return Buffer.from(bytes).toString('latin1');
}

/** The bytes of a number from the highest that is not 0, and before them how many they are. */
function unsigned(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return [bytes.length, ...bytes];
}

/** Zeros and 255s are marked by a byte behind them, so that 0 1 ends the text. */
function text(value: string): number[] {
  const bytes = [...Buffer.from(value)].flatMap((byte) => {
    if (byte === 0) return [0, 255];
    return byte === 255 ? [255, 0] : [byte];
  });
  return [...bytes, 0, 1];
}

/**
 * As many bytes as needed, 7 bits in each: the number of bytes is the number of leading ones (of a negative number: zeros) before the value
 * in two's complement.
 */
function signed(value: number): number[] {
  const wide = BigInt(value);
  let length = 1;
  while (BigInt.asIntN(7 * length, wide) !== wide) length++;
  const bits = BigInt(8 * length);
  const leading = ((1n << BigInt(length)) - 1n) << (bits - BigInt(length));
  const code = BigInt.asUintN(8 * length, wide) ^ leading;
  return Array.from({ length }, (_, i) => Number((code >> (bits - 8n * BigInt(i + 1))) & 0xffn));
}
