/**
 * Reads and writes named tensors in one file, in the safetensors layout: eight bytes (little endian) with the length of a JSON header
 * `{name: {dtype, shape, data_offsets}}`, then the raw tensors. tensor_file.py is the same in Python.
 */
import { readFileSync, writeFileSync } from 'node:fs';

export type TensorData = Float32Array | Float64Array | Int32Array | BigInt64Array | Uint8Array;

export interface FileTensor {
  readonly dtype: 'float32' | 'float64' | 'int32' | 'int64' | 'bool';
  readonly shape: readonly number[];
  readonly data: TensorData;
}

interface HeaderEntry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

const CODES = { F32: 'float32', F64: 'float64', I32: 'int32', I64: 'int64', BOOL: 'bool' } as const;
type Code = keyof typeof CODES;

function view(dtype: FileTensor['dtype'], bytes: ArrayBuffer): TensorData {
  switch (dtype) {
    case 'float32':
      return new Float32Array(bytes);
    case 'float64':
      return new Float64Array(bytes);
    case 'int32':
      return new Int32Array(bytes);
    case 'int64':
      return new BigInt64Array(bytes);
    case 'bool':
      return new Uint8Array(bytes);
  }
}

function bytesOf(data: TensorData): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** All tensors of a file; each owns its memory. */
export function readTensors(path: string): ReadonlyMap<string, FileTensor> {
  const file = readFileSync(path);
  const body = 8 + Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString('utf8', 8, body)) as Record<string, HeaderEntry>;
  const tensors = new Map<string, FileTensor>();
  for (const [
    name,
    {
      dtype: code,
      shape,
      data_offsets: [start, end],
    },
  ] of Object.entries(header)) {
    if (!Object.hasOwn(CODES, code)) throw new Error(`${path}: ${name}: dtype ${code} is not known`);
    const dtype = CODES[code as Code];
    const bytes = Uint8Array.from(file.subarray(body + start, body + end)).buffer;
    tensors.set(name, { dtype, shape, data: view(dtype, bytes) });
  }
  return tensors;
}

export function writeTensors(path: string, tensors: ReadonlyMap<string, FileTensor>): void {
  const header: Record<string, HeaderEntry> = {};
  let offset = 0;
  for (const [name, { dtype, shape, data }] of tensors) {
    const [code] = Object.entries(CODES).find(([, value]) => value === dtype)!;
    header[name] = { dtype: code, shape, data_offsets: [offset, offset + data.byteLength] };
    offset += data.byteLength;
  }
  const text = Buffer.from(JSON.stringify(header));
  const padded = Buffer.alloc(Math.ceil(text.length / 8) * 8, ' ');
  text.copy(padded);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  writeFileSync(
    path,
    Buffer.concat([length, padded, ...[...tensors.values()].map(({ data }) => bytesOf(data))]),
  );
}
