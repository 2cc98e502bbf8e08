/** Element types, with TensorFlow's names, wire numbers (`types.proto`) and sizes in bytes. The only list of them in TypeScript. */
import { GradsyncError } from '../errors.js';

interface DTypeInfo {
  readonly number: number;
  /** Bytes per element; 0 where an element has no fixed size. */
  readonly size: number;
}

export const DTYPES = {
  float32: { number: 1, size: 4 },
  float64: { number: 2, size: 8 },
  int32: { number: 3, size: 4 },
  uint8: { number: 4, size: 1 },
  int16: { number: 5, size: 2 },
  int8: { number: 6, size: 1 },
  string: { number: 7, size: 0 },
  complex64: { number: 8, size: 8 },
  int64: { number: 9, size: 8 },
  bool: { number: 10, size: 1 },
  qint8: { number: 11, size: 1 },
  quint8: { number: 12, size: 1 },
  qint32: { number: 13, size: 4 },
  bfloat16: { number: 14, size: 2 },
  qint16: { number: 15, size: 2 },
  quint16: { number: 16, size: 2 },
  uint16: { number: 17, size: 2 },
  complex128: { number: 18, size: 16 },
  float16: { number: 19, size: 2 },
  resource: { number: 20, size: 0 },
  variant: { number: 21, size: 0 },
  uint32: { number: 22, size: 4 },
  uint64: { number: 23, size: 8 },
} as const satisfies Record<string, DTypeInfo>;

export type DType = keyof typeof DTYPES;

const BY_NUMBER = new Map<number, DType>(
  Object.entries(DTYPES).map(([name, info]) => [info.number, name as DType]),
);

/** The offset TensorFlow adds to a type's number for a reference to it (`DT_FLOAT_REF` = 101). */
const REFERENCE_OFFSET = 100;

/** Whether a wire number is of a dtype listed here, or of a reference to one. */
export function isDTypeNumber(number: number): boolean {
  return BY_NUMBER.has(number > REFERENCE_OFFSET ? number - REFERENCE_OFFSET : number);
}

export function isReferenceNumber(number: number): boolean {
  return number > REFERENCE_OFFSET;
}

/** The wire number of a dtype, or of a reference to it. */
export function dtypeNumber(dtype: DType, reference = false): number {
  return DTYPES[dtype].number + (reference ? REFERENCE_OFFSET : 0);
}

/** The dtype of a wire number; a reference type gives the dtype it refers to. */
export function dtypeOfNumber(number: number): DType {
  const dtype = BY_NUMBER.get(number > REFERENCE_OFFSET ? number - REFERENCE_OFFSET : number);
  if (dtype === undefined) {
    throw new GradsyncError('INVALID_ARGUMENT', 'DataType', {
      expected: 'a TensorFlow data type number from 1 to 23',
      received: String(number),
      remedy: 'export the graph with a released TensorFlow 1.x or 2.x',
    });
  }
  return dtype;
}
