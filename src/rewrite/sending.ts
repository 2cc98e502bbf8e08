/** Dense gradients on the way through a collective: what goes in, what is sent, what comes out, and what is kept. */
import type { Operation, Tensor } from '../graph/operation.js';
import type { Variable } from '../graph/training-graph.js';
import type { Site } from './make.js';
import type { Nothing } from './nothing.js';

/** A task's own gradient, and where what is done to it is put. */
export interface LocalGradient {
  readonly site: Site;
  readonly variable: Variable;
  readonly tensor: Tensor;
}

/** What a collective sends for one variable. */
export interface Sending {
  readonly operation: Operation;
  readonly variable: Variable;
  readonly size:
    | { readonly bytes: number }
    | { readonly bytesPerRow: number; readonly holds: 'indices' | 'values' };
}

export interface Reduction {
  readonly sent: readonly Sending[];
  /** Variables that the compression needs, and what changes them in a step. */
  readonly residuals: readonly Residual[];
  readonly keeps: readonly Operation[];
  /** What a task without data sends. */
  readonly nothing: readonly Nothing[];
}

export interface LocalSum extends Reduction {
  /** The sum over all tasks. */
  readonly sum: Tensor;
}

/** What a task keeps of a variable's gradients. */
export interface Residual {
  /** The variable whose gradients they are. */
  readonly of: Variable;
  readonly variable: Variable;
}
