/** What depends on values that a step feeds, draws or learns, and what is a constant of the graph. */
import type { Graph } from './graph.js';
import { isInputSource, readsShapeOnly, variableKind } from './op-catalog.js';
import type { Operation } from './operation.js';

export interface Dependence {
  /** Whether the operation's outputs depend, over data edges and not merely by shape, on one of the sources. */
  has(operation: Operation): boolean;
}

/** Marks what depends on a source. Linear in the graph. */
export function dependence(graph: Graph, isSource: (operation: Operation) => boolean): Dependence {
  const marked = new Uint8Array(graph.idLimit);
  const queue: Operation[] = [];
  const mark = (operation: Operation): void => {
    if (marked[operation.id] === 1) return;
    marked[operation.id] = 1;
    if (!readsShapeOnly(operation.type)) queue.push(operation);
  };
  for (const operation of graph.operations()) if (isSource(operation)) mark(operation);
  for (let i = 0; i < queue.length; i++) {
    for (const output of (queue[i] as Operation).outputs) {
      if (output !== undefined) for (const consumer of output.consumers) mark(consumer);
    }
  }
  return { has: (operation) => marked[operation.id] === 1 && !readsShapeOnly(operation.type) };
}

/** A question about an operation's type, asked once per type: graphs have many operations of few types. */
export function byType(holds: (operation: Operation) => boolean): (operation: Operation) => boolean {
  const known = new Map<string, boolean>();
  return (operation) => {
    let answer = known.get(operation.type);
    if (answer === undefined) {
      answer = holds(operation);
      known.set(operation.type, answer);
    }
    return answer;
  };
}

/** On anything that is not a constant of the graph: inputs, variables, checkpoints. Random values count as constants: initial values are drawn. */
export function isValueSource({ type }: Operation): boolean {
  return (
    variableKind(type) !== undefined ||
    /^Restore/.test(type) ||
    (isInputSource(type) && !/Random|Normal/.test(type))
  );
}
