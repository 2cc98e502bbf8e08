/**
 * GraphDef: reading to a Graph and writing it back. Nothing is lost: attributes stay in the file's bytes until somebody asks for one,
 * a node that no edit touched is written as it stood, and all fields beside the nodes (functions, versions, unknown ones) are carried.
 */
import { GradsyncError } from '../../errors.js';
import { duplicateName, Graph } from '../graph.js';
import { parseInputRef, printInputRef } from '../name.js';
import type { Operation, Tensor } from '../operation.js';
import { encodeAttributes } from './encoded-attributes.js';
import { NodeFields } from './node-fields.js';
import { AT, NODE, type NodeSpans, NodeTable } from './node-table.js';
import { SpanTable } from './span-table.js';
import { BYTES, bufferOf, notAGraph, WireReader, WireWriter } from './wire.js';

const GRAPH = { node: 1 } as const;
/** About how long a node is. */
const BYTES_PER_NODE = 100;

/**
 * Reads a binary GraphDef. The graph keeps views of `bytes`, which must not change afterwards.
 *
 * Throws DATA_LOSS for a truncated file, INVALID_ARGUMENT for one that is no GraphDef or whose nodes name inputs that are not there,
 * ALREADY_EXISTS for a name that stands twice.
 */
export function decodeGraphDef(bytes: Uint8Array): Graph {
  const graph = new Graph();
  const nodes = new NodeDecoder(bytes, graph);
  const extra = new WireWriter(64);
  const reader = new WireReader(bytes);
  for (let start = 0; reader.next(); start = reader.position) {
    if (reader.is(GRAPH.node, BYTES)) {
      const length = reader.length();
      nodes.decode(start, reader.position, reader.position + length);
      reader.position += length;
    } else {
      reader.skip();
      extra.raw(bytes, start, reader.position);
    }
  }
  if (graph.size === 0) throw notAGraph('no node', bytes.length);
  nodes.connect();
  graph.extra = extra.finish();
  return graph;
}

/** Reads nodes in two steps, as a node may name inputs that stand behind it: first all operations, then all edges. */
class NodeDecoder {
  readonly #file: Uint8Array;
  readonly #graph: Graph;
  readonly #reader: WireReader;
  readonly #table: NodeTable;
  readonly #names: SpanTable;
  readonly #operations: Operation[] = [];
  /** Types and devices, of which there are few: one string each. */
  readonly #words: SpanTable;
  readonly #wordTexts: string[] = [];
  /** Per operation in order: how many inputs; and start and end of the text of each. */
  readonly #inputCounts: number[] = [];
  readonly #inputSpans: number[] = [];
  readonly #fields = new NodeFields();

  constructor(file: Uint8Array, graph: Graph) {
    this.#file = bufferOf(file);
    this.#graph = graph;
    this.#reader = new WireReader(this.#file);
    this.#table = new NodeTable(this.#file, Math.ceil(file.length / BYTES_PER_NODE));
    this.#names = new SpanTable(this.#file);
    this.#words = new SpanTable(this.#file);
  }

