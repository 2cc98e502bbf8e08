/** Writes sorted string tables (see table.ts), with the block sizes and the shortened index keys of TensorFlow's own, to the same bytes. */
import { WireWriter } from '../../graph/codec/wire.js';
import { crc32c, maskCrc } from './crc32c.js';
import { type ByteText, FOOTER_BYTES, TABLE_MAGIC, TRAILER_BYTES, UNCOMPRESSED } from './table.js';

/** A block is ended when it has grown to this. */
const BLOCK_BYTES = 256 * 1024;
/** Every so many entries a key is written whole. */
const RESTART_INTERVAL = 16;

/** The table of some entries, which come in the order of their keys. */
export function writeTable(entries: Iterable<readonly [ByteText, Uint8Array]>): Uint8Array {
  const file = new WireWriter();
  const index = new BlockWriter(1);
  let block = new BlockWriter(RESTART_INTERVAL);
  let full: { handle: Uint8Array; last: ByteText } | undefined;
  for (const [key, value] of entries) {
    if (full !== undefined) index.add(shortestBetween(full.last, key), full.handle);
    full = undefined;
    block.add(key, value);
    if (block.size < BLOCK_BYTES) continue;
    full = { handle: writeBlock(file, block), last: block.lastKey };
    block = new BlockWriter(RESTART_INTERVAL);
  }
  if (!block.isEmpty) full = { handle: writeBlock(file, block), last: block.lastKey };
  const information = writeBlock(file, new BlockWriter(RESTART_INTERVAL));
  if (full !== undefined) index.add(shortestAfter(full.last), full.handle);
  writeFooter(file, information, writeBlock(file, index));
  return file.finish();
}

class BlockWriter {
  readonly #interval: number;
  readonly #entries = new WireWriter();
  readonly #restarts = [0];
  #sinceRestart = 0;
  lastKey: ByteText = '';

  constructor(interval: number) {
    this.#interval = interval;
  }

  get isEmpty(): boolean {
    return this.#entries.length === 0;
  }

  get size(): number {
    return this.#entries.length + 4 * this.#restarts.length + 4;
  }

  add(key: ByteText, value: Uint8Array): void {
    if (this.#sinceRestart === this.#interval) {
      this.#restarts.push(this.#entries.length);
      this.#sinceRestart = 0;
    }
    const shared = this.#sinceRestart === 0 ? 0 : sharedLength(this.lastKey, key);
    this.#entries.varint(shared);
    this.#entries.varint(key.length - shared);
    this.#entries.varint(value.length);
    this.#entries.raw(Buffer.from(key.slice(shared), 'latin1'));
    this.#entries.raw(value);
    this.lastKey = key;
    this.#sinceRestart++;
  }

  finish(): Uint8Array {
    for (const restart of this.#restarts) this.#entries.littleEndian(BigInt(restart), 4);
    this.#entries.littleEndian(BigInt(this.#restarts.length), 4);
    return this.#entries.finish();
  }
}

/** Appends a block with its trailer; gives its handle. */
function writeBlock(file: WireWriter, block: BlockWriter): Uint8Array {
  const offset = file.length;
  const content = block.finish();
  file.raw(content);
  const trailer = Buffer.alloc(TRAILER_BYTES, UNCOMPRESSED);
  trailer.writeUInt32LE(maskCrc(crc32c(trailer.subarray(0, 1), crc32c(content))), 1);
  file.raw(trailer);
  const handle = new WireWriter();
  handle.varint(offset);
  handle.varint(content.length);
  return handle.finish();
}

function writeFooter(file: WireWriter, information: Uint8Array, index: Uint8Array): void {
  const footer = Buffer.alloc(FOOTER_BYTES);
  footer.set(information);
  footer.set(index, information.length);
  footer.writeBigUInt64LE(TABLE_MAGIC, FOOTER_BYTES - 8);
  file.raw(footer);
}

function sharedLength(a: ByteText, b: ByteText): number {
  let length = 0;
  while (length < a.length && a[length] === b[length]) length++;
  return length;
}

/** A short text that is not before `a`, and before `b`, which comes after `a`. */
function shortestBetween(a: ByteText, b: ByteText): ByteText {
  const shared = sharedLength(a, b);
  if (shared === a.length) return a;
  const code = a.charCodeAt(shared);
  return code < 0xff && code + 1 < b.charCodeAt(shared) ? withLast(a, shared) : a;
}

/** A short text that is not before `a`. */
function shortestAfter(a: ByteText): ByteText {
  const at = [...a].findIndex((character) => character !== '\u00ff');
  return at < 0 ? a : withLast(a, at);
}

/** `a` up to a character, which becomes the next one. */
function withLast(a: ByteText, at: number): ByteText {
  return a.slice(0, at) + String.fromCharCode(a.charCodeAt(at) + 1);
}
