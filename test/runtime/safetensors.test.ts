/** Checkpoints: what is written is read back bit for bit; damaged files are typed errors. */
import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { GradsyncError } from '../../src/errors.js';
import { readCheckpoint, writeCheckpoint } from '../../src/runtime/checkpoint.js';
import type { TensorData } from '../../src/runtime/executor.js';
import { decodeSafetensors, encodeSafetensors, type TensorFile } from '../../src/runtime/safetensors.js';
import { temporaryFolder } from '../helpers/folder.js';
import { fc } from '../helpers/properties.js';
import { throwsTyped } from '../helpers/throws.js';

const EXAMPLE: TensorFile = {
  tensors: new Map<string, TensorData>([
    ['w', { dtype: 'float32', shape: [2, 2], data: Float32Array.of(1, -0, Number.NaN, 1e-45) }],
    ['flag', { dtype: 'bool', shape: [3], data: Uint8Array.of(1, 0, 1) }],
    ['step', { dtype: 'int64', shape: [], data: BigInt64Array.of(-(2n ** 62n)) }],
    ['empty', { dtype: 'float64', shape: [0, 4], data: new Float64Array() }],
    ['half', { dtype: 'bfloat16', shape: [1], data: Uint16Array.of(0x3f80) }],
  ]),
  metadata: { format: 'x' },
};

function encode(file: TensorFile): Uint8Array {
  return Buffer.concat(encodeSafetensors(file));
}

test('every dtype comes back with the same bits, shape and metadata', (t) => {
  t.deepEqual(decodeSafetensors(encode(EXAMPLE), 'f'), EXAMPLE);
});

test('a file that stops anywhere is DATA_LOSS naming the file', (t) => {
  const bytes = encode(EXAMPLE);
  for (let length = 0; length < bytes.length; length++) {
    throwsTyped(
      t,
      () => decodeSafetensors(bytes.subarray(0, length), 'cut.safetensors'),
      'DATA_LOSS',
      'cut.safetensors',
    );
  }
});

test('a file with any byte changed is read or refused, never worse', (t) => {
  const bytes = encode(EXAMPLE);
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 0, max: 255 }), (at, byte) => {
      const changed = bytes.slice();
      changed[at] = byte;
      try {
        decodeSafetensors(changed, 'f');
      } catch (error) {
        return error instanceof GradsyncError && error.code === 'DATA_LOSS';
      }
      return true;
    }),
  );
  t.pass();
});

test('a variable of strings cannot be stored', (t) => {
  const tensors = new Map<string, TensorData>([
    ['s', { dtype: 'string', shape: [], data: [Uint8Array.of(1)] }],
  ]);
  throwsTyped(t, () => encodeSafetensors({ tensors, metadata: {} }), 'INVALID_ARGUMENT', '"s"');
});

test('a checkpoint replaces the file in one move and leaves no draft behind', async (t) => {
  const folder = temporaryFolder(t);
  const path = join(folder, 'c.safetensors');
  await writeCheckpoint(path, { tensors: new Map(), metadata: {} });
  await writeCheckpoint(path, EXAMPLE);
  t.deepEqual(await readCheckpoint(path), EXAMPLE);
  t.deepEqual(await readdir(folder), ['c.safetensors']);
});

test('a checkpoint that is not there is NOT_FOUND', async (t) => {
  const error = await t.throwsAsync(readCheckpoint(join(tmpdir(), 'no', 'such', 'file')), {
    instanceOf: GradsyncError,
  });
  t.is(error?.code, 'NOT_FOUND');
});