  /** Reads the node between two positions; its tag is at `tag`. */
  decode(tag: number, start: number, end: number): void {
    const reader = this.#reader.reset(start, end);
    const fields = this.#fields.begin(tag, start, end);
    const before = this.#inputSpans.length;
    for (let at = start; reader.next(); at = reader.position) this.#decodeField(fields, at);
    if (fields.type === '' || fields.nameEnd <= fields.nameStart) {
      throw notAGraph('a node without name or operation type', start);
    }
    if (this.#names.add(fields.nameStart, fields.nameEnd) < 0) {
      throw duplicateName(reader.text(fields.nameStart, fields.nameEnd));
    }
    this.#inputCounts.push((this.#inputSpans.length - before) / 2);
    const { type, device, extra } = fields;
    const attributes = fields.scatteredAttributes(this.#file);
    const stored = { table: this.#table, row: this.#table.add(fields, device) };
    this.#operations.push(this.#graph.insert({ type, device, attributes, extra, stored }));
  }

  #decodeField(fields: NodeFields, start: number): void {
    const reader = this.#reader;
    if (reader.wireType !== BYTES) {
      reader.skip();
      fields.pass(reader.field <= NODE.attribute ? 0 : reader.field, reader.position);
      fields.keep(this.#file, start, reader.position);
      return;
    }
    const length = reader.length();
    const at = reader.position;
    const end = at + length;
    reader.position = end;
    fields.pass(reader.field, end);
    switch (reader.field) {
      case NODE.name:
        fields.nameStart = at;
        fields.nameEnd = end;
        return;
      case NODE.type:
        fields.type = this.#word(at, end);
        return;
      case NODE.input:
        this.#inputSpans.push(at, end);
        return;
      case NODE.device:
        fields.device = this.#word(at, end);
        return;
      case NODE.attribute:
        fields.addAttribute(start, end);
        return;
      default:
        fields.keep(this.#file, start, end);
        return;
    }
  }

  #word(start: number, end: number): string {
    const known = this.#words.find(start, end);
    if (known >= 0) return this.#wordTexts[known] as string;
    const text = this.#reader.text(start, end);
    this.#words.add(start, end);
    this.#wordTexts.push(text);
    return text;
  }

  connect(): void {
    this.#graph.adoptNames(this.#names);
    let span = 0;
    for (let node = 0; node < this.#operations.length; node++) {
      const count = this.#inputCounts[node] as number;
      if (count > 0) this.#connectOne(this.#operations[node] as Operation, span, count);
      span += 2 * count;
    }
  }

  #connectOne(operation: Operation, span: number, count: number): void {
    const inputs: Tensor[] = [];
    const controls: Operation[] = [];
    for (let i = span; i < span + 2 * count; i += 2) {
      const start = this.#inputSpans[i] as number;
      const end = this.#inputSpans[i + 1] as number;
      // The commonest form, output 0 by its operation's bare name, needs no parsing.
      const direct = this.#operations[this.#names.find(start, end)];
      if (direct !== undefined) inputs.push(direct.output(0));
      else this.#resolve(operation, start, end, inputs, controls);
    }
    this.#graph.connect(operation, inputs, controls);
  }

  #resolve(operation: Operation, start: number, end: number, inputs: Tensor[], controls: Operation[]): void {
    const text = this.#reader.text(start, end);
    const ref = parseInputRef(text);
    // The name stands in the very bytes: at the end behind a control's mark, or at the start before an output's number.
    const length = Buffer.byteLength(ref.operation);
    const nameStart = ref.control ? end - length : start;
    const producer = this.#operations[this.#names.find(nameStart, nameStart + length)];
    if (producer === undefined) throw unknownInput(operation, text, ref.control);
    if (ref.control) controls.push(producer);
    else inputs.push(producer.output(ref.index));
  }
}

function unknownInput(operation: Operation, text: string, control: boolean): GradsyncError {
  return new GradsyncError('INVALID_ARGUMENT', `Operation "${operation.name}" (${operation.type})`, {
    expected: control
      ? 'control inputs that name operations of the graph'
      : 'inputs that name operations of the graph',
    received: JSON.stringify(text),
    remedy: 'the graph is incomplete: export it whole',
    operation: operation.name,
  });
}

/** Writes a binary GraphDef: all nodes in the graph's order, then the other fields. */
export function encodeGraphDef(graph: Graph): Uint8Array {
  const writer = new WireWriter(graph.size * 160 + graph.extra.length);
  const nodes = new NodeEncoder(writer);
  for (const operation of graph.operations()) nodes.encode(operation);
  nodes.finish();
  writer.raw(graph.extra);
  return writer.finish();
}

/**
 * Encodes what was edited or added since it was read, and keeps the bytes with the operations: for a graph that will be written several
 * times with few edits in between.
 */
export function encodeEdited(graph: Graph): void {
  const writer = new WireWriter(1 << 16);
  const node = new WireWriter(4096);
  const found: (readonly [Operation, NodeSpans])[] = [];
  for (const operation of graph.operations()) {
    if (operation.isIntact) continue;
    node.clear();
    const ends = encodeNode(operation, node);
    const nodeStart = writer.length;
    writer.bytes(GRAPH.node, node.finish());
    found.push([operation, spansOf(operation, ends, nodeStart, writer.length, node.length)]);
  }
  const table = new NodeTable(writer.finish(), found.length);
  for (const [operation, spans] of found) {
    graph.setStored(operation, { table, row: table.add(spans, operation.device) });
  }
}

/** Positions of a node just written, whose body is its last `length` bytes. */
function spansOf(
  { name }: Operation,
  ends: FieldEnds,
  nodeStart: number,
  nodeEnd: number,
  length: number,
): NodeSpans {
  const bodyStart = nodeEnd - length;
  const nameEnd = bodyStart + ends.name;
  return {
    nodeStart,
    nodeEnd,
    bodyStart,
    nameStart: nameEnd - Buffer.byteLength(name),
    nameEnd,
    deviceStart: bodyStart + ends.inputs,
    deviceEnd: bodyStart + ends.device,
    attributesStart: bodyStart + ends.device,
    attributesEnd: bodyStart + ends.attributes,
  };
}

