/**
 * TensorProto and TensorShapeProto. A tensor is read to plain element bytes, whichever of the message's many fields hold them, and
 * written with `tensor_content` (strings with `string_val`).
 */
import { GradsyncError } from '../../errors.js';
import type { TensorValue } from '../attributes.js';
import { DTYPES, type DType, dtypeOfNumber, isDTypeNumber } from '../dtype.js';
import { elementCount, printShape, type Shape } from '../shape.js';
import { BYTES, FIXED32, FIXED64, VARINT, WireReader, WireWriter } from './wire.js';

const TENSOR = { dtype: 1, shape: 2, content: 4, string: 8 } as const;
const SHAPE = { dim: 2, unknownRank: 3, size: 1 } as const;

/** The fields that list elements, and how: fixed-size ones are little-endian runs already, complex numbers as pairs in a row. */
const ELEMENT_FIELDS: ReadonlyMap<number, number> = new Map([
  [5, FIXED32], // float_val
  [6, FIXED64], // double_val
  [7, VARINT], // int_val: int32 and all that is narrower
  [9, FIXED32], // scomplex_val
  [10, VARINT], // int64_val
  [11, VARINT], // bool_val
  [12, FIXED64], // dcomplex_val
  [13, VARINT], // half_val: float16 and bfloat16, as bit patterns
  [16, VARINT], // uint32_val
  [17, VARINT], // uint64_val
]);

/** A splat of one element may describe a tensor far larger than the file; beyond this it is taken for damage. */
const MAX_TENSOR_BYTES = 2 ** 30;

export function decodeShape(bytes: Uint8Array): Shape {
  const reader = new WireReader(bytes);
  const dims: number[] = [];
  let unknownRank = false;
  while (reader.next()) {
    if (reader.is(SHAPE.dim, BYTES)) dims.push(decodeDim(reader.bytes()));
    else if (reader.is(SHAPE.unknownRank, VARINT)) unknownRank = reader.varint() !== 0;
    else reader.skip();
  }
  return unknownRank ? null : dims;
}

function decodeDim(bytes: Uint8Array): number {
  const reader = new WireReader(bytes);
  let size = 0;
  while (reader.next()) {
    if (reader.is(SHAPE.size, VARINT)) size = Number(reader.signed64());
    else reader.skip();
  }
  return size;
}

export function encodeShape(shape: Shape, writer: WireWriter): void {
  if (shape === null) {
    writer.tag(SHAPE.unknownRank, VARINT);
    writer.varint(1);
    return;
  }
  for (const dim of shape) {
    writer.message(SHAPE.dim, () => {
      if (dim === 0) return;
      writer.tag(SHAPE.size, VARINT);
      writer.signed64(BigInt(dim));
    });
  }
}

/** Undefined if the tensor holds what has no plain bytes: resource handles, variants, or a dtype that is not known here. */
export function decodeTensor(bytes: Uint8Array): TensorValue | undefined {
  const { dtype, shape, content } = readHeader(bytes);
  if (dtype === undefined || dtype === 'resource' || dtype === 'variant') return undefined;
  checkShape(shape, dtype);
  const count = elementCount(shape);
  if (dtype === 'string')
    return { dtype, shape, bytes: new Uint8Array(), strings: readStrings(bytes, count) };
  const { size } = DTYPES[dtype];
  const filled = content ?? fill(readElements(bytes, size), size, count);
  if (filled.length === size * count) return { dtype, shape, bytes: filled };
  throw badTensor(`${size * count} bytes for ${dtype}${printShape(shape)}`, `${filled.length}`);
}

/** Writes a tensor; INVALID_ARGUMENT if it has fewer or more elements than its shape says, which TensorFlow would not read. */
export function encodeTensor(tensor: TensorValue, writer: WireWriter): void {
  checkSize(tensor);
  writer.tag(TENSOR.dtype, VARINT);
  writer.varint(DTYPES[tensor.dtype].number);
  writer.message(TENSOR.shape, () => encodeShape(tensor.shape, writer));
  if (tensor.bytes.length > 0) writer.bytes(TENSOR.content, tensor.bytes);
  for (const text of tensor.strings ?? []) writer.bytes(TENSOR.string, text);
}

