/**
 * A set of operations in order of insertion. Most tensors have one consumer and nearly all a few, so one is held as it is, some in an
 * array and many in a Set. Graph writes it, everyone else sees a ReadonlySet.
 */
import type { Operation } from './operation.js';

/** Up to this many, looking through an array beats hashing. */
const FEW = 12;

export class OperationSet implements ReadonlySet<Operation> {
  #only: Operation | undefined;
  /** All, once there have been two. */
  #all: Operation[] | Set<Operation> | undefined;

  copy(): OperationSet {
    const copy = new OperationSet();
    copy.#only = this.#only;
    copy.#all = Array.isArray(this.#all) ? this.#all.slice() : this.#all && new Set(this.#all);
    return copy;
  }

  get size(): number {
    if (this.#all === undefined) return this.#only === undefined ? 0 : 1;
    return Array.isArray(this.#all) ? this.#all.length : this.#all.size;
  }

  has(operation: Operation): boolean {
    if (this.#all === undefined) return this.#only === operation;
    return Array.isArray(this.#all) ? this.#all.includes(operation) : this.#all.has(operation);
  }

  /** Adds an operation; false if it was there. */
  add(operation: Operation): boolean {
    if (this.#all === undefined) return this.#addToOne(operation);
    if (!Array.isArray(this.#all)) {
      const before = this.#all.size;
      return this.#all.add(operation).size > before;
    }
    if (this.#all.includes(operation)) return false;
    this.#all.push(operation);
    if (this.#all.length > FEW) this.#all = new Set(this.#all);
    return true;
  }

  #addToOne(operation: Operation): boolean {
    if (this.#only === operation) return false;
    if (this.#only === undefined) {
      this.#only = operation;
    } else {
      this.#all = [this.#only, operation];
      this.#only = undefined;
    }
    return true;
  }

  delete(operation: Operation): void {
    if (this.#only === operation) this.#only = undefined;
    if (this.#all === undefined) return;
    if (Array.isArray(this.#all)) {
      const at = this.#all.indexOf(operation);
      if (at >= 0) this.#all.splice(at, 1);
    } else {
      this.#all.delete(operation);
    }
  }

  values(): SetIterator<Operation> {
    const items = this.#all ?? (this.#only === undefined ? [] : [this.#only]);
    return items.values() as SetIterator<Operation>;
  }

  keys(): SetIterator<Operation> {
    return this.values();
  }

  *entries(): SetIterator<[Operation, Operation]> {
    for (const operation of this.values()) yield [operation, operation];
  }

  [Symbol.iterator](): SetIterator<Operation> {
    return this.values();
  }

  /** As every walk over a graph calls this for every tensor, one alone needs no iterator. */
  forEach(
    callback: (value: Operation, key: Operation, set: ReadonlySet<Operation>) => void,
    self?: unknown,
  ): void {
    if (this.#all !== undefined) {
      for (const operation of this.#all) callback.call(self, operation, operation, this);
    } else if (this.#only !== undefined) {
      callback.call(self, this.#only, this.#only, this);
    }
  }
}
