/** FunctionDefLibrary: the functions of a GraphDef, read when somebody runs them. They are written back as they stood. */
import { GradsyncError } from '../../errors.js';
import { type DType, dtypeOfNumber } from '../dtype.js';
import type { FunctionArgument, FunctionNode, GraphFunction } from '../function.js';
import type { Graph } from '../graph.js';
import { parseFunctionInputRef } from '../name.js';
import { EncodedAttributes } from './encoded-attributes.js';
import { NODE } from './node-table.js';
import { BYTES, VARINT, WireReader } from './wire.js';

const GRAPH = { library: 2 } as const;
const LIBRARY = { function: 1 } as const;
const FUNCTION = { signature: 1, node: 3, result: 4, effect: 6 } as const;
const SIGNATURE = { name: 1, input: 2, output: 3 } as const;
const ARGUMENT = { name: 1, type: 3 } as const;
const ENTRY = { key: 1, value: 2 } as const;

/** The functions a graph carries, by name. */
export function functionsOf({ extra }: Graph): ReadonlyMap<string, GraphFunction> {
  const functions = new Map<string, GraphFunction>();
  const reader = new WireReader(extra);
  while (reader.next()) {
    if (reader.is(GRAPH.library, BYTES)) decodeLibrary(reader.bytes(), functions);
    else reader.skip();
  }
  return functions;
}

function decodeLibrary(bytes: Uint8Array, functions: Map<string, GraphFunction>): void {
  const reader = new WireReader(bytes);
  while (reader.next()) {
    if (!reader.is(LIBRARY.function, BYTES)) {
      reader.skip();
      continue;
    }
    const found = decodeFunction(reader.bytes());
    functions.set(found.name, found);
  }
}

function decodeFunction(bytes: Uint8Array): GraphFunction {
  let signature: Signature = { name: '', inputs: [], outputs: [] };
  const nodes: FunctionNode[] = [];
  const results = new Map<string, string>();
  const effects: string[] = [];
  const reader = new WireReader(bytes);
  while (reader.next()) {
    if (reader.is(FUNCTION.signature, BYTES)) signature = decodeSignature(reader.bytes());
    else if (reader.is(FUNCTION.node, BYTES)) nodes.push(decodeNode(reader.bytes()));
    else if (reader.is(FUNCTION.result, BYTES)) results.set(...decodeEntry(reader.bytes()));
    else if (reader.is(FUNCTION.effect, BYTES)) effects.push(decodeEntry(reader.bytes())[1]);
    else reader.skip();
  }
  const { name, inputs, outputs } = signature;
  return {
    name,
    inputs,
    nodes,
    results: outputs.map((output) => parseFunctionInputRef(resultOf(name, output, results))),
    effects,
  };
}

function resultOf(name: string, output: string, results: ReadonlyMap<string, string>): string {
  const result = results.get(output);
  if (result !== undefined) return result;
  throw new GradsyncError('INVALID_ARGUMENT', `Function "${name}"`, {
    expected: `a node for each of its results`,
    received: `none for "${output}"`,
    remedy: 'the graph is incomplete: export it whole',
  });
}

interface Signature {
  readonly name: string;
  readonly inputs: readonly FunctionArgument[];
  readonly outputs: readonly string[];
}

function decodeSignature(bytes: Uint8Array): Signature {
  let name = '';
  const inputs: FunctionArgument[] = [];
  const outputs: string[] = [];
  const reader = new WireReader(bytes);
  while (reader.next()) {
    if (reader.is(SIGNATURE.name, BYTES)) name = reader.string();
    else if (reader.is(SIGNATURE.input, BYTES)) inputs.push(decodeArgument(reader.bytes()));
    else if (reader.is(SIGNATURE.output, BYTES)) outputs.push(decodeArgument(reader.bytes()).name);
    else reader.skip();
  }
  return { name, inputs, outputs };
}

function decodeArgument(bytes: Uint8Array): FunctionArgument {
  let name = '';
  let dtype: DType = 'float32';
  const reader = new WireReader(bytes);
  while (reader.next()) {
    if (reader.is(ARGUMENT.name, BYTES)) name = reader.string();
    else if (reader.is(ARGUMENT.type, VARINT)) dtype = dtypeOfNumber(reader.varint());
    else reader.skip();
  }
  return { name, dtype };
}

function decodeNode(bytes: Uint8Array): FunctionNode {
  let [name, type, device] = ['', '', ''];
  const inputs: string[] = [];
  const reader = new WireReader(bytes);
  while (reader.next()) {
    if (reader.is(NODE.name, BYTES)) name = reader.string();
    else if (reader.is(NODE.type, BYTES)) type = reader.string();
    else if (reader.is(NODE.device, BYTES)) device = reader.string();
    else if (reader.is(NODE.input, BYTES)) inputs.push(reader.string());
    else reader.skip();
  }
  const attributes = new EncodedAttributes(bytes, 0, bytes.length, NODE.attribute);
  return { name, type, device, inputs: inputs.map(parseFunctionInputRef), attributes };
}

function decodeEntry(bytes: Uint8Array): [key: string, value: string] {
  let [key, value] = ['', ''];
  const reader = new WireReader(bytes);
  while (reader.next()) {
    if (reader.is(ENTRY.key, BYTES)) key = reader.string();
    else if (reader.is(ENTRY.value, BYTES)) value = reader.string();
    else reader.skip();
  }
  return [key, value];
}
