/**
 * Training graphs written as text, one operation per line, for tests of passes:
 *
 *     name = Type(input, other:1, ^control) @/device:CPU:0 ~colocated
 *
 * All tensors are float32 vectors, but for indices (`Indices`, a placeholder of int32) and counters (`Counter`, a variable of int64).
 * A variable's initializer is `<name>/Assign`.
 */
import { type AttrValue, attr, attributes } from '../../src/graph/attributes.js';
import type { DType } from '../../src/graph/dtype.js';
import { Graph } from '../../src/graph/graph.js';
import { parseInputRef, parseTensorName, printColocation } from '../../src/graph/name.js';
import type { Tensor } from '../../src/graph/operation.js';
import type { Gradient, GradientPair, TrainingGraph, Variable } from '../../src/graph/training-graph.js';

/** Variable -> its gradient and update: `g -> update`, or `indices, values -> update`. */
export type PairTexts = Readonly<Record<string, string>>;

const LINE = /^(\S+) = (\w+)\((.*?)\)(?: @(\S+))?(?: ~(\S+))?$/;
const ALIASES: Readonly<Record<string, [type: string, dtype: DType]>> = {
  Variable: ['VarHandleOp', 'float32'],
  Reference: ['VariableV2', 'float32'],
  Counter: ['VarHandleOp', 'int64'],
  Indices: ['Placeholder', 'int32'],
};

export function trainingOfText(text: string, pairs: PairTexts): TrainingGraph {
  const graph = new Graph();
  const inputs = new Map<string, string>();
  for (const line of text.split('\n').map((each) => each.trim())) {
    if (line !== '') inputs.set(addOperation(graph, line), LINE.exec(line)![3]!);
  }
  for (const [name, list] of inputs) connect(graph, name, list);
  const variables = [...graph.operations()]
    .filter(({ type }) => type === 'VarHandleOp' || type === 'VariableV2')
    .map((handle) => variableOf(graph, handle.name, pairs));
  return {
    graph,
    variables,
    pairs: Object.entries(pairs).map(([name, pair]) => pairOf(graph, variables, name, pair)),
    alike: [],
    tableInitializers: [],
    saver: undefined,
  };
}

function addOperation(graph: Graph, line: string): string {
  const [, name, written, , device = '', colocated] = LINE.exec(line) ?? [];
  if (name === undefined || written === undefined) throw new Error(`not an operation: ${line}`);
  const [type, dtype] = ALIASES[written] ?? [written, 'float32'];
  const values: Record<string, AttrValue> = { T: attr.type(dtype), dtype: attr.type(dtype) };
  if (/^Var|^Placeholder/.test(type)) values['shape'] = attr.shape([-1]);
  if (/^Var/.test(type)) values['shape'] = attr.shape([2]);
  if (type === 'VarHandleOp') values['shared_name'] = attr.string(name);
  if (colocated !== undefined) values['_class'] = attr.list([attr.string(printColocation(colocated))]);
  graph.add({ name, type, device, attributes: attributes(values) });
  return name;
}

function connect(graph: Graph, name: string, list: string): void {
  const operation = graph.get(name);
  for (const part of list.split(',').map((each) => each.trim())) {
    if (part === '') continue;
    const ref = parseInputRef(part);
    const producer = graph.get(ref.operation);
    if (ref.control) graph.addControlInput(operation, producer);
    else graph.setInputs(operation, [...operation.inputs, producer.output(ref.index)]);
  }
}

function variableOf(graph: Graph, name: string, pairs: PairTexts): Variable {
  const handle = graph.get(name);
  const dtype = handle.attributes.get('dtype');
  return {
    name,
    handle,
    kind: handle.type === 'VarHandleOp' ? 'resource' : 'reference',
    dtype: dtype?.kind === 'type' ? dtype.value : 'float32',
    shape: [2],
    trainable: name in pairs,
    initialValue: undefined,
    initializer: graph.find(`${name}/Assign`),
    reads: [],
  };
}

function pairOf(graph: Graph, variables: readonly Variable[], name: string, text: string): GradientPair {
  const [gradients = '', update = ''] = text.split('->').map((each) => each.trim());
  const tensors = gradients.split(',').map((each): Tensor => {
    const { operation, index } = parseTensorName(each.trim());
    return graph.get(operation).output(index);
  });
  const [first, second] = tensors;
  const gradient: Gradient =
    second === undefined
      ? { kind: 'dense', tensor: first! }
      : { kind: 'sparse', indices: first!, values: second, denseShape: undefined };
  const operation = graph.get(update);
  return {
    variable: variables.find((each) => each.name === name)!,
    gradient,
    update: operation,
    source: operation,
  };
}
