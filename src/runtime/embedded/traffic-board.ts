/**
 * TrafficBoard: shared memory in which every thread counts the bytes that its training steps move between tasks, while they run. One writer
 * per row: a task's thread, or one that runs rounds in the background.
 */
import type { TrafficRecord } from '../executor.js';

/** Steps that have ended, then the bytes that each task has sent, then those that each has received. */
type Row = BigInt64Array;

export class TrafficBoard {
  readonly memory: SharedArrayBuffer;
  readonly #taskCount: number;
  readonly #rows: readonly Row[];

  /** `threads`: those of the tasks first, in order. */
  constructor(taskCount: number, threads: number) {
    this.#taskCount = taskCount;
    this.memory = new SharedArrayBuffer(threads * rowLength(taskCount) * BigInt64Array.BYTES_PER_ELEMENT);
    this.#rows = Array.from({ length: threads }, (_, thread) => rowOf(this.memory, taskCount, thread));
  }

  /** What all threads together have counted for a task. */
  read(task: number): TrafficRecord {
    const sum = (at: number): number =>
      this.#rows.reduce((total, row) => total + Number(Atomics.load(row, at)), 0);
    return {
      steps: Number(Atomics.load(this.#rows[task]!, 0)),
      sent: sum(1 + task),
      received: sum(1 + this.#taskCount + task),
    };
  }
}

/** A thread's own row. */
export class TrafficRow {
  readonly #taskCount: number;
  readonly #row: Row;

  constructor(memory: SharedArrayBuffer, taskCount: number, thread: number) {
    this.#taskCount = taskCount;
    this.#row = rowOf(memory, taskCount, thread);
  }

  /** Tasks that are none of the session's are passed over. */
  move(from: number, to: number, bytes: number): void {
    if (from < this.#taskCount) Atomics.add(this.#row, 1 + from, BigInt(bytes));
    if (to < this.#taskCount) Atomics.add(this.#row, 1 + this.#taskCount + to, BigInt(bytes));
  }

  endStep(): void {
    Atomics.add(this.#row, 0, 1n);
  }
}

function rowLength(taskCount: number): number {
  return 1 + 2 * taskCount;
}

function rowOf(memory: SharedArrayBuffer, taskCount: number, thread: number): Row {
  const length = rowLength(taskCount);
  return new BigInt64Array(memory, thread * length * BigInt64Array.BYTES_PER_ELEMENT, length);
}
