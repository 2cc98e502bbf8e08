/**
 * Checks that a graph is one TensorFlow would accept: every edge ends at an operation of the graph and at an output it has, operations have
 * as many inputs as their types take, control edges and colocation groups name operations that are there, names are valid, and cycles go
 * through loops only. Run after every pass.
 */
import { GradsyncError } from '../errors.js';
import type { Graph } from './graph.js';
import { inputCount } from './input-counts.js';
import { isValidOperationName, parseColocation, printColocation } from './name.js';
import { outputCount } from './op-catalog.js';
import type { Operation, Tensor } from './operation.js';
import { countedOutputs } from './outputs.js';
import { topologicalOrder } from './traverse.js';

/** Throws an INVALID_ARGUMENT that names the first operation found wrong. Linear in the graph. Returns an order in which it can run. */
export function verifyGraph(graph: Graph): readonly Operation[] {
  verifyOperations(graph, graph.operations());
  return topologicalOrder(graph);
}

/**
 * Checks what was edited since the last call, of a graph that was sound before, for all but cycles (KnownOrder tells of those). Linear in
 * the edits, unless an operation was removed: any other may be colocated with it. Returns what was edited.
 */
export function verifyEdits(graph: Graph): readonly Operation[] {
  const edited = graph.takeEdited();
  const removed = edited.some((operation) => !graph.has(operation));
  verifyOperations(graph, removed ? graph.operations() : edited);
  return edited;
}

function verifyOperations(graph: Graph, operations: Iterable<Operation>): void {
  const counts = new Map<string, number | undefined>();
  for (const operation of operations) {
    // Names with a leading underscore are TensorFlow's own; a graph that carries them came from it.
    if (!isValidOperationName(operation.name) && !operation.name.startsWith('_')) throw badName(operation);
    const count = inputCount(operation.type);
    if (count !== undefined && operation.inputs.length !== count) throw wrongCount(operation, count);
    for (const tensor of operation.inputs) verifyInput(graph, operation, tensor, counts);
    for (const control of operation.controlInputs) {
      if (!graph.has(control)) throw unknownControl(operation, control);
    }
    for (const target of colocationTargets(operation)) {
      if (graph.find(target) === undefined) throw unknownGroup(operation, target);
    }
  }
}

/** Names of the operations that an operation has to be placed with. */
export function colocationTargets(operation: Operation): readonly string[] {
  const value = operation.attributes.get('_class');
  if (value?.kind !== 'list') return NONE;
  const targets: string[] = [];
  for (const item of value.items) {
    const target = item.kind === 'string' ? parseColocation(Buffer.from(item.value).toString()) : undefined;
    if (target !== undefined) targets.push(target);
  }
  return targets;
}

const NONE: readonly string[] = [];

function verifyInput(
  graph: Graph,
  operation: Operation,
  tensor: Tensor,
  counts: Map<string, number | undefined>,
): void {
  const producer = tensor.operation;
  if (!graph.has(producer)) throw unknownInput(operation, tensor);
  if (tensor.index === 0 && counts.get(producer.type) === 1) return;
  if (!counts.has(producer.type)) counts.set(producer.type, outputCount(producer.type));
  const count = counts.get(producer.type) ?? countedOutputs(producer);
  if (count !== undefined && tensor.index >= count) throw wrongOutput(operation, tensor, count);
}

function describe({ name, type }: Operation): string {
  return `Operation "${name}" (${type})`;
}

function invalid(operation: Operation, expected: string, received: string, remedy: string): GradsyncError {
  return new GradsyncError('INVALID_ARGUMENT', describe(operation), {
    expected,
    received,
    remedy,
    operation: operation.name,
  });
}

function badName(operation: Operation): GradsyncError {
  const remedy = 'rename the operation';
  return invalid(operation, 'a name that TensorFlow accepts', JSON.stringify(operation.name), remedy);
}

function unknownInput(operation: Operation, tensor: Tensor): GradsyncError {
  const expected = 'inputs from operations of the graph';
  return invalid(
    operation,
    expected,
    `"${tensor.name}", whose operation is not in it`,
    'rewire the input before removing its operation',
  );
}

function wrongCount(operation: Operation, count: number): GradsyncError {
  const expected = count === 1 ? '1 input' : `${count} inputs`;
  return invalid(operation, expected, String(operation.inputs.length), 'export the graph anew');
}

function unknownControl(operation: Operation, control: Operation): GradsyncError {
  const expected = 'control inputs that are operations of the graph';
  return invalid(
    operation,
    expected,
    `"${control.name}", which is not in it`,
    'remove the control edge with its operation',
  );
}

function wrongOutput(operation: Operation, tensor: Tensor, count: number): GradsyncError {
  const expected = `an output of "${tensor.operation.name}" (${tensor.operation.type}), which has ${count}`;
  return invalid(operation, expected, `"${tensor.name}"`, 'take an output below that number');
}

function unknownGroup(operation: Operation, target: string): GradsyncError {
  const expected = 'colocation with operations of the graph';
  const received = `"${printColocation(target)}", which names none`;
  return invalid(
    operation,
    expected,
    received,
    'rename or drop the group where its operation is renamed or removed',
  );
}
