/**
 * Board: shared memory in which every task thread writes where it is, so that the session's thread can say where a thread was that died
 * or does not answer. One writer per row; readers may see a row that is one operation old.
 */

const ROW = 4;
const BEGUN = 0;
const DONE = 1;
const OPERATION = 2;

export interface Whereabouts {
  /** Steps begun and done, from 1. */
  readonly begun: number;
  readonly done: number;
  /** Position in the graph of the operation begun last; undefined before the first. */
  readonly operation: number | undefined;
}

export function createBoard(tasks: number): SharedArrayBuffer {
  return new SharedArrayBuffer(tasks * ROW * Int32Array.BYTES_PER_ELEMENT);
}

export class BoardRow {
  readonly #row: Int32Array;

  constructor(board: SharedArrayBuffer, task: number) {
    this.#row = new Int32Array(board, task * ROW * Int32Array.BYTES_PER_ELEMENT, ROW);
  }

  beginStep(): number {
    const step = Atomics.add(this.#row, BEGUN, 1) + 1;
    return step;
  }

  endStep(): void {
    Atomics.store(this.#row, DONE, Atomics.load(this.#row, BEGUN));
  }

  /** A plain store: it happens before every operation of every step. */
  enter(operation: number): void {
    this.#row[OPERATION] = operation + 1;
  }

  get steps(): number {
    return Atomics.load(this.#row, BEGUN);
  }

  set steps(count: number) {
    Atomics.store(this.#row, BEGUN, count);
    Atomics.store(this.#row, DONE, count);
  }

  read(): Whereabouts {
    const operation = Atomics.load(this.#row, OPERATION);
    return {
      begun: Atomics.load(this.#row, BEGUN),
      done: Atomics.load(this.#row, DONE),
      operation: operation === 0 ? undefined : operation - 1,
    };
  }
}
