/** Strategy: the decision, per variable, how its gradients are aggregated. Plain frozen data with a JSON codec. */

export type SynchronizerPlan = ParameterServerPlan | CollectivePlan;

export interface ParameterServerPlan {
  readonly kind: 'parameter-server';
  /** Where the variable and its aggregation live: `address:CPU:0`, or a TensorFlow device name once resolved. */
  readonly device: string;
  /** Rounds a worker may run ahead of the last applied one; 0 is synchronous. */
  readonly staleness: number;
  readonly sync: boolean;
  /** Whether a worker keeps a local copy of a variable that lives elsewhere. */
  readonly proxy: boolean;
}

export const ALGORITHMS = ['auto', 'ring', 'nccl'] as const;
export const COMPRESSORS = [
  'none',
  'bfloat16',
  'float16',
  'float16-error-feedback',
  'top-k-error-feedback',
] as const;

/** What becomes of the rows of a sparse gradient. */
export const SPARSE_WAYS = ['auto', 'gather', 'dense'] as const;

/** The compressor that sends some elements of a gradient and keeps the others. */
export const TOP_K = 'top-k-error-feedback';
/** A thousandth, as deep gradient compression sends. */
export const DEFAULT_K = 0.001;

export interface CollectivePlan {
  readonly kind: 'collective';
  readonly algorithm: (typeof ALGORITHMS)[number];
  readonly compressor: (typeof COMPRESSORS)[number];
  /** Of top-k, and of it alone: how many elements of a gradient are sent. Below 1 a part of them, rounded, at least one; else a number. */
  readonly k?: number;
  /** Variables with the same number may travel in one transfer. */
  readonly group: number;
  /**
   * Of a sparse gradient: `gather` sends the rows of each task to all, `dense` always sums it over the tasks as a dense gradient. If it is left out
   * (`auto`), each step does what takes fewer bytes.
   */
  readonly sparse?: Exclude<(typeof SPARSE_WAYS)[number], 'auto'>;
}

export interface PartitionPlan {
  readonly axis: number;
  /** One plan per shard. */
  readonly shards: readonly SynchronizerPlan[];
}

export interface VariablePlan {
  readonly variable: string;
  /** The plan of the whole variable; unused where `partition` is given. */
  readonly synchronizer: SynchronizerPlan;
  readonly partition?: PartitionPlan;
}

export interface Strategy {
  readonly format: 1;
  /** Name of the builder that made it, for people. */
  readonly builder: string;
  /** Devices that compute, in the resource specification's words. */
  readonly replicas: readonly string[];
  /** Sorted by variable name. */
  readonly variables: readonly VariablePlan[];
}

/** A strategy whose devices are TensorFlow device names of a cluster, pruned to variables that have a gradient pair. */
export interface ResolvedStrategy extends Strategy {
  readonly resolved: true;
}
