/** TensorFlow's checkpoints in tests: the committed ones with what they must hold, scratch copies of them, everything one holds. */
import { cpSync, mkdtempSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DTYPES, type DType } from '../../src/graph/dtype.js';
import { elementCount } from '../../src/graph/shape.js';
import {
  type BundleTensor,
  findTensor,
  openBundle,
  readTensor,
  tensorNames,
} from '../../src/runtime/tensor-bundle/read-bundle.js';
import { projectPath } from './paths.js';

export const FOLDER = projectPath('test', 'fixtures', 'checkpoints');

/** The prefix of a committed checkpoint: one of `every-dtype`, `partitioned`. */
export function committed(name: string): string {
  return join(FOLDER, `${name}.ckpt`);
}

/** A copy of all committed checkpoints in a folder of its own. */
export function scratchCopy(): string {
  const folder = mkdtempSync(join(tmpdir(), 'gradsync-bundle-'));
  for (const file of readdirSync(FOLDER)) cpSync(join(FOLDER, file), join(folder, file));
  return folder;
}

/** All tensors of a checkpoint but those of strings. */
export async function readAll(prefix: string): Promise<Map<string, BundleTensor>> {
  const bundle = await openBundle(prefix);
  const tensors = new Map<string, BundleTensor>();
  for (const name of tensorNames(bundle)) {
    if (findTensor(bundle, name)!.dtype !== 'string') tensors.set(name, await readTensor(bundle, name));
  }
  return tensors;
}

/** How the numbers of test/fixtures/checkpoints.py are written, by dtype. */
const WRITERS: Partial<Record<DType, (buffer: Buffer, value: number, at: number) => void>> = {
  float32: (buffer, value, at) => buffer.writeFloatLE(value, at),
  float64: (buffer, value, at) => buffer.writeDoubleLE(value, at),
  float16: (buffer, value, at) => buffer.writeUInt16LE(HALVES[value + 3]!, at),
  bfloat16: (buffer, value, at) => buffer.writeUInt16LE(upperHalf(value), at),
  bool: (buffer, value, at) => buffer.writeUInt8(Math.abs(value + 3) % 2, at),
  complex64: (buffer, value, at) => buffer.writeFloatLE(value, at),
  complex128: (buffer, value, at) => buffer.writeDoubleLE(value, at),
};

/** -3, -2, ..., 2 as half-precision numbers. */
const HALVES = [0xc200, 0xc000, 0xbc00, 0, 0x3c00, 0x4000];

/** The upper 16 bits of a number in single precision. */
function upperHalf(value: number): number {
  const buffer = Buffer.alloc(4);
  buffer.writeFloatLE(value);
  return buffer.readUInt16LE(2);
}

/** What the committed checkpoints hold in a tensor of that dtype and shape: element i is i - 3, or i without negative numbers. */
export function expectedTensor(dtype: DType, shape: readonly number[]): BundleTensor {
  const { size } = DTYPES[dtype];
  const bytes = Buffer.alloc(elementCount(shape) * size);
  const first = /^q?uint/.test(dtype) ? 0 : -3;
  const write = WRITERS[dtype] ?? ((buffer, value, at) => writeInteger(buffer, value, at, size));
  for (let i = 0; i < elementCount(shape); i++) write(bytes, i + first, i * size);
  return { dtype, shape, bytes: new Uint8Array(bytes) };
}

function writeInteger(buffer: Buffer, value: number, at: number, size: number): void {
  if (size === 8) buffer.writeBigInt64LE(BigInt(value), at);
  else if (value < 0) buffer.writeIntLE(value, at, size);
  else buffer.writeUIntLE(value, at, size);
}
