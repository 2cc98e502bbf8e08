/** Walks over a graph in time proportional to what they visit. Visited operations are marked in a byte array, by id. */
import type { Graph } from '../graph/graph.js';
import type { Operation } from '../graph/operation.js';

/** A set of operations of one graph: one byte each, and the members in the order they were added. */
export class Marks implements Iterable<Operation> {
  readonly #bytes: Uint8Array;
  readonly #members: Operation[] = [];

  constructor(graph: Graph) {
    this.#bytes = new Uint8Array(graph.idLimit);
  }

  get size(): number {
    return this.#members.length;
  }

  has(operation: Operation): boolean {
    return this.#bytes[operation.id] === 1;
  }

  /** Adds it; false if it was there. Operations made after the marks are none of them. */
  add(operation: Operation): boolean {
    if (this.#bytes[operation.id] !== 0) return false;
    this.#bytes[operation.id] = 1;
    this.#members.push(operation);
    return true;
  }

  /** The member added `index`-th: a walk reads its own queue from here while it grows. */
  at(index: number): Operation | undefined {
    return this.#members[index];
  }

  [Symbol.iterator](): IterableIterator<Operation> {
    return this.#members.values();
  }
}

export interface Walk {
  /** Which edges to follow besides data edges; none by default. */
  readonly control?: boolean;
  /** Only operations for which this holds are entered. */
  readonly enter?: (operation: Operation) => boolean;
  /** Marks to add to; what they hold already is not walked again. */
  readonly marks?: Marks;
}

/** `starts` and all that depends on them. */
export function descendants(graph: Graph, starts: Iterable<Operation>, walk: Walk = {}): Marks {
  return spread(graph, starts, walk, eachConsumer);
}

/** `starts` and all they depend on. */
export function ancestors(graph: Graph, starts: Iterable<Operation>, walk: Walk = {}): Marks {
  return spread(graph, starts, walk, eachProducer);
}

/** Calls `visit` for every operation that takes an output of `operation` or, with `control`, waits for it. */
export function eachConsumer(
  operation: Operation,
  control: boolean,
  visit: (consumer: Operation) => void,
): void {
  for (const output of operation.outputs) {
    if (output !== undefined) output.consumers.forEach(visit);
  }
  if (control) operation.controlConsumers.forEach(visit);
}

/** Calls `visit` for every operation that `operation` takes an input of or, with `control`, waits for. */
export function eachProducer(
  operation: Operation,
  control: boolean,
  visit: (producer: Operation) => void,
): void {
  for (const tensor of operation.inputs) visit(tensor.operation);
  if (control) for (const producer of operation.controlInputs) visit(producer);
}

type Neighbours = (operation: Operation, control: boolean, visit: (neighbour: Operation) => void) => void;

function spread(graph: Graph, starts: Iterable<Operation>, walk: Walk, neighbours: Neighbours): Marks {
  const { control = false, enter = () => true, marks = new Marks(graph) } = walk;
  let next = marks.size;
  const visit = (operation: Operation): void => {
    if (!marks.has(operation) && enter(operation)) marks.add(operation);
  };
  for (const start of starts) marks.add(start);
  for (let operation = marks.at(next); operation !== undefined; operation = marks.at(++next)) {
    neighbours(operation, control, visit);
  }
  return marks;
}
