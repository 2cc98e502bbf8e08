/**
 * Walks over a graph: topological order, ancestors, descendants. All of them loop instead of recursing, mark operations by id, and
 * take time linear in what they visit.
 */
import { GradsyncError } from '../errors.js';
import type { Graph } from './graph.js';
import { closesLoop } from './op-catalog.js';
import type { Operation } from './operation.js';

/** Which edges a walk follows. */
export type Edges = 'data' | 'control' | 'all';

export interface WalkOptions {
  /** `all` by default. */
  readonly edges?: Edges;
  /** Operations at which the walk stops: they are visited, but not passed. */
  readonly stopAt?: (operation: Operation) => boolean;
}

/** The operations an operation takes inputs from: may name one twice. */
export function* predecessors(operation: Operation, edges: Edges = 'all'): Iterable<Operation> {
  if (edges !== 'control') for (const tensor of operation.inputs) yield tensor.operation;
  if (edges !== 'data') yield* operation.controlInputs;
}

/** The operations that take an output of an operation or wait for it: may name one twice. */
export function* successors(operation: Operation, edges: Edges = 'all'): Iterable<Operation> {
  if (edges !== 'control')
    for (const tensor of operation.outputs) if (tensor !== undefined) yield* tensor.consumers;
  if (edges !== 'data') yield* operation.controlConsumers;
}

/** All that `starts` need, themselves included, nearest first. */
export function ancestors(starts: Iterable<Operation>, options: WalkOptions = {}): Set<Operation> {
  return walk(starts, predecessors, options);
}

/** All that need one of `starts`, themselves included, nearest first. */
export function descendants(starts: Iterable<Operation>, options: WalkOptions = {}): Set<Operation> {
  return walk(starts, successors, options);
}

function walk(
  starts: Iterable<Operation>,
  next: (operation: Operation, edges: Edges) => Iterable<Operation>,
  { edges = 'all', stopAt = () => false }: WalkOptions,
): Set<Operation> {
  // A set is visited in order of insertion, also what is added on the way: it is the queue and the mark in one.
  const seen = new Set(starts);
  for (const operation of seen) {
    if (stopAt(operation)) continue;
    for (const neighbour of next(operation, edges)) seen.add(neighbour);
  }
  return seen;
}

/** Whether `target` needs `source`, or is it. */
export function dependsOn(target: Operation, source: Operation, edges: Edges = 'all'): boolean {
  if (target === source) return true;
  const seen = new Set([target]);
  for (const operation of seen) {
    for (const neighbour of predecessors(operation, edges)) {
      if (neighbour === source) return true;
      seen.add(neighbour);
    }
  }
  return false;
}

/**
 * All operations, each behind everything it needs; operations that are ready at the same time stand in the graph's order. Edges that
 * close a loop (out of NextIteration) are left out. A cycle of other edges is INVALID_ARGUMENT and names an operation on it.
 */
export function topologicalOrder(graph: Graph): Operation[] {
  const { order, waiting } = orderOperations(graph);
  if (order.length < graph.size) throw cycleError(graph, waiting);
  return order;
}

/**
 * Whether one operation needs another over data edges; true for itself. What comes before the second in a topological order does not, and is
 * not searched: for many questions about one graph.
 */
export function dependenceTest(graph: Graph): (target: Operation, source: Operation) => boolean {
  const { order } = orderOperations(graph);
  const positions = new Int32Array(graph.idLimit).fill(graph.size);
  for (const [position, { id }] of order.entries()) positions[id] = position;
  const positionOf = ({ id }: Operation): number => positions[id] ?? graph.size;
  return (target, source) => {
    const first = positionOf(source);
    // A source on a cycle, or behind one, has no position: what needs it has none either.
    const seen = new Set(positionOf(target) < first ? [] : [target]);
    for (const operation of seen) {
      if (operation === source) return true;
      for (const { operation: earlier } of operation.inputs)
        if (positionOf(earlier) >= first) seen.add(earlier);
    }
    return false;
  };
}

/** As many operations as can be ordered (a cycle, and what is behind one, cannot), and how much each still waits for. */
function orderOperations(graph: Graph): {
  readonly order: Operation[];
  readonly waiting: Int32Array;
} {
  const waiting = new Int32Array(graph.idLimit);
  const order: Operation[] = [];
  const release = (operation: Operation): void => {
    const left = (waiting[operation.id] as number) - 1;
    waiting[operation.id] = left;
    if (left === 0) order.push(operation);
  };
  for (const operation of graph.operations()) {
    const needed = countNeeded(operation);
    waiting[operation.id] = needed;
    if (needed === 0) order.push(operation);
  }
  for (let i = 0; i < order.length; i++) {
    const operation = order[i] as Operation;
    if (closesLoop(operation.type)) continue;
    for (const output of operation.outputs) {
      if (output !== undefined) output.consumers.forEach(release);
    }
    operation.controlConsumers.forEach(release);
  }
  return { order, waiting };
}

/** Distinct tensors and operations that have to be there first. */
function countNeeded({ inputs, controlInputs }: Operation): number {
  let needed = 0;
  for (let i = 0; i < inputs.length; i++) {
    const tensor = inputs[i];
    // A tensor names each consumer once, however often that one takes it.
    if (tensor !== undefined && !closesLoop(tensor.operation.type) && inputs.indexOf(tensor) === i) needed++;
  }
  for (const control of controlInputs) if (!closesLoop(control.type)) needed++;
  return needed;
}

/** Walks back from an operation that was never ready until one comes up a second time: that one is on the cycle. */
function cycleError(graph: Graph, waiting: Int32Array): GradsyncError {
  const stuck = (operation: Operation): boolean => (waiting[operation.id] as number) > 0;
  const path = new Set<Operation>();
  let at = [...graph.operations()].find(stuck) as Operation;
  while (!path.has(at)) {
    path.add(at);
    at = [...predecessors(at)].find((need) => stuck(need) && !closesLoop(need.type)) as Operation;
  }
  const members = [...path].slice([...path].indexOf(at)).reverse();
  const names = members.map(({ name }) => `"${name}"`);
  const shown = names.length > 8 ? [...names.slice(0, 8), '...'] : names;
  return new GradsyncError('INVALID_ARGUMENT', `Operation "${at.name}" (${at.type})`, {
    expected: 'no cycle outside loops (a loop is closed by NextIteration)',
    received: `the cycle ${shown.join(' -> ')}`,
    remedy: 'remove one of these edges',
    operation: at.name,
  });
}
