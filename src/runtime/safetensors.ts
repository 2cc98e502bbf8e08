/**
 * The safetensors format: 8 bytes of header length, a JSON header (name -> dtype, shape, offsets, and text metadata), raw little-endian
 * elements. Strings cannot be stored.
 */

import { describe } from '../check.js';
import { GradsyncError } from '../errors.js';
import { DTYPES, type DType } from '../graph/dtype.js';
import { elementCount } from '../graph/shape.js';
import { ARRAY_TYPES, type ArrayDType } from './array-types.js';
import type { TensorData } from './executor.js';

export interface TensorFile {
  readonly tensors: ReadonlyMap<string, TensorData>;
  readonly metadata: Readonly<Record<string, string>>;
}

const METADATA = '__metadata__';
const LENGTH_BYTES = 8;
/** The header is padded to this, so that elements are aligned. */
const ALIGNMENT = 8;

const NAMES = {
  float32: 'F32',
  float64: 'F64',
  float16: 'F16',
  bfloat16: 'BF16',
  int8: 'I8',
  int16: 'I16',
  int32: 'I32',
  int64: 'I64',
  uint8: 'U8',
  uint16: 'U16',
  bool: 'BOOL',
} as const satisfies Record<ArrayDType, string>;

interface Entry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

/** The file as chunks to be written one after the other; elements are not copied. */
export function encodeSafetensors({ tensors, metadata }: TensorFile): Uint8Array[] {
  const header: Record<string, Entry | Readonly<Record<string, string>>> = { [METADATA]: metadata };
  const chunks: Uint8Array[] = [];
  let offset = 0;
  for (const [name, { dtype, shape, data }] of tensors) {
    const stored = NAMES[dtype as ArrayDType];
    if (stored === undefined || !ArrayBuffer.isView(data)) throw notStorable(name, dtype);
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    header[name] = { dtype: stored, shape, data_offsets: [offset, offset + bytes.length] };
    chunks.push(bytes);
    offset += bytes.length;
  }
  return [...encodeHeader(JSON.stringify(header)), ...chunks];
}

function encodeHeader(json: string): Uint8Array[] {
  const bytes = new TextEncoder().encode(json);
  const padded = new Uint8Array(Math.ceil(bytes.length / ALIGNMENT) * ALIGNMENT).fill(0x20);
  padded.set(bytes);
  const length = new Uint8Array(LENGTH_BYTES);
  new DataView(length.buffer).setBigUint64(0, BigInt(padded.length), true);
  return [length, padded];
}

/** Reads a file; anything that does not hold together is DATA_LOSS naming `file`. */
export function decodeSafetensors(bytes: Uint8Array, file: string): TensorFile {
  const { header, start } = decodeHeader(bytes, file);
  const tensors = new Map<string, TensorData>();
  let metadata: Record<string, string> = {};
  for (const [name, entry] of Object.entries(header)) {
    if (name === METADATA) metadata = decodeMetadata(entry, file);
    else tensors.set(name, decodeTensor(name, entry as Partial<Entry> | null, bytes.subarray(start), file));
  }
  return { tensors, metadata };
}

function decodeHeader(bytes: Uint8Array, file: string): { header: Record<string, unknown>; start: number } {
  if (bytes.length < LENGTH_BYTES) throw damaged(file, 'a header', `${bytes.length} bytes`);
  const length = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  const start = LENGTH_BYTES + Number(length);
  if (start > bytes.length) throw damaged(file, `a header of ${length} bytes`, `a file of ${bytes.length}`);
  try {
    const header: unknown = JSON.parse(new TextDecoder().decode(bytes.subarray(LENGTH_BYTES, start)));
    if (typeof header === 'object' && header !== null) return { header: { ...header }, start };
  } catch {
    // Reported below like any other header that is not an object.
  }
  throw damaged(file, 'a JSON header', 'something else');
}

function decodeMetadata(entry: unknown, file: string): Record<string, string> {
  const isMap = typeof entry === 'object' && entry !== null && !Array.isArray(entry);
  if (isMap && Object.values(entry).every((text) => typeof text === 'string')) return { ...entry };
  throw damaged(file, `texts under "${METADATA}"`, isMap ? 'something else among them' : describe(entry));
}

function decodeTensor(
  name: string,
  entry: Partial<Entry> | null,
  data: Uint8Array,
  file: string,
): TensorData {
  const dtype = (Object.keys(NAMES) as ArrayDType[]).find((key) => NAMES[key] === entry?.dtype);
  const { shape, data_offsets: offsets } = entry ?? {};
  if (dtype === undefined || !isSizes(shape) || !isSizes(offsets)) {
    throw damaged(file, `dtype, shape and offsets of "${name}"`, describe(entry));
  }
  const count = elementCount(shape);
  const [begin = 0, end = 0] = offsets;
  if (end - begin !== count * DTYPES[dtype].size || end > data.length) {
    throw damaged(
      file,
      `${count * DTYPES[dtype].size} bytes for "${name}"`,
      `${begin} to ${end} of ${data.length}`,
    );
  }
  // Copied, since elements need not be aligned in the file (and a Buffer's own slice would not copy).
  const copy = new Uint8Array(end - begin);
  copy.set(data.subarray(begin, end));
  return { dtype, shape, data: new ARRAY_TYPES[dtype](copy.buffer, 0, count) };
}

function isSizes(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

function notStorable(name: string, dtype: DType): GradsyncError {
  return new GradsyncError('INVALID_ARGUMENT', `Variable "${name}" in a checkpoint`, {
    expected: `one of ${Object.keys(NAMES).join(', ')}`,
    received: dtype,
    remedy: 'leave it out',
    variable: name,
  });
}

function damaged(file: string, expected: string, received: string): GradsyncError {
  return new GradsyncError('DATA_LOSS', `Checkpoint ${file}`, {
    expected,
    received,
    remedy: 'use a file that save() wrote completely',
    file,
  });
}
