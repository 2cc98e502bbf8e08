/**
 * Reads sorted string tables, LevelDB's format of files, in which TensorFlow keeps a checkpoint's index: blocks of entries whose keys leave
 * out what they share with the key before, an index block that says where the blocks are, and a footer that says where the index is.
 */
import { GradsyncError } from '../../errors.js';
import { truncated, WireReader } from '../../graph/codec/wire.js';
import { crc32c, maskCrc } from './crc32c.js';
import { damaged, printCrc } from './damage.js';

/** Two block handles, padded, and the magic number. */
export const FOOTER_BYTES = 48;
export const TABLE_MAGIC = 0xdb4775248b80fb57n;
/** Behind every block: how it is compressed, and a checksum over block and that. */
export const TRAILER_BYTES = 5;
export const UNCOMPRESSED = 0;

/** Keys are bytes, kept as text of one character per byte: it compares as the bytes do. */
export type ByteText = string;

interface BlockHandle {
  readonly offset: number;
  readonly size: number;
}

/**
 * All entries in the order of their keys; values are views of `bytes`.
 *
 * @throws GradsyncError DATA_LOSS naming `file` where anything does not hold together; UNIMPLEMENTED for compressed blocks.
 */
export function readTable(bytes: Uint8Array, file: string): ReadonlyMap<ByteText, Uint8Array> {
  try {
    return readBlocks(bytes, file);
  } catch (error) {
    // What the reader of bytes throws speaks of graph files.
    if (!(error instanceof GradsyncError) || error.details.file === file) throw error;
    throw damaged(file, 'a complete table', error.details.received ?? error.message, undefined, error);
  }
}

function readBlocks(bytes: Uint8Array, file: string): ReadonlyMap<ByteText, Uint8Array> {
  const entries = new Map<ByteText, Uint8Array>();
  let last: ByteText | undefined;
  for (const [, value] of readBlock(bytes, readFooter(bytes, file), file)) {
    for (const [key, content] of readBlock(bytes, readHandle(new WireReader(value)), file)) {
      if (last !== undefined && key <= last) throw damaged(file, 'keys in order', 'one out of order');
      entries.set(key, content);
      last = key;
    }
  }
  return entries;
}

/** Where the index block is. */
function readFooter(bytes: Uint8Array, file: string): BlockHandle {
  const start = bytes.length - FOOTER_BYTES;
  if (start < 0) throw damaged(file, `a footer of ${FOOTER_BYTES} bytes`, `a file of ${bytes.length}`);
  const magic = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).readBigUInt64LE(bytes.length - 8);
  if (magic !== TABLE_MAGIC) {
    throw damaged(
      file,
      `the magic number 0x${TABLE_MAGIC.toString(16)} at the end`,
      `0x${magic.toString(16)}`,
    );
  }
  const reader = new WireReader(bytes, start, bytes.length - 8);
  // The block of further information, of which there is none.
  readHandle(reader);
  return readHandle(reader);
}

function readHandle(reader: WireReader): BlockHandle {
  return { offset: reader.varint(), size: reader.varint() };
}

/** The entries of a block, whose checksum is verified first. */
function* readBlock(
  bytes: Uint8Array,
  { offset, size }: BlockHandle,
  file: string,
): Generator<[ByteText, Uint8Array]> {
  const end = offset + size;
  const limit = bytes.length - FOOTER_BYTES - TRAILER_BYTES;
  if (end > limit) throw damaged(file, `blocks that end by byte ${limit}`, `one that ends at byte ${end}`);
  checkTrailer(bytes, offset, end, file);
  const reader = new WireReader(bytes, offset, entriesEnd(bytes, offset, end));
  let key: ByteText = '';
  while (reader.position < reader.end) {
    const shared = reader.varint();
    const rest = reader.varint();
    const length = reader.varint();
    if (shared > key.length || rest + length > reader.end - reader.position) throw truncated(reader.end);
    key = key.slice(0, shared) + Buffer.from(reader.fixed(rest)).toString('latin1');
    yield [key, reader.fixed(length)];
  }
}

function checkTrailer(bytes: Uint8Array, start: number, end: number, file: string): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const stored = view.getUint32(end + 1, true);
  const found = maskCrc(crc32c(bytes.subarray(start, end + 1)));
  if (stored !== found) {
    throw damaged(file, `${printCrc(stored)} of the block at byte ${start}`, printCrc(found));
  }
  if (bytes[end] === UNCOMPRESSED) return;
  throw new GradsyncError('UNIMPLEMENTED', `Checkpoint ${file}`, {
    expected: 'uncompressed blocks, as TensorFlow writes them',
    received: `a block with compression ${bytes[end]}`,
    remedy: 'restore and save it again with TensorFlow',
    file,
  });
}

/** Where the entries of a block end: a list of the places where whole keys stand follows them, and its length. */
function entriesEnd(bytes: Uint8Array, start: number, end: number): number {
  if (end - start < 4) throw truncated(end);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const list = end - 4 - 4 * view.getUint32(end - 4, true);
  if (list < start) throw truncated(end);
  return list;
}
