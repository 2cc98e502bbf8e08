/**
 * Whether edits have closed a cycle, asked of the edits alone: a graph that had no cycle is in some order, and edges that still go forward in
 * it close none. Only where one goes backward is the whole graph sorted again.
 */
import type { Graph } from './graph.js';
import { closesLoop } from './op-catalog.js';
import type { Operation } from './operation.js';
import { topologicalOrder } from './traverse.js';

const UNKNOWN = -1;

/** A topological order of a graph at one time. */
export class KnownOrder {
  /** By id. */
  readonly #places: Int32Array;

  private constructor(places: Int32Array) {
    this.#places = places;
  }

  /**
   * `order`: all operations of the graph, as topologicalOrder gives them. Of the orders there are, the one that edits keep best has those for
   * which `isLate` holds behind all others; whatever needs one of these must be one.
   */
  static of(
    graph: Graph,
    order: readonly Operation[],
    isLate: (operation: Operation) => boolean,
  ): KnownOrder {
    const places = new Int32Array(graph.idLimit).fill(UNKNOWN);
    let place = 0;
    for (const late of [false, true]) {
      for (const operation of order) if (isLate(operation) === late) places[operation.id] = place++;
    }
    return new KnownOrder(places);
  }

  /** The same with copies, each beside its original: edges among them go as those of the originals do. */
  withCopies(
    graph: Graph,
    originals: readonly Operation[],
    of: (original: Operation) => readonly Operation[],
  ): KnownOrder {
    const places = new Int32Array(graph.idLimit).fill(UNKNOWN);
    places.set(this.#places);
    for (const original of originals) {
      for (const copy of of(original)) places[copy.id] = this.#places[original.id] as number;
    }
    return new KnownOrder(places);
  }

  /**
   * INVALID_ARGUMENT if the graph has got a cycle since. `edited`: all operations that were added or whose inputs were edited; one may be
   * named twice. Time: the sum of their input counts, if their edges go forward.
   */
  verify(graph: Graph, edited: Iterable<Operation>): void {
    const reach = new Map<Operation, number>();
    for (const operation of edited) {
      if (!graph.has(operation)) continue;
      const place = this.#placeOf(operation);
      if (this.#lastBefore(operation, reach) < (place === UNKNOWN ? Number.POSITIVE_INFINITY : place))
        continue;
      topologicalOrder(graph);
      return;
    }
  }

  #placeOf({ id }: Operation): number {
    return this.#places[id] ?? UNKNOWN;
  }

  /** The last place among the known operations that this one needs, directly or through new ones; infinite in a cycle of new ones. */
  #lastBefore(operation: Operation, reach: Map<Operation, number>): number {
    let last = UNKNOWN;
    const look = (need: Operation): void => {
      if (closesLoop(need.type)) return;
      const place = this.#placeOf(need);
      last = Math.max(last, place === UNKNOWN ? this.#reachOf(need, reach) : place);
    };
    for (const tensor of operation.inputs) look(tensor.operation);
    for (const control of operation.controlInputs) look(control);
    return last;
  }

  /** As lastBefore, of a new operation, found once. New operations hang on each other in short chains. */
  #reachOf(operation: Operation, reach: Map<Operation, number>): number {
    let last = reach.get(operation);
    if (last === undefined) {
      // Infinite while it is open: one that is met again through its own needs is in a cycle.
      reach.set(operation, Number.POSITIVE_INFINITY);
      last = this.#lastBefore(operation, reach);
      reach.set(operation, last);
    }
    return last;
  }
}
