/**
 * Protocol buffers' wire format: tags, varints and length-delimited fields, read with every bound checked and written into one growing
 * buffer. A reader neither copies nor owns the bytes; anything malformed is a GradsyncError.
 */
import { GradsyncError } from '../../errors.js';

export const VARINT = 0;
export const FIXED64 = 1;
export const BYTES = 2;
export const FIXED32 = 5;

const TWO_32 = 2 ** 32;
const NOT_ASCII = /[\u0080-\u00ff]/;
const utf8 = new TextDecoder('utf-8', { fatal: true });
const utf8Encoder = new TextEncoder();

/** Latin-1 slices of a Buffer, which Node makes several times faster than decoded UTF-8; names are nearly always ASCII. */
type FastBuffer = Buffer & { latin1Slice(start: number, end: number): string };

/** A buffer over the same memory, whatever kind of Uint8Array it is. */
export function bufferOf(bytes: Uint8Array): FastBuffer {
  if (bytes instanceof Buffer) return bytes as FastBuffer;
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength) as FastBuffer;
}

export class WireReader {
  readonly buffer: FastBuffer;
  position: number;
  end: number;
  /** Of the last field's tag. */
  field = 0;
  wireType = 0;

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    this.buffer = bufferOf(bytes);
    this.position = start;
    this.end = end;
  }

  /** Starts over at another span of the same bytes. */
  reset(start: number, end: number): this {
    this.position = start;
    this.end = end;
    return this;
  }

  /** Steps to the next field and reads its tag; false at the end. */
  next(): boolean {
    if (this.position >= this.end) return false;
    const tag = this.varint();
    this.field = tag < 0x80 ? tag >> 3 : Math.floor(tag / 8);
    this.wireType = tag & 7;
    if (this.field === 0 || tag >= TWO_32) throw notAGraph(`field number ${this.field}`, this.position);
    return true;
  }

  /** Whether the tag just read is this field with this wire type; a field of another type is unknown, as protobuf has it. */
  is(field: number, wireType: number): boolean {
    return this.field === field && this.wireType === wireType;
  }

  /** An unsigned varint as a number: exact up to 2^53, rounded above (read `signed64` where that matters). */
  varint(): number {
    const { buffer } = this;
    // Most tags and lengths are one byte.
    const first = buffer[this.position] as number;
    if (first < 0x80 && this.position < this.end) {
      this.position++;
      return first;
    }
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 10; i++) {
      if (this.position >= this.end) throw truncated(this.end);
      const byte = buffer[this.position++] as number;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      scale *= 128;
    }
    throw notAGraph('a varint of more than ten bytes', this.position);
  }

  /** A varint as a signed 64-bit integer (int64, int32 and enum fields). */
  signed64(): bigint {
    const start = this.position;
    const rough = this.varint();
    if (rough <= Number.MAX_SAFE_INTEGER) return BigInt(rough);
    let value = 0n;
    for (let i = this.position - 1; i >= start; i--) {
      value = (value << 7n) | BigInt((this.buffer[i] as number) & 0x7f);
    }
    return BigInt.asIntN(64, value);
  }

  float(): number {
    const at = this.#take(4);
    return this.buffer.readFloatLE(at);
  }

  /** The next `size` bytes, as a view. */
  fixed(size: number): Uint8Array {
    const at = this.#take(size);
    return this.buffer.subarray(at, at + size);
  }

  /** Length of a length-delimited field; `position` is at its first byte, and all of it is there. */
  length(): number {
    if (this.wireType !== BYTES)
      throw notAGraph(`wire type ${this.wireType} of field ${this.field}`, this.position);
    const length = this.varint();
    if (length > this.end - this.position) throw truncated(this.end);
    return length;
  }

  /** A length-delimited field, as a view. */
  bytes(): Uint8Array {
    const length = this.length();
    this.position += length;
    return this.buffer.subarray(this.position - length, this.position);
  }

  string(): string {
    const length = this.length();
    this.position += length;
    return this.text(this.position - length, this.position);
  }

  /** The text between two positions; INVALID_ARGUMENT unless it is UTF-8. */
  text(start: number, end: number): string {
    const text = this.buffer.latin1Slice(start, end);
    if (!NOT_ASCII.test(text)) return text;
    try {
      return utf8.decode(this.buffer.subarray(start, end));
    } catch (cause) {
      throw notAGraph('a string that is not UTF-8', start, cause);
    }
  }

  /** Passes over the value of the field whose tag was just read. */
  skip(): void {
    switch (this.wireType) {
      case VARINT:
        this.varint();
        return;
      case FIXED64:
        this.#take(8);
        return;
      case BYTES: {
        const length = this.length();
        this.position += length;
        return;
      }
      case FIXED32:
        this.#take(4);
        return;
      default:
        throw notAGraph(`wire type ${this.wireType} of field ${this.field}`, this.position);
    }
  }

  #take(size: number): number {
    const at = this.position;
    if (size > this.end - at) throw truncated(this.end);
    this.position = at + size;
    return at;
  }
}

