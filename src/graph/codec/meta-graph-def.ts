/**
 * MetaGraphDef: a graph with its collections and saver, as `export_meta_graph` writes it. The graph can be edited and written back; all
 * else is read from the file's bytes and written back as it stood.
 */
import type { Graph } from '../graph.js';
import { decodeGraphDef, encodeGraphDef } from './graph-def.js';
import { BYTES, FIXED32, notAGraph, VARINT, WireReader, WireWriter } from './wire.js';

/** A named list of things of a graph, as TensorFlow's `tf.compat.v1.get_collection` knows it. */
export type Collection =
  /** Names of operations (`train_op`) or tensors (`loss:0`). */
  | { readonly kind: 'nodes'; readonly names: readonly string[] }
  /** Serialized messages (VariableDef, ...) or texts. */
  | { readonly kind: 'bytes'; readonly values: readonly Uint8Array[] }
  | { readonly kind: 'ints'; readonly values: readonly bigint[] }
  | { readonly kind: 'floats'; readonly values: readonly number[] }
  | { readonly kind: 'unknown'; readonly bytes: Uint8Array };

export interface SaverDef {
  readonly filename: string;
  readonly save: string;
  readonly restore: string;
}

/** A variable as the collections VARIABLES and TRAINABLE_VARIABLES describe it. All names are of tensors or operations. */
export interface VariableDef {
  readonly variable: string;
  readonly initializer: string;
  readonly initialValue: string;
  readonly snapshot: string;
  readonly resource: boolean;
}

export interface MetaGraph {
  readonly graph: Graph;
  readonly collections: ReadonlyMap<string, Collection>;
  readonly saver: SaverDef | undefined;
  /** Encoded fields that stand before and after the graph. */
  readonly before: Uint8Array;
  readonly after: Uint8Array;
}

const META = { graph: 2, saver: 3, collection: 4 } as const;
const ENTRY = { key: 1, value: 2 } as const;
const COLLECTION = { nodes: 1, bytes: 2, ints: 3, floats: 4 } as const;
const SAVER = { filename: 1, save: 2, restore: 3 } as const;
const VARIABLE = { variable: 1, initializer: 2, snapshot: 3, resource: 5, initialValue: 6 } as const;

/** Reads a binary MetaGraphDef; errors as decodeGraphDef. */
export function decodeMetaGraphDef(bytes: Uint8Array): MetaGraph {
  const before = new WireWriter();
  const after = new WireWriter();
  const collections = new Map<string, Collection>();
  let graph: Graph | undefined;
  let saver: SaverDef | undefined;
  const reader = new WireReader(bytes);
  for (let start = 0; reader.next(); start = reader.position) {
    if (reader.is(META.graph, BYTES)) {
      graph = decodeGraphDef(reader.bytes());
      continue;
    }
    if (reader.is(META.saver, BYTES)) saver = decodeSaver(reader.bytes());
    else if (reader.is(META.collection, BYTES)) decodeCollectionEntry(reader.bytes(), collections);
    else reader.skip();
    (graph === undefined ? before : after).raw(bytes, start, reader.position);
  }
  if (graph === undefined) throw notAGraph('a MetaGraphDef without graph_def', bytes.length);
  return { graph, collections, saver, before: before.finish(), after: after.finish() };
}

/** Writes a binary MetaGraphDef. */
export function encodeMetaGraphDef(meta: MetaGraph): Uint8Array {
  const graph = encodeGraphDef(meta.graph);
  const writer = new WireWriter(meta.before.length + graph.length + meta.after.length + 16);
  writer.raw(meta.before);
  writer.bytes(META.graph, graph);
  writer.raw(meta.after);
  return writer.finish();
}

function decodeCollectionEntry(bytes: Uint8Array, collections: Map<string, Collection>): void {
  const reader = new WireReader(bytes);
  let key = '';
  let value: Collection = { kind: 'unknown', bytes: new Uint8Array() };
  while (reader.next()) {
    if (reader.is(ENTRY.key, BYTES)) key = reader.string();
    else if (reader.is(ENTRY.value, BYTES)) value = decodeCollection(reader.bytes());
    else reader.skip();
  }
  collections.set(key, value);
}

function decodeCollection(bytes: Uint8Array): Collection {
  const reader = new WireReader(bytes);
  while (reader.next()) {
    if (reader.is(COLLECTION.nodes, BYTES)) return { kind: 'nodes', names: decodeNames(reader.bytes()) };
    if (reader.is(COLLECTION.bytes, BYTES)) return { kind: 'bytes', values: decodeValues(reader.bytes()) };
    if (reader.is(COLLECTION.ints, BYTES)) return { kind: 'ints', values: decodeInts(reader.bytes()) };
    if (reader.is(COLLECTION.floats, BYTES)) return { kind: 'floats', values: decodeFloats(reader.bytes()) };
    reader.skip();
  }
  return { kind: 'unknown', bytes };
}

/** Each list message has its items in field 1. */
function decodeNames(bytes: Uint8Array): string[] {
  return eachItem(bytes, BYTES, (reader) => reader.string());
}

function decodeValues(bytes: Uint8Array): Uint8Array[] {
  return eachItem(bytes, BYTES, (reader) => reader.bytes());
}

function decodeInts(bytes: Uint8Array): bigint[] {
  return eachItem(bytes, VARINT, (reader) => reader.signed64());
}

function decodeFloats(bytes: Uint8Array): number[] {
  return eachItem(bytes, FIXED32, (reader) => reader.float());
}

function eachItem<T>(bytes: Uint8Array, wireType: number, read: (reader: WireReader) => T): T[] {
  const items: T[] = [];
  const reader = new WireReader(bytes);
  while (reader.next()) {
    if (reader.is(1, wireType)) items.push(read(reader));
    else if (reader.is(1, BYTES)) {
      const packed = new WireReader(reader.bytes());
      while (packed.position < packed.end) items.push(read(packed));
    } else reader.skip();
  }
  return items;
}

function decodeSaver(bytes: Uint8Array): SaverDef {
  const texts = decodeTexts(bytes);
  return {
    filename: texts.get(SAVER.filename) ?? '',
    save: texts.get(SAVER.save) ?? '',
    restore: texts.get(SAVER.restore) ?? '',
  };
}

/** Reads an entry of a VARIABLES collection. */
export function decodeVariableDef(bytes: Uint8Array): VariableDef {
  const texts = decodeTexts(bytes);
  return {
    variable: texts.get(VARIABLE.variable) ?? '',
    initializer: texts.get(VARIABLE.initializer) ?? '',
    initialValue: texts.get(VARIABLE.initialValue) ?? '',
    snapshot: texts.get(VARIABLE.snapshot) ?? '',
    resource: decodeFlag(bytes, VARIABLE.resource),
  };
}

/** The text fields of a message of names. */
function decodeTexts(bytes: Uint8Array): Map<number, string> {
  const texts = new Map<number, string>();
  const reader = new WireReader(bytes);
  while (reader.next()) {
    // Field 4 of VariableDef, slice information, is a message; whoever wants it reads it apart.
    if (reader.wireType === BYTES && reader.field !== 4) texts.set(reader.field, reader.string());
    else reader.skip();
  }
  return texts;
}

function decodeFlag(bytes: Uint8Array, field: number): boolean {
  const reader = new WireReader(bytes);
  let flag = false;
  while (reader.next()) {
    if (reader.is(field, VARINT)) flag = reader.varint() !== 0;
    else reader.skip();
  }
  return flag;
}
