/** The runtime that kernels of one task thread see. */
import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';
import type { NativeAddon } from '../../addon/native.js';
import type { TaskRuntime } from './kernel.js';

/** As long as a task thread waits without serving messages: most waits of a step are shorter. */
const SHORT_WAIT = { deadlineMs: 5 };

export class ThreadRuntime implements TaskRuntime {
  readonly backend: BackendWasm;
  readonly deadlineMs: number;
  readonly addRows: NativeAddon['addRows'];
  readonly #addon: NativeAddon;

  constructor(addon: NativeAddon, backend: BackendWasm, deadlineMs: number) {
    this.#addon = addon;
    this.backend = backend;
    this.deadlineMs = deadlineMs;
    this.addRows = addon.addRows;
  }

  awaitSettlement(waiting: number): void {
    this.#addon.awaitSettlement(waiting, SHORT_WAIT);
  }
}