/** Copies of each node as much as stands as it was read. */
class NodeEncoder {
  readonly #writer: WireWriter;
  readonly #node = new WireWriter(4096);
  #run: Run | undefined;
  /** The device written last and its field: most operations are on one device. */
  #device = '';
  #deviceField = new Uint8Array();

  constructor(writer: WireWriter) {
    this.#writer = writer;
  }

  encode(operation: Operation): void {
    const { table, row, device } = operation;
    if (!(operation.isIntact && table instanceof NodeTable)) {
      this.finish();
      this.#encodeAnew(operation);
    } else if (table.device(row) === device) {
      this.#run = extendRun(this.#run, table, row, this.#writer);
    } else {
      this.finish();
      if (table.at(row, AT.deviceStart) < 0) this.#encodeAnew(operation);
      else this.#encodeMoved(table, row, device);
    }
  }

  finish(): void {
    this.#run = flushRun(this.#run, this.#writer);
  }

  #encodeAnew(operation: Operation): void {
    this.#node.clear();
    encodeNode(operation, this.#node);
    this.#writer.bytes(GRAPH.node, this.#node.finish());
  }

  /** A node of which only the device was changed. */
  #encodeMoved(table: NodeTable, row: number, device: string): void {
    const { file } = table;
    const bodyStart = table.at(row, AT.bodyStart);
    const deviceStart = table.at(row, AT.deviceStart);
    const deviceEnd = table.at(row, AT.deviceEnd);
    const nodeEnd = table.at(row, AT.nodeEnd);
    const field = this.#fieldOf(device);
    this.#writer.tag(GRAPH.node, BYTES);
    this.#writer.varint(deviceStart - bodyStart + field.length + nodeEnd - deviceEnd);
    this.#writer.raw(file, bodyStart, deviceStart);
    this.#writer.raw(field);
    this.#writer.raw(file, deviceEnd, nodeEnd);
  }

  #fieldOf(device: string): Uint8Array {
    if (device !== this.#device) {
      this.#node.clear();
      if (device !== '') this.#node.string(NODE.device, device);
      this.#deviceField = this.#node.finish().slice();
      this.#device = device;
    }
    return this.#deviceField;
  }
}

/** Unedited nodes that stand one after the other in their file, copied at once. */
interface Run {
  readonly file: Uint8Array;
  readonly start: number;
  end: number;
}

function extendRun(run: Run | undefined, table: NodeTable, row: number, writer: WireWriter): Run {
  const { file } = table;
  const nodeStart = table.at(row, AT.nodeStart);
  const nodeEnd = table.at(row, AT.nodeEnd);
  if (run !== undefined && run.file === file && run.end === nodeStart) {
    run.end = nodeEnd;
    return run;
  }
  flushRun(run, writer);
  return { file, start: nodeStart, end: nodeEnd };
}

function flushRun(run: Run | undefined, writer: WireWriter): undefined {
  if (run !== undefined) writer.raw(run.file, run.start, run.end);
  return undefined;
}

/** Where groups of fields end, counted from the start of a node's body. */
interface FieldEnds {
  readonly name: number;
  readonly inputs: number;
  readonly device: number;
  readonly attributes: number;
}

/** Writes the fields of a node into an empty writer. */
function encodeNode(operation: Operation, writer: WireWriter): FieldEnds {
  writer.string(NODE.name, operation.name);
  const name = writer.length;
  writer.string(NODE.type, operation.type);
  for (const { operation: producer, index } of operation.inputs) {
    if (index === 0) writer.string(NODE.input, producer.name);
    else writer.string(NODE.input, printInputRef({ control: false, operation: producer.name, index }));
  }
  for (const { name } of operation.controlInputs) {
    writer.string(NODE.input, printInputRef({ control: true, operation: name, index: 0 }));
  }
  const inputs = writer.length;
  if (operation.device !== '') writer.string(NODE.device, operation.device);
  const device = writer.length;
  encodeAttributes(operation.attributes, NODE.attribute, writer);
  const attributes = writer.length;
  if (operation.extra !== undefined) writer.raw(operation.extra);
  return { name, inputs, device, attributes };
}
