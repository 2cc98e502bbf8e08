/**
 * Attributes that stay in the bytes of the file they came from: decoded when somebody asks for one, and written back by copying their
 * span. Changed attributes lie over them, so that the others keep their bytes and their order.
 */
import type { AttributeChanges, Attributes, AttrValue } from '../attributes.js';
import { decodeAttrValue, encodeAttrValue } from './attr-value.js';
import { BYTES, WireReader, type WireWriter } from './wire.js';

const ENTRY = { key: 1, value: 2 } as const;
/** Field 1, length-delimited. */
const KEY_TAG = 0x0a;

/** One entry of the map as it stands in the file. */
interface Entry {
  readonly key: string;
  /** Of the whole field, tag and length included. */
  readonly start: number;
  readonly end: number;
  readonly valueStart: number;
  readonly valueEnd: number;
}

export class EncodedAttributes implements Attributes {
  readonly file: Uint8Array;
  /** The span in which the entries stand. */
  readonly start: number;
  readonly end: number;
  /** Whether nothing else stands in the span; otherwise fields of other numbers are passed over. */
  readonly pure: boolean;
  readonly #field: number;

  constructor(file: Uint8Array, start: number, end: number, field: number, pure = false) {
    this.file = file;
    this.start = start;
    this.end = end;
    this.pure = pure;
    this.#field = field;
  }

  get(name: string): AttrValue | undefined {
    let found: AttrValue | undefined;
    const reader = new WireReader(this.file, this.start, this.end);
    while (reader.next()) {
      if (!reader.is(this.#field, BYTES)) {
        reader.skip();
        continue;
      }
      const end = reader.length() + reader.position;
      if (mayHaveKey(reader.buffer, reader.position, name)) {
        const { key, valueStart, valueEnd } = readEntry(this.file, reader.position, end, 0);
        // A key given twice: the last one counts.
        if (key === name) found = decodeAttrValue(this.file.subarray(valueStart, valueEnd));
      }
      reader.position = end;
    }
    return found;
  }

  *names(): Iterable<string> {
    for (const { key } of this.entries()) yield key;
  }

  with(changes: AttributeChanges): Attributes {
    return new ChangedAttributes(this, new Map(Object.entries(changes)));
  }

  *entries(): Iterable<Entry> {
    const reader = new WireReader(this.file, this.start, this.end);
    for (let start = this.start; reader.next(); start = reader.position) {
      if (reader.is(this.#field, BYTES)) {
        const end = reader.length() + reader.position;
        yield readEntry(this.file, reader.position, end, start);
        reader.position = end;
      } else reader.skip();
    }
  }
}

/** Tells most entries of other keys by their first bytes: the key stands first, as everyone writes maps. */
function mayHaveKey(bytes: Uint8Array, at: number, key: string): boolean {
  if (bytes[at] !== KEY_TAG || key.length > 0x7f) return true;
  const length = bytes[at + 1] as number;
  if (length !== key.length) return length > 0x7f;
  for (let i = 0; i < key.length; i++) {
    const byte = bytes[at + 2 + i] as number;
    if (byte !== key.charCodeAt(i)) return byte > 0x7f;
  }
  return true;
}

/** Reads the entry between two positions; `start` is where its tag stands. */
function readEntry(file: Uint8Array, from: number, end: number, start: number): Entry {
  const inner = new WireReader(file, from, end);
  let key = '';
  let valueStart = end;
  let valueEnd = end;
  while (inner.next()) {
    if (inner.is(ENTRY.key, BYTES)) key = inner.string();
    else if (inner.is(ENTRY.value, BYTES)) {
      valueEnd = inner.length() + inner.position;
      valueStart = inner.position;
      inner.position = valueEnd;
    } else inner.skip();
  }
  return { key, start, end, valueStart, valueEnd };
}

/** Encoded attributes with some set anew, or taken out (undefined). */
class ChangedAttributes implements Attributes {
  readonly base: EncodedAttributes;
  readonly changes: ReadonlyMap<string, AttrValue | undefined>;

  constructor(base: EncodedAttributes, changes: ReadonlyMap<string, AttrValue | undefined>) {
    this.base = base;
    this.changes = changes;
  }

  get(name: string): AttrValue | undefined {
    return this.changes.has(name) ? this.changes.get(name) : this.base.get(name);
  }

  names(): Iterable<string> {
    const names = new Set([...this.base.names(), ...this.changes.keys()]);
    for (const [name, value] of this.changes) if (value === undefined) names.delete(name);
    return names;
  }

  with(changes: AttributeChanges): Attributes {
    return new ChangedAttributes(this.base, new Map([...this.changes, ...Object.entries(changes)]));
  }
}

/** Writes attributes as entries of a map field: those still in their file's bytes are copied. */
export function encodeAttributes(attributes: Attributes, field: number, writer: WireWriter): void {
  if (attributes instanceof EncodedAttributes) {
    if (attributes.pure) writer.raw(attributes.file, attributes.start, attributes.end);
    else for (const { start, end } of attributes.entries()) writer.raw(attributes.file, start, end);
  } else if (attributes instanceof ChangedAttributes) {
    encodeChanged(attributes, field, writer);
  } else {
    for (const name of attributes.names()) encodeEntry(name, attributes.get(name), field, writer);
  }
}

function encodeChanged({ base, changes }: ChangedAttributes, field: number, writer: WireWriter): void {
  const pending = new Map(changes);
  for (const { key, start, end } of base.entries()) {
    if (!changes.has(key)) writer.raw(base.file, start, end);
    else if (pending.has(key)) encodeEntry(key, changes.get(key), field, writer);
    pending.delete(key);
  }
  for (const [name, value] of pending) encodeEntry(name, value, field, writer);
}

function encodeEntry(key: string, value: AttrValue | undefined, field: number, writer: WireWriter): void {
  if (value === undefined) return;
  writer.message(field, () => {
    writer.string(ENTRY.key, key);
    writer.message(ENTRY.value, () => encodeAttrValue(value, writer));
  });
}
