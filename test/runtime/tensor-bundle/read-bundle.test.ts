/** Checkpoints that TensorFlow wrote (test/fixtures/checkpoints): every dtype, parts put together, and what cannot be had. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { type ErrorCode, GradsyncError } from '../../../src/errors.js';
import { DTYPES, type DType } from '../../../src/graph/dtype.js';
import { crc32c, maskCrc } from '../../../src/runtime/tensor-bundle/crc32c.js';
import {
  dataFile,
  indexFile,
  openBundle,
  readTensor,
  tensorNames,
} from '../../../src/runtime/tensor-bundle/read-bundle.js';
import { committed, expectedTensor, readAll, scratchCopy } from '../../helpers/bundles.js';

async function rejects(t: ExecutionContext, promise: Promise<unknown>, code: ErrorCode, ...parts: string[]) {
  const error = await t.throwsAsync(promise, { instanceOf: GradsyncError });
  t.is(error?.code, code, error?.message);
  for (const part of parts) t.true(error?.message.includes(part), `"${part}" is not in: ${error?.message}`);
}

test('tensors of every dtype with a fixed size have the bits that TensorFlow wrote', async (t) => {
  const tensors = await readAll(committed('every-dtype'));
  const dtypes = (Object.keys(DTYPES) as DType[]).filter((dtype) => DTYPES[dtype].size > 0);
  for (const dtype of dtypes) {
    const name = `values/${dtype}`;
    t.deepEqual(tensors.get(name), expectedTensor(dtype, [2, 3]), name);
  }
  t.deepEqual(tensors.get('values/empty'), expectedTensor('float32', [0, 4]));
  t.deepEqual(tensors.get('values/scalar'), expectedTensor('int64', []));
  t.deepEqual(tensors.get('naïve/名'), expectedTensor('float32', [2]));
  t.is(tensors.size, dtypes.length + 3);
});

test('tensors in parts, by rows, columns and blocks, over two files, are put together', async (t) => {
  const tensors = await readAll(committed('partitioned'));
  t.deepEqual([...tensors.keys()], ['blocks', 'columns', 'rows', 'whole']);
  t.deepEqual(tensors.get('rows'), expectedTensor('float32', [7, 3]));
  t.deepEqual(tensors.get('columns'), expectedTensor('float32', [2, 110]));
  t.deepEqual(tensors.get('blocks'), expectedTensor('float32', [3, 4, 2]));
  t.deepEqual(tensors.get('whole'), expectedTensor('int32', [4]));
});

test('strings are listed, and refused when they are asked for', async (t) => {
  const bundle = await openBundle(committed('partitioned'));
  t.true(tensorNames(bundle).includes('text'));
  await rejects(t, readTensor(bundle, 'text'), 'UNIMPLEMENTED', '"text"', 'string', 'partitioned.ckpt.index');
});

test('a tensor, an index and a file of data that are not there are NOT_FOUND', async (t) => {
  const folder = scratchCopy();
  const prefix = join(folder, 'every-dtype.ckpt');
  const bundle = await openBundle(prefix);
  await rejects(t, readTensor(bundle, 'none'), 'NOT_FOUND', '"none"');
  await rejects(t, openBundle(join(folder, 'none')), 'NOT_FOUND', 'none.index');
  const elsewhere = { ...bundle, shardCount: 3 };
  await rejects(t, readTensor(elsewhere, 'values/int8'), 'NOT_FOUND', 'every-dtype.ckpt.data-00000-of-00003');
});

test('a changed element is told with file, tensor and both checksums', async (t) => {
  const prefix = join(scratchCopy(), 'every-dtype.ckpt');
  const bundle = await openBundle(prefix);
  const { offset, size, crc } = bundle.entries.get('values/float64')!;
  const path = dataFile(prefix, 0, 1);
  const bytes = readFileSync(path);
  bytes[offset + 9]! ^= 4;
  writeFileSync(path, bytes);
  const found = maskCrc(crc32c(bytes.subarray(offset, offset + size)));
  const hexadecimal = (value: number): string => `0x${value.toString(16).padStart(8, '0')}`;
  const texts = [path, '"values/float64"', hexadecimal(crc), hexadecimal(found)];
  await rejects(t, readTensor(bundle, 'values/float64'), 'DATA_LOSS', ...texts);
  await t.notThrowsAsync(readTensor(bundle, 'values/float32'));
});

test('compressed blocks are refused', async (t) => {
  const prefix = join(scratchCopy(), 'every-dtype.ckpt');
  const bytes = readFileSync(indexFile(prefix));
  // The first byte behind the first block, whose end the index block gives: found as the first place whose checksum fits.
  const end = Array.from(bytes.keys()).find(
    (at) => bytes[at] === 0 && bytes.length - at > 5 && fits(bytes, at),
  )!;
  bytes[end] = 1;
  bytes.writeUInt32LE(maskCrc(crc32c(bytes.subarray(0, end + 1))), end + 1);
  writeFileSync(indexFile(prefix), bytes);
  await rejects(t, openBundle(prefix), 'UNIMPLEMENTED', 'compression 1');
});

function fits(bytes: Buffer, at: number): boolean {
  return bytes.readUInt32LE(at + 1) === maskCrc(crc32c(bytes.subarray(0, at + 1)));
}
