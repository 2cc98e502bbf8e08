/** Checkpoints that stop anywhere, or of which any byte is another: what is read is what was written, or it is a typed error. */
import { readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { GradsyncError } from '../../../src/errors.js';
import { crc32c, maskCrc } from '../../../src/runtime/tensor-bundle/crc32c.js';
import {
  dataFile,
  findTensor,
  indexFile,
  openBundle,
  readTensor,
  type TensorBundle,
  tensorNames,
} from '../../../src/runtime/tensor-bundle/read-bundle.js';
import { sliceKey } from '../../../src/runtime/tensor-bundle/slice-key.js';
import { readAll, scratchCopy } from '../../helpers/bundles.js';
import { fc } from '../../helpers/properties.js';

const CHECKPOINTS = [
  { checkpoint: 'every-dtype.ckpt', shards: 1 },
  { checkpoint: 'partitioned.ckpt', shards: 2 },
];

/** What is read, or a typed error; any other error is thrown. */
async function outcome<T>(reading: Promise<T>): Promise<T | GradsyncError> {
  try {
    return await reading;
  } catch (error) {
    if (error instanceof GradsyncError) return error;
    throw error;
  }
}

function isDamage(t: ExecutionContext, found: unknown, path: string, what: string): void {
  const isNoticed = found instanceof GradsyncError && found.code === 'DATA_LOSS';
  if (!isNoticed) t.fail(`${what} went unnoticed: ${found}`);
  else if (found.details.file !== path || !found.message.includes(basename(path)))
    t.fail(`${what}: another file is named: ${found.message}`);
}

for (const { checkpoint, shards } of CHECKPOINTS) {
  test(`an index (${checkpoint}) that stops at any byte is DATA_LOSS naming the file`, async (t) => {
    const prefix = join(scratchCopy(), checkpoint);
    const path = indexFile(prefix);
    const bytes = readFileSync(path);
    for (let length = 0; length < bytes.length; length++) {
      writeFileSync(path, bytes.subarray(0, length));
      isDamage(t, await outcome(openBundle(prefix)), path, `an end at ${length}`);
    }
    t.pass();
  });

  test(`an index (${checkpoint}) with any byte changed is DATA_LOSS, or the byte is one that is not used`, async (t) => {
    const prefix = join(scratchCopy(), checkpoint);
    const path = indexFile(prefix);
    const bytes = readFileSync(path);
    const expected = await readAll(prefix);
    for (let at = 0; at < bytes.length; at++) {
      writeFileSync(path, withByte(bytes, at, bytes[at]! ^ (1 << (at % 8))));
      const found = await outcome(readAll(prefix));
      if (found instanceof GradsyncError) isDamage(t, found, path, `a change at ${at}`);
      else t.deepEqual(found, expected, `${at}`);
    }
  });

  test(`data (${checkpoint}) that stop at any byte, or of which any byte is another, are DATA_LOSS`, async (t) => {
    const prefix = join(scratchCopy(), checkpoint);
    const bundle = await openBundle(prefix);
    for (const [key, { shard, offset, size, dtype, slices }] of bundle.entries) {
      if (dtype === 'string' || slices.length > 0) continue;
      const path = dataFile(prefix, shard, shards);
      const name = ownerOf(bundle, key);
      const bytes = readFileSync(path);
      for (let at = offset; at < offset + size; at++) {
        writeFileSync(path, bytes.subarray(0, at));
        isDamage(t, await outcome(readTensor(bundle, name)), path, `an end at ${at}`);
        writeFileSync(path, withByte(bytes, at, bytes[at]! ^ (1 << (at % 8))));
        isDamage(t, await outcome(readTensor(bundle, name)), path, `a change at ${at}`);
      }
      writeFileSync(path, bytes);
    }
    await t.notThrowsAsync(readAll(prefix));
  });
}

function withByte(bytes: Uint8Array, at: number, byte: number): Uint8Array {
  const changed = Uint8Array.from(bytes);
  changed[at] = byte;
  return changed;
}

/** The tensor that a key belongs to: its own, or that of which it is a part. */
function ownerOf(bundle: TensorBundle, key: string): string {
  return tensorNames(bundle).find((name) => {
    const { slices } = findTensor(bundle, name)!;
    return (
      key === Buffer.from(name).toString('latin1') || slices.some((slice) => sliceKey(name, slice) === key)
    );
  })!;
}

/** Where the first block ends: the only place whose trailer fits. */
function firstBlockEnd(bytes: Buffer): number {
  for (let end = 8; end + 5 < bytes.length; end++) {
    if (bytes[end] === 0 && bytes.readUInt32LE(end + 1) === maskCrc(crc32c(bytes.subarray(0, end + 1))))
      return end;
  }
  throw new Error('no block');
}

for (const { checkpoint } of CHECKPOINTS) {
  test(`an index (${checkpoint}) changed at random behind valid checksums is read or refused, never worse`, async (t) => {
    const prefix = join(scratchCopy(), checkpoint);
    const bytes = readFileSync(indexFile(prefix));
    const end = firstBlockEnd(bytes);
    const change = fc.record({ at: fc.nat(end - 1), byte: fc.integer({ min: 0, max: 255 }) });
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 3 }), async (changes) => {
        const changed = Buffer.from(bytes);
        for (const { at, byte } of changes) changed[at] = byte;
        changed.writeUInt32LE(maskCrc(crc32c(changed.subarray(0, end + 1))), end + 1);
        writeFileSync(indexFile(prefix), changed);
        if ((await outcome(readAll(prefix))) instanceof GradsyncError) refused++;
      }),
      { numRuns: 500 },
    );
    t.true(refused > 100, `${refused}`);
  });
}
