/** Writes TensorFlow's checkpoint format (see read-bundle.ts) with one file of data, as tf.compat.v1.train.Saver does: to the same bytes. */
import type { NewFile } from '../replace-file.js';
import { crc32c, maskCrc } from './crc32c.js';
import { encodeEntry, encodeHeader } from './entry.js';
import { type BundleTensor, dataFile, HEADER_KEY, indexFile } from './read-bundle.js';
import type { ByteText } from './table.js';
import { writeTable } from './table-writer.js';

/**
 * The files of a checkpoint in the order in which they are to appear: what the index names is then there. Elements are not copied.
 *
 * @param prefix The path that the files' names begin with.
 */
export function encodeBundle(prefix: string, tensors: ReadonlyMap<string, BundleTensor>): readonly NewFile[] {
  const sorted = [...tensors]
    .map(([name, tensor]) => ({ key: Buffer.from(name).toString('latin1'), tensor }))
    .sort((a, b) => (a.key < b.key ? -1 : 1));
  const entries: [ByteText, Uint8Array][] = [[HEADER_KEY, encodeHeader()]];
  const chunks: Uint8Array[] = [];
  let offset = 0;
  for (const { key, tensor } of sorted) {
    const { dtype, shape, bytes } = tensor;
    const place = { shard: 0, offset, size: bytes.length, crc: maskCrc(crc32c(bytes)) };
    entries.push([key, encodeEntry({ dtype, shape, ...place, slices: [] })]);
    chunks.push(bytes);
    offset += bytes.length;
  }
  return [
    { path: dataFile(prefix, 0, 1), chunks },
    { path: indexFile(prefix), chunks: [writeTable(entries)] },
  ];
}
