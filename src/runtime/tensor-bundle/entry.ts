/**
 * The messages in a checkpoint's index: BundleHeaderProto under the empty key, a BundleEntryProto under every other
 * (tensorflow/core/protobuf/tensor_bundle.proto).
 */
import { decodeShape, encodeShape } from '../../graph/codec/tensor-proto.js';
import { BYTES, FIXED32, VARINT, WireReader, WireWriter } from '../../graph/codec/wire.js';
import { type DType, dtypeNumber, dtypeOfNumber } from '../../graph/dtype.js';

const HEADER = { shardCount: 1, endianness: 2, version: 3 } as const;
const VERSION = { producer: 1, oldestReader: 2 } as const;
const ENTRY = { dtype: 1, shape: 2, shard: 3, offset: 4, size: 5, crc: 6, slice: 7 } as const;
const SLICE = { extent: 1 } as const;
const EXTENT = { start: 1, length: 2 } as const;

/** The version of the format that is written, and that can be read. */
export const BUNDLE_VERSION = 1;

export interface BundleHeader {
  /** Files that the tensors are spread over. */
  readonly shardCount: number;
  readonly isBigEndian: boolean;
  /** The oldest version of the format that a reader has to know. */
  readonly oldestReader: number;
}

/** A part of one axis; without a length all of it. */
export interface Extent {
  readonly start: number;
  readonly length: number | undefined;
}

/** A part of a tensor: one extent per axis. */
export type Slice = readonly Extent[];

export interface BundleEntry {
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** The file that holds the elements, from `offset` on. */
  readonly shard: number;
  readonly offset: number;
  readonly size: number;
  /** Masked. */
  readonly crc: number;
  /** Not empty where the elements are not here, but under a key for each of these parts. */
  readonly slices: readonly Slice[];
}

export function decodeHeader(bytes: Uint8Array): BundleHeader {
  const reader = new WireReader(bytes);
  const header = { shardCount: 0, isBigEndian: false, oldestReader: 0 };
  while (reader.next()) {
    if (reader.is(HEADER.shardCount, VARINT)) header.shardCount = reader.varint();
    else if (reader.is(HEADER.endianness, VARINT)) header.isBigEndian = reader.varint() !== 0;
    else if (reader.is(HEADER.version, BYTES)) header.oldestReader = decodeOldestReader(reader.bytes());
    else reader.skip();
  }
  return header;
}

function decodeOldestReader(bytes: Uint8Array): number {
  const reader = new WireReader(bytes);
  let version = 0;
  while (reader.next()) {
    if (reader.is(VERSION.oldestReader, VARINT)) version = reader.varint();
    else reader.skip();
  }
  return version;
}

/** Of a checkpoint with one file of data. */
export function encodeHeader(): Uint8Array {
  const writer = new WireWriter();
  writer.tag(HEADER.shardCount, VARINT);
  writer.varint(1);
  writer.message(HEADER.version, () => {
    writer.tag(VERSION.producer, VARINT);
    writer.varint(BUNDLE_VERSION);
  });
  return writer.finish();
}

export function decodeEntry(bytes: Uint8Array): BundleEntry {
  const reader = new WireReader(bytes);
  const slices: Slice[] = [];
  const numbers = { dtype: 0, shard: 0, offset: 0, size: 0, crc: 0 };
  let shape: readonly number[] = [];
  while (reader.next()) {
    if (reader.is(ENTRY.dtype, VARINT)) numbers.dtype = reader.varint();
    else if (reader.is(ENTRY.shape, BYTES)) shape = decodeShape(reader.bytes()) ?? [];
    else if (reader.is(ENTRY.shard, VARINT)) numbers.shard = reader.varint();
    else if (reader.is(ENTRY.offset, VARINT)) numbers.offset = reader.varint();
    else if (reader.is(ENTRY.size, VARINT)) numbers.size = reader.varint();
    else if (reader.is(ENTRY.crc, FIXED32)) numbers.crc = Buffer.from(reader.fixed(4)).readUInt32LE();
    else if (reader.is(ENTRY.slice, BYTES)) slices.push(decodeSlice(reader.bytes()));
    else reader.skip();
  }
  return { ...numbers, dtype: dtypeOfNumber(numbers.dtype), shape, slices };
}

function decodeSlice(bytes: Uint8Array): Slice {
  const reader = new WireReader(bytes);
  const extents: Extent[] = [];
  while (reader.next()) {
    if (reader.is(SLICE.extent, BYTES)) extents.push(decodeExtent(reader.bytes()));
    else reader.skip();
  }
  return extents;
}

function decodeExtent(bytes: Uint8Array): Extent {
  const reader = new WireReader(bytes);
  let start = 0;
  let length: number | undefined;
  while (reader.next()) {
    if (reader.is(EXTENT.start, VARINT)) start = reader.varint();
    else if (reader.is(EXTENT.length, VARINT)) length = reader.varint();
    else reader.skip();
  }
  return { start, length };
}

/** Of a whole tensor in the only file of data. */
export function encodeEntry({ dtype, shape, offset, size, crc }: BundleEntry): Uint8Array {
  const writer = new WireWriter();
  const positive = (field: number, value: number): void => {
    if (value === 0) return;
    writer.tag(field, VARINT);
    writer.varint(value);
  };
  positive(ENTRY.dtype, dtypeNumber(dtype));
  writer.message(ENTRY.shape, () => encodeShape(shape, writer));
  positive(ENTRY.offset, offset);
  positive(ENTRY.size, size);
  writer.tag(ENTRY.crc, FIXED32);
  writer.littleEndian(BigInt(crc), 4);
  return writer.finish();
}
