/**
 * Board: shared memory in which every task thread writes where it is, so that the session's thread can say where a thread was that died
 * or does not answer. One writer per row; readers may see a row that is one operation old.
 */

const ROW = 4;
const STEPS = 0;
const ACTIVITY = 1;
const OPERATION = 2;

/** What a thread does: nothing, a training step, or a run between steps (an initializer, an evaluation). */
const ACTIVITIES = ['idle', 'step', 'run'] as const;
export type Activity = (typeof ACTIVITIES)[number];

export interface Whereabouts {
  /** Training steps begun. */
  readonly step: number;
  readonly activity: Activity;
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

  begin(activity: Exclude<Activity, 'idle'>): void {
    if (activity === 'step') Atomics.add(this.#row, STEPS, 1);
    Atomics.store(this.#row, ACTIVITY, ACTIVITIES.indexOf(activity));
  }

  end(): void {
    Atomics.store(this.#row, ACTIVITY, ACTIVITIES.indexOf('idle'));
  }

  /** A plain store: it happens before every operation of every step. */
  enter(operation: number): void {
    this.#row[OPERATION] = operation + 1;
  }

  get steps(): number {
    return Atomics.load(this.#row, STEPS);
  }

  set steps(count: number) {
    Atomics.store(this.#row, STEPS, count);
  }

  read(): Whereabouts {
    const operation = Atomics.load(this.#row, OPERATION);
    return {
      step: this.steps,
      activity: ACTIVITIES[Atomics.load(this.#row, ACTIVITY)]!,
      operation: operation === 0 ? undefined : operation - 1,
    };
  }
}