/** Bytes written one after the other. Messages are written with their length known first, or through `message`. */
export class WireWriter {
  #buffer: Buffer;
  #length = 0;

  constructor(capacity = 256) {
    this.#buffer = Buffer.allocUnsafe(capacity);
  }

  get length(): number {
    return this.#length;
  }

  /** The bytes written so far: a view until the next write. */
  finish(): Uint8Array {
    return new Uint8Array(this.#buffer.buffer, this.#buffer.byteOffset, this.#length);
  }

  /** Forgets all that was written; the memory is used again. */
  clear(): void {
    this.#length = 0;
  }

  tag(field: number, wireType: number): void {
    this.varint(field * 8 + wireType);
  }

  varint(value: number): void {
    this.#reserve(10);
    let rest = value;
    while (rest >= 0x80) {
      this.#buffer[this.#length++] = (rest % 128) + 128;
      rest = Math.floor(rest / 128);
    }
    this.#buffer[this.#length++] = rest;
  }

  signed64(value: bigint): void {
    let rest = BigInt.asUintN(64, value);
    this.#reserve(10);
    while (rest >= 0x80n) {
      this.#buffer[this.#length++] = Number(rest & 0x7fn) + 128;
      rest >>= 7n;
    }
    this.#buffer[this.#length++] = Number(rest);
  }

  /** The low `size` bytes of an integer. */
  littleEndian(value: bigint, size: number): void {
    this.#reserve(8);
    this.#buffer.writeBigInt64LE(value, this.#length);
    this.#length += size;
  }

  float(value: number): void {
    this.#reserve(4);
    this.#length = this.#buffer.writeFloatLE(value, this.#length);
  }

  double(value: number): void {
    this.#reserve(8);
    this.#length = this.#buffer.writeDoubleLE(value, this.#length);
  }

  /** Bytes as they are, without tag or length. */
  raw(bytes: Uint8Array, start = 0, end = bytes.length): void {
    const size = end - start;
    this.#reserve(size);
    // Copying a short run byte by byte is cheaper than the view that `set` needs.
    if (size < 64) for (let i = start; i < end; i++) this.#buffer[this.#length++] = bytes[i] as number;
    else {
      this.#buffer.set(
        start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end),
        this.#length,
      );
      this.#length += size;
    }
  }

  /** Bytes with their length before them. */
  sized(bytes: Uint8Array, start = 0, end = bytes.length): void {
    this.varint(end - start);
    this.raw(bytes, start, end);
  }

  bytes(field: number, bytes: Uint8Array, start = 0, end = bytes.length): void {
    this.tag(field, BYTES);
    this.sized(bytes, start, end);
  }

  string(field: number, text: string): void {
    this.tag(field, BYTES);
    this.varint(text.length);
    if (!this.#ascii(text)) {
      const bytes = utf8Encoder.encode(text);
      this.#length -= varintSize(text.length);
      this.varint(bytes.length);
      this.raw(bytes);
    }
  }

  message(field: number, write: () => void): void {
    this.tag(field, BYTES);
    this.sizedBy(write);
  }

  /** What `write` writes, with its length before it. */
  sizedBy(write: () => void): void {
    const start = this.#length;
    write();
    const size = this.#length - start;
    const shift = varintSize(size);
    this.#reserve(shift);
    this.#buffer.copyWithin(start + shift, start, this.#length);
    this.#length = start;
    this.varint(size);
    this.#length += size;
  }

  /** Appends the text if it is ASCII; else writes nothing. */
  #ascii(text: string): boolean {
    this.#reserve(text.length);
    const buffer = this.#buffer;
    let at = this.#length;
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      if (code > 0x7f) return false;
      buffer[at++] = code;
    }
    this.#length = at;
    return true;
  }

  #reserve(size: number): void {
    if (this.#length + size <= this.#buffer.length) return;
    const grown = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.#length + size));
    this.#buffer.copy(grown, 0, 0, this.#length);
    this.#buffer = grown;
  }
}

function varintSize(value: number): number {
  let size = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 128)) size++;
  return size;
}

export function truncated(end: number): GradsyncError {
  return new GradsyncError('DATA_LOSS', 'Graph file', {
    expected: 'a complete protocol buffer',
    received: `one that ends at byte ${end}, inside a field`,
    remedy: 'the file is truncated or is no graph: export or copy it again',
  });
}

export function notAGraph(received: string, position: number, cause?: unknown): GradsyncError {
  return new GradsyncError(
    'INVALID_ARGUMENT',
    'Graph file',
    {
      expected: 'a GraphDef or MetaGraphDef',
      received: `${received} at byte ${position}`,
      remedy: 'give the file that tf.compat.v1.train.export_meta_graph or tf.io.write_graph wrote',
    },
    cause === undefined ? undefined : { cause },
  );
}
