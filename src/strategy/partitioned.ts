/**
 * Builders that split variables into shards: PartitionedPS and UnevenPartitionedPS, which spread them over servers, PartitionedAR and
 * RandomAxisPartitionAR. How many shards a variable gets follows from its bytes and the number of tasks; any dimension will do, primes too.
 */
import type { ClusterSpec } from '../cluster/cluster-spec.js';
import { isFullyKnown } from '../graph/shape.js';
import { type AllReduceOptions, collectivePlans } from './all-reduce.js';
import type { StrategyBuilder } from './builder.js';
import type { ModelSummary, VariableSummary } from './model-summary.js';
import {
  leastLoaded,
  type ParameterServerOptions,
  planOf,
  serverNames,
  strategyOf,
} from './parameter-server.js';
import { shardSizes } from './shard-sizes.js';
import type { Strategy, SynchronizerPlan, VariablePlan } from './strategy.js';

export interface PartitionOptions {
  /** The most shards a variable is split into. Default: as many as there are tasks. */
  readonly shards?: number;
  /** No shard is smaller than that; a variable of less than two of them stays whole. Default 65,536. */
  readonly minShardBytes?: number;
}

export interface RandomAxisOptions extends PartitionOptions {
  /** The same seed draws the same axes. Default 0. */
  readonly seed?: number;
}

const MIN_SHARD_BYTES = 65_536;

/** Every variable in shards that differ by at most one row, each on the server that holds the fewest bytes. */
export function partitionedParameterServer(
  options: ParameterServerOptions & PartitionOptions = {},
): StrategyBuilder {
  return makeBuilder('partitioned-ps', options, AS_WANTED, serverPieces(options));
}

/** The same with a number of shards that does not divide the dimension, so that their sizes do differ. */
export function unevenPartitionedParameterServer(
  options: ParameterServerOptions & PartitionOptions = {},
): StrategyBuilder {
  return makeBuilder(
    'uneven-partitioned-ps',
    options,
    { ...AS_WANTED, countShards: unevenCount },
    serverPieces(options),
  );
}

/**
 * Every variable with a dense gradient in shards, whose gradients all replicas reduce each by itself. One with a sparse gradient stays whole:
 * the slices of all tasks come to every copy in any case, and shards would only multiply the exchanges.
 */
export function partitionedAllReduce(options: AllReduceOptions & PartitionOptions = {}): StrategyBuilder {
  return makeBuilder('partitioned-all-reduce', options, DENSE, collectivePieces(options));
}

/** The same, split along an axis that is drawn among those longer than one. */
export function randomAxisPartitionedAllReduce(
  options: AllReduceOptions & RandomAxisOptions = {},
): StrategyBuilder {
  const rules = { ...DENSE, axisOf: randomAxis(options.seed ?? 0) };
  return makeBuilder('random-axis-partitioned-all-reduce', options, rules, collectivePieces(options));
}

/** How a variable that is to have `wanted` shards is cut. */
interface CutRules {
  readonly splits: (variable: VariableSummary) => boolean;
  readonly axisOf: (variable: VariableSummary, wanted: number) => number;
  readonly countShards: (dim: number, wanted: number) => number;
}

/** Rows, as long as there are enough of them; slices of a sparse gradient are rows. */
const AS_WANTED: CutRules = {
  splits: () => true,
  axisOf: ({ shape, gradient }, wanted) => {
    if (shape === null || gradient === 'sparse' || (shape[0] ?? 0) >= wanted) return 0;
    return shape.indexOf(Math.max(...shape));
  },
  countShards: (_, wanted) => wanted,
};

const DENSE: CutRules = { ...AS_WANTED, splits: ({ gradient }) => gradient === 'dense' };

/** The next larger number of shards that leaves a remainder; where there is none, the number itself. */
function unevenCount(dim: number, wanted: number): number {
  if (wanted < 2) return wanted;
  for (let shards = wanted; shards < dim; shards++) if (dim % shards !== 0) return shards;
  return wanted;
}