function checkSize({ dtype, shape, bytes, strings }: TensorValue): void {
  const count = elementCount(shape);
  const [expected, received] =
    dtype === 'string' ? [count, strings?.length ?? 0] : [count * DTYPES[dtype].size, bytes.length];
  if (expected === received) return;
  throw new GradsyncError('INVALID_ARGUMENT', 'Tensor value of an attribute', {
    expected: `${expected} ${dtype === 'string' ? 'strings' : 'bytes'} for ${dtype}${printShape(shape)}`,
    received: `${received}`,
    remedy: 'give as many elements as the shape has',
  });
}

interface TensorHeader {
  dtype: DType | undefined;
  shape: readonly number[];
  content: Uint8Array | undefined;
}

function readHeader(bytes: Uint8Array): TensorHeader {
  const header: TensorHeader = { dtype: undefined, shape: [], content: undefined };
  const reader = new WireReader(bytes);
  while (reader.next()) {
    if (reader.is(TENSOR.dtype, VARINT)) {
      const number = reader.varint();
      header.dtype = isDTypeNumber(number) ? dtypeOfNumber(number) : undefined;
    } else if (reader.is(TENSOR.shape, BYTES)) header.shape = decodeShape(reader.bytes()) ?? [];
    else if (reader.is(TENSOR.content, BYTES)) header.content = reader.bytes();
    else reader.skip();
  }
  if (header.content?.length === 0) header.content = undefined;
  return header;
}

function checkShape(shape: readonly number[], dtype: DType): void {
  const bytes = elementCount(shape) * Math.max(1, DTYPES[dtype].size);
  if (bytes <= MAX_TENSOR_BYTES && shape.every((dim) => dim >= 0)) return;
  throw badTensor(`known dimensions and at most ${MAX_TENSOR_BYTES} bytes`, `${dtype}${printShape(shape)}`);
}

/** The listed elements as little-endian bytes, `size` each. */
function readElements(bytes: Uint8Array, size: number): Uint8Array {
  const out = new WireWriter();
  const reader = new WireReader(bytes);
  while (reader.next()) {
    const wire = ELEMENT_FIELDS.get(reader.field);
    if (wire === undefined || (reader.wireType !== BYTES && reader.wireType !== wire)) reader.skip();
    else if (reader.wireType === BYTES) copyPacked(new WireReader(reader.bytes()), wire, size, out);
    else copyElement(reader, wire, size, out);
  }
  return out.finish();
}

function copyPacked(reader: WireReader, wire: number, size: number, out: WireWriter): void {
  if (wire !== VARINT) out.raw(reader.buffer);
  else while (reader.position < reader.end) copyElement(reader, wire, size, out);
}

function copyElement(reader: WireReader, wire: number, size: number, out: WireWriter): void {
  if (wire === VARINT) out.littleEndian(reader.signed64(), size);
  else out.raw(reader.fixed(wire === FIXED32 ? 4 : 8));
}

/** Fewer elements than the shape has: the last one is repeated; none at all: zeros. */
function fill(elements: Uint8Array, size: number, count: number): Uint8Array {
  if (elements.length >= size * count) return elements;
  const filled = new Uint8Array(size * count);
  if (elements.length < size) return filled;
  filled.set(elements);
  const last = elements.length - size;
  // Each copy doubles what is filled, counted from the last element.
  for (let at = elements.length; at < filled.length; ) {
    const run = Math.min(at - last, filled.length - at);
    filled.copyWithin(at, last, last + run);
    at += run;
  }
  return filled;
}

function readStrings(bytes: Uint8Array, count: number): Uint8Array[] {
  const strings: Uint8Array[] = [];
  const reader = new WireReader(bytes);
  while (reader.next()) {
    if (reader.is(TENSOR.string, BYTES)) strings.push(reader.bytes());
    else reader.skip();
  }
  if (strings.length > count) throw badTensor(`${count} strings`, `${strings.length}`);
  const last = strings.at(-1) ?? new Uint8Array();
  while (strings.length < count) strings.push(last);
  return strings;
}

function badTensor(expected: string, received: string): GradsyncError {
  return new GradsyncError('INVALID_ARGUMENT', 'Tensor in a graph file', {
    expected,
    received,
    remedy: 'the file is damaged: export it again',
  });
}
