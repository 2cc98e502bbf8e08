/** The contract between the executor and the kernels: one small table per family, from operation type to a binder. */
import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';
import type { NativeAddon } from '../../addon/native.js';
import type { Operation } from '../../graph/operation.js';
import type { Value } from './value.js';

/** What a kernel sees of the thread it runs in. One per task thread. */
export interface TaskRuntime {
  readonly backend: BackendWasm;
  /**
   * Milliseconds that one wait may take; Infinity for no limit. Every wait has the whole time: a step may compute for longer than anybody
   * should be waited for.
   */
  readonly deadlineMs: number;
  /** The addon's: `table[indices[i]] += rows[i]`. */
  readonly addRows: NativeAddon['addRows'];
  /** Returns once one of the `waiting` promises of kernels is settled, or after a short while. Nothing else runs meanwhile. */
  awaitSettlement(waiting: number): void;
}

/**
 * A kernel bound to one operation, its attributes decoded. Inputs are borrowed: the executor releases them. Outputs are owned by the
 * executor. Only kernels that wait return a promise.
 */
export interface BoundKernel {
  (inputs: readonly Value[], runtime: TaskRuntime): readonly Value[] | Promise<readonly Value[]>;
  /** Of a kernel that draws random numbers: saved and restored with the variables. */
  readonly generator?: Generator;
}

/** A generator of random numbers, as the words that say where in its sequence it is. */
export interface Generator {
  state: readonly number[];
}

/** Binds an operation once, when a plan is compiled; throws a GradsyncError for attributes it does not support. */
export type KernelBinder = (operation: Operation) => BoundKernel;

export type KernelTable = Readonly<Record<string, KernelBinder>>;
