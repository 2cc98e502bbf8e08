/** Cut: where a variable is split, and the variables that are split there: the trained one first, then what its optimizer keeps for it. */
import type { Tensor } from '../../graph/operation.js';
import type { Variable } from '../../graph/training-graph.js';
import { shardOffsets, shardSizes } from '../../strategy/shard-sizes.js';
import type { VariableUses } from '../variable-uses.js';

export interface Cut {
  /** The trained variable. */
  readonly variable: Variable;
  readonly axis: number;
  /** Of the whole. */
  readonly shape: readonly number[];
  readonly sizes: readonly number[];
  readonly offsets: readonly number[];
}

export function makeCut(variable: Variable, shape: readonly number[], axis: number, count: number): Cut {
  const sizes = shardSizes(shape[axis]!, count);
  return { variable, axis, shape, sizes, offsets: shardOffsets(sizes) };
}

/** The axis counted from the last one: it holds too where rows have come in place of the first dimensions. */
export function axisFromEnd({ axis, shape }: Cut): number {
  return axis - shape.length;
}

/** The variable whose value a tensor is: what a read of it gives, or a reference. */
export function variableRead(tensor: Tensor, uses: VariableUses): Variable | undefined {
  const itself = uses.variableOf(tensor);
  if (itself !== undefined) return itself.kind === 'reference' ? itself : undefined;
  const { type, inputs } = tensor.operation;
  const [source] = inputs;
  const read = source && uses.variableOf(source);
  const reads = read?.kind === 'resource' ? type === 'ReadVariableOp' : type === 'Identity';
  return reads ? read : undefined;
}
