/** Which typed array holds the elements of a dtype: the one list of them. */
import type { NumericArray } from '../addon/native.js';
import type { DType } from '../graph/dtype.js';

interface ArrayType {
  readonly name: string;
  new (length: number): NumericArray;
  new (buffer: ArrayBuffer, offset: number, length: number): NumericArray;
}

/** Half types are kept as their 16 bits, bool as one byte per element. */
export const ARRAY_TYPES = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
  int8: Int8Array,
  int16: Int16Array,
  int32: Int32Array,
  int64: BigInt64Array,
  uint8: Uint8Array,
  uint16: Uint16Array,
  bool: Uint8Array,
} as const satisfies Partial<Record<DType, ArrayType>>;

/** The dtypes whose elements are held in a typed array. */
export type ArrayDType = keyof typeof ARRAY_TYPES;

export function arrayType(dtype: DType): ArrayType | undefined {
  return (ARRAY_TYPES as Partial<Record<DType, ArrayType>>)[dtype];
}
