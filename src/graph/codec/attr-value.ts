/** AttrValue: what an attribute of a node holds. What this version does not know is kept as bytes and written back as it was. */
import { type Attributes, type AttrValue, attr } from '../attributes.js';
import { dtypeNumber, dtypeOfNumber, isDTypeNumber, isReferenceNumber } from '../dtype.js';
import { EncodedAttributes, encodeAttributes } from './encoded-attributes.js';
import { decodeShape, decodeTensor, encodeShape, encodeTensor } from './tensor-proto.js';
import { BYTES, FIXED32, VARINT, WireReader, type WireWriter } from './wire.js';

/** Field numbers. A list has the same for the same kinds, except functions, which nothing else has at 9. */
const FIELD = {
  list: 1,
  string: 2,
  int: 3,
  float: 4,
  bool: 5,
  type: 6,
  shape: 7,
  tensor: 8,
  placeholder: 9,
  func: 10,
};
const LIST_FUNC = 9;
const FUNCTION = { name: 1, attributes: 2 };

export function decodeAttrValue(bytes: Uint8Array): AttrValue {
  const reader = new WireReader(bytes);
  let value: AttrValue | undefined;
  while (reader.next()) {
    // A oneof: of several the last one counts. Anything unknown makes the whole value unknown, so that nothing is lost.
    const next = decodeField(reader);
    if (next === undefined) return { kind: 'unknown', bytes };
    value = next;
  }
  return value ?? { kind: 'unknown', bytes };
}

function decodeField(reader: WireReader): AttrValue | undefined {
  if (reader.is(FIELD.list, BYTES)) return decodeList(reader.bytes());
  if (reader.is(FIELD.placeholder, BYTES)) return { kind: 'placeholder', value: reader.string() };
  if (reader.is(FIELD.func, BYTES)) return decodeFunction(reader.bytes());
  return decodeItem(reader);
}

/** The kinds that a list may hold too, functions apart. */
function decodeItem(reader: WireReader): AttrValue | undefined {
  if (reader.wireType === BYTES) return decodeBytesItem(reader);
  if (reader.is(FIELD.float, FIXED32)) return { kind: 'float', value: reader.float() };
  if (reader.wireType !== VARINT) return undefined;
  switch (reader.field) {
    case FIELD.int:
      return { kind: 'int', value: reader.signed64() };
    case FIELD.bool:
      return { kind: 'bool', value: reader.varint() !== 0 };
    case FIELD.type:
      return decodeType(reader.varint());
    default:
      return undefined;
  }
}

function decodeBytesItem(reader: WireReader): AttrValue | undefined {
  switch (reader.field) {
    case FIELD.string:
      return { kind: 'string', value: reader.bytes() };
    case FIELD.shape:
      return { kind: 'shape', value: decodeShape(reader.bytes()) };
    case FIELD.tensor: {
      const tensor = decodeTensor(reader.bytes());
      return tensor === undefined ? undefined : { kind: 'tensor', value: tensor };
    }
    default:
      return undefined;
  }
}

function decodeType(number: number): AttrValue | undefined {
  if (!isDTypeNumber(number)) return undefined;
  const value = dtypeOfNumber(number);
  return isReferenceNumber(number) ? { kind: 'type', value, reference: true } : attr.type(value);
}

function decodeFunction(bytes: Uint8Array): AttrValue | undefined {
  const reader = new WireReader(bytes);
  let name = '';
  while (reader.next()) {
    if (reader.is(FUNCTION.name, BYTES)) name = reader.string();
    else if (reader.is(FUNCTION.attributes, BYTES)) reader.skip();
    else return undefined;
  }
  return {
    kind: 'func',
    name,
    attributes: new EncodedAttributes(bytes, 0, bytes.length, FUNCTION.attributes),
  };
}

function decodeList(bytes: Uint8Array): AttrValue | undefined {
  const items: AttrValue[] = [];
  const reader = new WireReader(bytes);
  while (reader.next()) {
    if (!decodeListField(reader, items)) return undefined;
  }
  return { kind: 'list', items };
}

/** Appends one field's items, of which a packed field has many; false if it is unknown. */
function decodeListField(reader: WireReader, items: AttrValue[]): boolean {
  const packed = reader.wireType === BYTES && reader.field >= FIELD.int && reader.field <= FIELD.type;
  if (!packed) {
    const item = reader.is(LIST_FUNC, BYTES) ? decodeFunction(reader.bytes()) : decodeItem(reader);
    if (item !== undefined) items.push(item);
    return item !== undefined;
  }
  const values = new WireReader(reader.bytes());
  values.field = reader.field;
  values.wireType = reader.field === FIELD.float ? FIXED32 : VARINT;
  while (values.position < values.end) {
    const item = decodeItem(values);
    if (item === undefined) return false;
    items.push(item);
  }
  return true;
}

/** Writes the body of an AttrValue message. */
export function encodeAttrValue(value: AttrValue, writer: WireWriter): void {
  switch (value.kind) {
    case 'unknown':
      writer.raw(value.bytes);
      return;
    case 'list':
      writer.message(FIELD.list, () => encodeList(value.items, writer));
      return;
    case 'placeholder':
      writer.string(FIELD.placeholder, value.value);
      return;
    case 'func':
      writer.message(FIELD.func, () => encodeFunction(value, writer));
      return;
    default:
      writer.tag(FIELD[value.kind], WIRE[value.kind]);
      encodeItem(value, writer);
      return;
  }
}

type ItemKind = 'string' | 'int' | 'float' | 'bool' | 'type' | 'shape' | 'tensor';
type Item = Extract<AttrValue, { readonly kind: ItemKind }>;

const WIRE: Readonly<Record<ItemKind, number>> = {
  string: BYTES,
  int: VARINT,
  float: FIXED32,
  bool: VARINT,
  type: VARINT,
  shape: BYTES,
  tensor: BYTES,
};

/** Writes what follows the tag. */
function encodeItem(item: Item, writer: WireWriter): void {
  switch (item.kind) {
    case 'string':
      writer.sized(item.value);
      return;
    case 'int':
      writer.signed64(item.value);
      return;
    case 'float':
      writer.float(item.value);
      return;
    case 'bool':
      writer.varint(item.value ? 1 : 0);
      return;
    case 'type':
      writer.varint(dtypeNumber(item.value, item.reference));
      return;
    case 'shape':
      writer.sizedBy(() => encodeShape(item.value, writer));
      return;
    case 'tensor':
      writer.sizedBy(() => encodeTensor(item.value, writer));
      return;
  }
}

/** Numbers packed into one field, as proto3 has it; the rest one field each. Items of unknown kinds keep a list from being decoded. */
function encodeList(items: readonly AttrValue[], writer: WireWriter): void {
  const first = items[0];
  if (first === undefined) return;
  if (first.kind === 'int' || first.kind === 'float' || first.kind === 'bool' || first.kind === 'type') {
    writer.message(FIELD[first.kind], () => {
      for (const item of items) encodeItem(item as Item, writer);
    });
    return;
  }
  for (const item of items) {
    if (item.kind === 'func') {
      writer.message(LIST_FUNC, () => encodeFunction(item, writer));
    } else {
      writer.tag(FIELD[item.kind as ItemKind], BYTES);
      encodeItem(item as Item, writer);
    }
  }
}

function encodeFunction(
  value: { readonly name: string; readonly attributes: Attributes },
  writer: WireWriter,
): void {
  writer.string(FUNCTION.name, value.name);
  encodeAttributes(value.attributes, FUNCTION.attributes, writer);
}
