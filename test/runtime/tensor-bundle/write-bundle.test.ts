/** What is written has the bytes that TensorFlow writes, and is read back as it was. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { replaceFiles } from '../../../src/runtime/replace-file.js';
import { sliceKey } from '../../../src/runtime/tensor-bundle/slice-key.js';
import { readTable } from '../../../src/runtime/tensor-bundle/table.js';
import { writeTable } from '../../../src/runtime/tensor-bundle/table-writer.js';
import { encodeBundle } from '../../../src/runtime/tensor-bundle/write-bundle.js';
import { committed, readAll, scratchCopy } from '../../helpers/bundles.js';
import { fc } from '../../helpers/properties.js';

test('a checkpoint of TensorFlow, read and written, is the same byte for byte', async (t) => {
  const prefix = committed('every-dtype');
  const tensors = await readAll(prefix);
  // The order in which they are given does not matter.
  for (const { path, chunks } of encodeBundle(prefix, new Map([...tensors].reverse()))) {
    t.deepEqual(Buffer.concat(chunks), readFileSync(path), path);
  }
});

test('what is written is read back the same, also when tensors in parts are now whole, and when there is nothing', async (t) => {
  const prefix = join(scratchCopy(), 'again.ckpt');
  for (const tensors of [await readAll(committed('partitioned')), new Map()]) {
    await replaceFiles(encodeBundle(prefix, tensors));
    t.deepEqual(await readAll(prefix), tensors);
  }
});

/** Keys with much in common, zeros and 255s included. */
const KEY = fc
  .array(fc.constantFrom('\0', 'a', 'b', '\u00ff', 'name/'), { maxLength: 12 })
  .map((parts) => parts.join(''));

test('a table gives back its entries, whatever keys and however many', (t) => {
  fc.assert(
    fc.property(fc.dictionary(KEY, fc.uint8Array({ maxLength: 40 }), { maxKeys: 60 }), (content) => {
      const entries = Object.entries(content).sort(([a], [b]) => (a < b ? -1 : 1));
      const read = [...readTable(writeTable(entries), 'f')];
      t.deepEqual(
        read.map(([key, value]) => [key, [...value]]),
        entries.map(([key, value]) => [key, [...value]]),
      );
    }),
  );
});

test('a table of several blocks gives back its entries', (t) => {
  const names = Array.from({ length: 8 }, (_, i) => `block/${i}`);
  const entries = names.map((name, i) => [name, new Uint8Array(100_000 + i).fill(i)] as const);
  const bytes = writeTable(entries);
  const read = readTable(bytes, 'f');
  t.deepEqual([...read.keys()], names);
  for (const [name, value] of entries) t.true(Buffer.from(value).equals(read.get(name)!), name);
});

test('the keys of parts sort as their beginnings do', (t) => {
  const start = fc.maxSafeNat();
  fc.assert(
    fc.property(start, start, (a, b) => {
      const [keyA, keyB] = [a, b].map((value) => sliceKey('n', [{ start: value, length: 1 }]));
      t.is(Math.sign(a - b), keyA === keyB ? 0 : keyA! < keyB! ? -1 : 1);
    }),
  );
});
