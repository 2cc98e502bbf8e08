/**
 * The operations of one graph, by id and by name. A copy of a graph shares the index of names with its original: names map to ids, which
 * copies keep, and what was added since lies in a second map over the shared one.
 */
import type { Operation } from './operation.js';

/** Finds ids by name. */
export interface NameIndex {
  /** Undefined for a name that it has not. */
  get(name: string): number | undefined;
}

/** One index over another. */
class LayeredIndex implements NameIndex {
  readonly #upper: NameIndex;
  readonly #lower: NameIndex;

  constructor(upper: NameIndex, lower: NameIndex) {
    this.#upper = upper;
    this.#lower = lower;
  }

  get(name: string): number | undefined {
    return this.#upper.get(name) ?? this.#lower.get(name);
  }
}

/** An index whose numbers begin elsewhere. */
class OffsetIndex implements NameIndex {
  readonly #names: NameIndex;
  readonly #offset: number;

  constructor(names: NameIndex, offset: number) {
    this.#names = names;
    this.#offset = offset;
  }

  get(name: string): number | undefined {
    const number = this.#names.get(name);
    return number === undefined ? undefined : number + this.#offset;
  }
}

export class OperationTable implements Iterable<Operation> {
  /** By id; removed operations leave a hole. */
  readonly #byId: (Operation | undefined)[];
  #size = 0;
  /** Shared between copies and never written. */
  #sharedIds: NameIndex;
  #ownIds = new Map<string, number>();
  /** Operations with a smaller id are in one of the indexes; the others are put there when a name is first looked up. */
  #indexed: number;
  /** Operations removed since the mark, if one was set. */
  #removed: Operation[] | undefined;

  /** A table of copies: the entries of `byId` have the names and ids that `ids` says, or are holes. */
  constructor(byId: (Operation | undefined)[] = [], size = 0, ids: NameIndex = new Map<string, number>()) {
    this.#byId = byId;
    this.#size = size;
    this.#sharedIds = ids;
    this.#indexed = byId.length;
  }

  get size(): number {
    return this.#size;
  }

  /** The id of the next operation; all ids are below it. */
  get nextId(): number {
    return this.#byId.length;
  }

  /** Adds an operation whose id is `nextId` and whose name is free. */
  insert(operation: Operation): void {
    this.#byId.push(operation);
    this.#size++;
  }

  delete(operation: Operation): void {
    if (!this.has(operation)) return;
    this.#byId[operation.id] = undefined;
    this.#size--;
    this.#removed?.push(operation);
  }

  /** Whether this very operation is in the graph. */
  has(operation: Operation): boolean {
    return this.#byId[operation.id] === operation;
  }

  find(name: string): Operation | undefined {
    this.#index();
    const id = this.#ownIds.get(name) ?? this.#sharedIds.get(name);
    // An id may be that of a removed operation; the name is then free.
    return id === undefined ? undefined : this.#byId[id];
  }

  /** Finds the operations that are here already by an index made elsewhere. */
  adoptNames(names: NameIndex): void {
    this.#sharedIds = names;
    this.#ownIds = new Map();
    this.#indexed = this.#byId.length;
  }

  /** Between this and `endNamed`, operations are inserted that an index of their own finds. Gives the id of the first. */
  beginNamed(): number {
    this.shareNames();
    return this.nextId;
  }

  /** `names` numbers the operations inserted since `beginNamed`. */
  endNamed(first: number, names: NameIndex): void {
    this.#sharedIds = new LayeredIndex(new OffsetIndex(names, first), this.#sharedIds);
    this.#indexed = this.nextId;
  }

  /** The index of names, for a copy: from now on neither table writes it. */
  shareNames(): NameIndex {
    this.#index();
    if (this.#ownIds.size > 0) {
      this.#sharedIds = new LayeredIndex(this.#ownIds, this.#sharedIds);
      this.#ownIds = new Map();
    }
    return this.#sharedIds;
  }

  /** Marks the state of now; what is returned brings it back. Marks may be nested. */
  mark(): () => void {
    const shared = this.#sharedIds;
    const own = this.#ownIds;
    // What is added from now on goes into a map of its own.
    this.shareNames();
    const size = this.#size;
    const { length } = this.#byId;
    const outer = this.#removed;
    const removed: Operation[] = [];
    this.#removed = removed;
    return () => {
      for (const operation of removed) this.#byId[operation.id] = operation;
      this.#byId.length = length;
      this.#size = size;
      this.#sharedIds = shared;
      this.#ownIds = own;
      this.#indexed = length;
      this.#removed = outer;
    };
  }

  /** Walks are many and long: one result object serves a whole walk, where a generator would make one per operation. */
  [Symbol.iterator](): IterableIterator<Operation> {
    const byId = this.#byId;
    const result = { done: false, value: undefined } as { done: boolean; value: Operation | undefined };
    let id = 0;
    const next = (): IteratorResult<Operation> => {
      // The length is read anew each time: operations added on the way are visited too, as with a Map.
      do result.value = byId[id++];
      while (result.value === undefined && id < byId.length);
      result.done = result.value === undefined;
      return result as IteratorResult<Operation>;
    };
    const walk = { next, [Symbol.iterator]: (): IterableIterator<Operation> => walk };
    return walk;
  }

  #index(): void {
    for (; this.#indexed < this.#byId.length; this.#indexed++) {
      const operation = this.#byId[this.#indexed];
      if (operation !== undefined) this.#ownIds.set(operation.name, operation.id);
    }
  }
}
