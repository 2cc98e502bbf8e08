/** The runtime that kernels of one task thread see. */
import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';
import type { NativeAddon, NativeSession } from '../../addon/native.js';
import type { BoardRow } from './board.js';
import type { TaskRuntime } from './kernel.js';

/** As long as a task thread waits without serving messages: most waits of a step are shorter. */
const SHORT_WAIT = { deadlineMs: 5 };

export class ThreadRuntime implements TaskRuntime {
  readonly backend: BackendWasm;
  readonly native: NativeSession;
  readonly task: number;
  readonly signal: AbortSignal;
  readonly #addon: NativeAddon;
  readonly #deadlineMs: number;
  readonly #row: BoardRow;

  constructor(
    parts: {
      addon: NativeAddon;
      backend: BackendWasm;
      native: NativeSession;
      task: number;
      deadlineMs: number;
      signal: AbortSignal;
    },
    row: BoardRow,
  ) {
    this.#addon = parts.addon;
    this.backend = parts.backend;
    this.native = parts.native;
    this.task = parts.task;
    this.signal = parts.signal;
    this.#deadlineMs = parts.deadlineMs;
    this.#row = row;
  }

  get step(): number {
    return this.#row.steps;
  }

  awaitSettlement(waiting: number): void {
    this.#addon.awaitSettlement(waiting, SHORT_WAIT);
  }

  /** Every wait gets the whole time: a step may compute for longer than anybody should be waited for. */
  remainingMs(): number {
    return this.#deadlineMs;
  }
}
