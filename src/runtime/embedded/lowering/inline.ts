/** Inlining: the body of a function, as operations of the graph that calls it. */
import { GradsyncError } from '../../../errors.js';
import type { Attributes, AttrValue } from '../../../graph/attributes.js';
import type { DType } from '../../../graph/dtype.js';
import type { FunctionNode, GraphFunction } from '../../../graph/function.js';
import type { Graph } from '../../../graph/graph.js';
import { type FunctionInputRef, joinName } from '../../../graph/name.js';
import { outputCount, outputPosition } from '../../../graph/op-catalog.js';
import type { Operation, Tensor } from '../../../graph/operation.js';

export interface Inlined {
  readonly results: readonly Tensor[];
  /** Operations that run for their effect. */
  readonly effects: readonly Operation[];
  readonly operations: readonly Operation[];
}

export interface InlineOptions {
  /** The operation that calls: names and places what is made. */
  readonly call: Operation;
  readonly inputs: readonly Tensor[];
  /** What nodes wait for that nothing else inside orders. */
  readonly first: Operation | undefined;
}

/** Adds a function's nodes to the graph, under the name of the call. */
export function inline(graph: Graph, body: GraphFunction, { call, inputs, first }: InlineOptions): Inlined {
  checkInputs(call, body, inputs);
  const values = new Map(body.inputs.map(({ name }, i) => [name, inputs[i]!]));
  const made = new Map<string, Operation>();
  for (const { name, type, device, attributes } of body.nodes) {
    const unique = graph.uniqueName(joinName(call.name, name));
    made.set(name, graph.add({ name: unique, type, device: device || call.device, attributes }));
  }
  const find = (ref: FunctionInputRef): Tensor => {
    const value = ref.output === undefined ? values.get(ref.operation) : undefined;
    if (value !== undefined) return value;
    const operation = made.get(ref.operation);
    if (operation === undefined) throw unknownNode(call, body, ref.operation);
    return operation.output(positionOf(operation, ref));
  };
  for (const node of body.nodes) connect(graph, node, made.get(node.name)!, { find, first, values });
  return {
    results: body.results.map(find),
    effects: body.effects.map((name) => find(nodeRef(name)).operation),
    operations: [...made.values()],
  };
}

interface Surroundings {
  readonly find: (ref: FunctionInputRef) => Tensor;
  readonly first: Operation | undefined;
  readonly values: ReadonlyMap<string, Tensor>;
}

function connect(
  graph: Graph,
  node: FunctionNode,
  operation: Operation,
  { find, first, values }: Surroundings,
): void {
  graph.setInputs(operation, node.inputs.filter(({ control }) => !control).map(find));
  for (const ref of node.inputs) if (ref.control) graph.addControlInput(operation, find(ref).operation);
  const isOrdered = node.inputs.some(({ operation: name }) => !values.has(name));
  if (first !== undefined && !isOrdered) graph.addControlInput(operation, first);
}

function nodeRef(operation: string): FunctionInputRef {
  return { control: true, operation, index: 0, output: undefined };
}

function positionOf(operation: Operation, { output, index }: FunctionInputRef): number {
  if (output === undefined) return index;
  const position = outputPosition(operation.type, output);
  if (position !== undefined) return position + index;
  if ((outputCount(operation.type) ?? 1) <= 1) return index;
  throw new GradsyncError('UNIMPLEMENTED', `Operation "${operation.name}" (${operation.type})`, {
    expected: 'an operation whose outputs are known by name',
    received: `output "${output}"`,
    remedy: 'run this graph on TensorFlow',
    operation: operation.name,
  });
}

/** The function that an attribute of a call names. */
export function calledFunction(
  functions: ReadonlyMap<string, GraphFunction>,
  call: Operation,
  attribute: string,
): GraphFunction {
  const value = call.attributes.get(attribute);
  const name = value?.kind === 'func' ? value.name : undefined;
  const found = name === undefined ? undefined : functions.get(name);
  if (found !== undefined) return found;
  throw new GradsyncError('NOT_FOUND', `Operation "${call.name}" (${call.type})`, {
    expected: `attribute ${attribute} to name a function of the graph's library`,
    received: name === undefined ? 'no function' : `"${name}"`,
    remedy: 'export the graph with its functions',
    operation: call.name,
  });
}

/** The types that a list attribute of a call names. */
export function typesOf(attributes: Attributes, name: string): readonly DType[] {
  const value = attributes.get(name);
  const items: readonly AttrValue[] = value?.kind === 'list' ? value.items : [];
  return items.map((item) => (item.kind === 'type' ? item.value : 'float32'));
}

function checkInputs(call: Operation, body: GraphFunction, inputs: readonly Tensor[]): void {
  if (inputs.length === body.inputs.length) return;
  throw new GradsyncError('INVALID_ARGUMENT', `Operation "${call.name}" (${call.type})`, {
    expected: `${body.inputs.length} inputs, as function "${body.name}" takes`,
    received: String(inputs.length),
    remedy: 'export the graph anew',
    operation: call.name,
  });
}

function unknownNode(call: Operation, body: GraphFunction, name: string): GradsyncError {
  return new GradsyncError('INVALID_ARGUMENT', `Function "${body.name}"`, {
    expected: 'inputs that name its arguments or nodes',
    received: `"${name}"`,
    remedy: 'export the graph anew',
    operation: call.name,
  });
}
