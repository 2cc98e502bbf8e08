/** ModelSummary: what a strategy builder sees of a training graph. It holds no reference to the graph, so a builder cannot edit it. */
import { DTYPES, type DType } from '../graph/dtype.js';
import type { Shape } from '../graph/shape.js';
import type { TrainingGraph } from '../graph/training-graph.js';

export interface VariableSummary {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: Shape;
  /** Size of the value; an unknown dimension counts as 1. */
  readonly bytes: number;
  readonly gradient: 'dense' | 'sparse';
}

/** The variables that have a gradient, in the graph's order. */
export interface ModelSummary {
  readonly variables: readonly VariableSummary[];
}

export function summarize(training: TrainingGraph): ModelSummary {
  const variables = training.pairs.map(({ variable, gradient }) =>
    Object.freeze({
      name: variable.name,
      dtype: variable.dtype,
      shape: variable.shape,
      bytes: byteSize(variable.dtype, variable.shape),
      gradient: gradient.kind,
    }),
  );
  return Object.freeze({ variables: Object.freeze(variables) });
}

/** Bytes of a value; an unknown dimension counts as 1, a value of unknown rank as one element. */
export function byteSize(dtype: DType, shape: Shape): number {
  const elements = (shape ?? []).reduce((product, dim) => product * (dim < 0 ? 1 : dim), 1);
  return elements * DTYPES[dtype].size;
}
