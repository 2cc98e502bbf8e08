/** How the gradients of replicas count in the mean that a variable is updated with, and that mean. */
import type { TensorData } from '../../../src/runtime/index.js';
import type { SynchronizerPlan, VariablePlan } from '../../../src/strategy/index.js';
import { shardSizes } from '../../../src/strategy/shard-sizes.js';
import type { Layout } from '../fixtures.js';
import { joinRows } from '../layouts.js';
import type { GradientNames } from './program.js';
import type { Feeds } from './shares.js';

export interface Weights {
  /** The axis along which parts of the variable may be averaged in different ways. */
  readonly axis: number;
  /** For each place along it, one weight per replica. */
  readonly at: readonly (readonly number[])[];
}

/** Parameter servers let every task count the same, collectives every replica. A variable that is not split is one part. */
export function weightsOf(
  { synchronizer, partition }: VariablePlan,
  shape: readonly number[],
  layout: Layout,
): Weights {
  const length = shape[partition?.axis ?? 0] ?? 1;
  if (partition === undefined)
    return { axis: 0, at: new Array<readonly number[]>(length).fill(weightsUnder(synchronizer, layout)) };
  const sizes = shardSizes(length, partition.shards.length);
  const at = partition.shards.flatMap((plan, i) =>
    new Array<readonly number[]>(sizes[i]!).fill(weightsUnder(plan, layout)),
  );
  return { axis: partition.axis, at };
}

function weightsUnder({ kind }: SynchronizerPlan, layout: Layout): readonly number[] {
  const all = layout.reduce((sum, replicas) => sum + replicas, 0);
  return layout.flatMap((replicas) =>
    new Array<number>(replicas).fill(kind === 'collective' ? 1 / all : 1 / (layout.length * replicas)),
  );
}

/** The mean, under the names of the gradient's tensors: a sum, or the slices of all replicas in their order. */
export function weightedMean(names: GradientNames, results: readonly Feeds[], weights: Weights): Feeds {
  if (names.kind === 'dense')
    return {
      [names.tensor]: denseMean(
        results.map((result) => result[names.tensor]!),
        weights,
      ),
    };
  const indices = results.map((result) => result[names.indices]!);
  const values = results.map((result, replica) =>
    scaledRows(result[names.values]!, indices[replica]!, ({ at }, row) => at[row]![replica]!, weights),
  );
  return { [names.indices]: joinRows(indices), [names.values]: joinRows(values) };
}

function denseMean(gradients: readonly TensorData[], { axis, at }: Weights): TensorData {
  const [first] = gradients as [TensorData];
  const inner = first.shape.slice(axis + 1).reduce((product, dim) => product * dim, 1);
  const data = Float32Array.from({ length: first.data.length }, (_, i) => {
    const weights = at[Math.floor(i / inner) % at.length]!;
    return gradients.reduce((sum, { data }, replica) => sum + weights[replica]! * Number(data[i]), 0);
  });
  return { ...first, data };
}

function scaledRows(
  values: TensorData,
  indices: TensorData,
  weightOf: (weights: Weights, row: number) => number,
  weights: Weights,
): TensorData {
  const width = values.data.length / Math.max(1, indices.data.length);
  const data = Float32Array.from(values.data as Float32Array, (value, i) => {
    return value * weightOf(weights, Number(indices.data[Math.floor(i / width)]));
  });
  return { ...values, data };
}