/** Depends on seed and name alone, so that a further variable changes nothing for the others. */
function randomAxis(seed: number): CutRules['axisOf'] {
  return ({ name, shape }) => {
    if (shape === null) return 0;
    const long = [...shape.keys()].filter((axis) => shape[axis]! > 1);
    return long[hash(`${seed} ${name}`) % Math.max(1, long.length)] ?? 0;
  };
}

/** FNV-1a of 32 bits with a last mixing. */
function hash(text: string): number {
  let bits = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) bits = Math.imul(bits ^ text.charCodeAt(i), 0x01000193);
  return (bits ^ (bits >>> 15)) >>> 0;
}

/** A variable or a shard of one, in the order of the variables. */
interface Piece {
  readonly variable: VariableSummary;
  readonly bytes: number;
}

/** The plan of each piece. */
type PlanPieces = (pieces: readonly Piece[], cluster: ClusterSpec) => readonly SynchronizerPlan[];

const serverPieces =
  (options: ParameterServerOptions): PlanPieces =>
  (pieces, cluster) => {
    const servers = leastLoaded(
      pieces.map(({ bytes }) => bytes),
      serverNames(cluster),
    );
    return pieces.map(({ variable }, i) => planOf(servers[i]!, variable, options));
  };

const collectivePieces =
  (options: AllReduceOptions): PlanPieces =>
  (pieces) =>
    collectivePlans(
      pieces.map(({ variable }) => variable),
      options,
    ).map(({ synchronizer }) => synchronizer);

function makeBuilder(
  name: string,
  options: PartitionOptions,
  rules: CutRules,
  planPieces: PlanPieces,
): StrategyBuilder {
  return Object.freeze({
    name,
    build: ({ variables }: ModelSummary, cluster: ClusterSpec): Strategy => {
      const sorted = [...variables].sort((a, b) => (a.name < b.name ? -1 : 1));
      const cuts = sorted.map((variable) => cutOf(variable, options, cluster.tasks.length, rules));
      const pieces = sorted.map((variable, i) =>
        (cuts[i]?.bytes ?? [variable.bytes]).map((bytes): Piece => ({ variable, bytes })),
      );
      const planned = planPieces(pieces.flat(), cluster);
      let next = 0;
      const plans = sorted.map((variable, i) => {
        const own = planned.slice(next, next + pieces[i]!.length);
        next += own.length;
        return planVariable(variable, own, cuts[i]);
      });
      return strategyOf(name, cluster, plans);
    },
  });
}

function planVariable(
  { name }: VariableSummary,
  shards: readonly SynchronizerPlan[],
  cut: Cut | undefined,
): VariablePlan {
  const plan = { variable: name, synchronizer: shards[0]! };
  if (cut === undefined) return Object.freeze(plan);
  return Object.freeze({
    ...plan,
    partition: Object.freeze({ axis: cut.axis, shards: Object.freeze(shards) }),
  });
}

/** Where a variable is split. */
interface Cut {
  readonly axis: number;
  /** Of each shard. */
  readonly bytes: readonly number[];
}

/** Undefined where the variable stays whole. */
function cutOf(
  variable: VariableSummary,
  { shards, minShardBytes = MIN_SHARD_BYTES }: PartitionOptions,
  tasks: number,
  { splits, axisOf, countShards }: CutRules,
): Cut | undefined {
  const { shape, bytes } = variable;
  if (shape === null || !isFullyKnown(shape) || !splits(variable)) return undefined;
  const wanted = Math.min(shards ?? tasks, Math.floor(bytes / Math.max(1, minShardBytes)));
  const axis = axisOf(variable, wanted);
  const dim = shape[axis] ?? 0;
  const count = countShards(dim, Math.min(wanted, dim));
  if (count < 2) return undefined;
  return { axis, bytes: shardSizes(dim, count).map((size) => size * (bytes / dim)) };
}
