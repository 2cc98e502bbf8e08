/** What stands for a gradient where a task has none: zeros, or no slices at all. */
import type { DType } from '../graph/dtype.js';
import type { Tensor } from '../graph/operation.js';
import type { Shape } from '../graph/shape.js';
import type { GradientPair } from '../graph/training-graph.js';
import { dtypeOf } from './dtype-of.js';

/** A tensor, and the type and shape of the zeros in its place. */
export interface Nothing {
  readonly tensor: Tensor;
  readonly dtype: DType;
  readonly shape: Shape;
}

export function nothingOf({ gradient, variable: { dtype, shape } }: GradientPair): readonly Nothing[] {
  if (gradient.kind === 'dense') return [{ tensor: gradient.tensor, dtype, shape }];
  const { indices, values } = gradient;
  return [
    { tensor: indices, dtype: dtypeOf(indices), shape: [0] },
    { tensor: values, dtype, shape: shape && [0, ...shape.slice(1)] },
  ];
}
