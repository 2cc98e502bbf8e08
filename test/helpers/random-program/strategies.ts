/** Random strategies: a builder with options, or a plan of its own for each variable, written as JSON and read again. */
import { type ClusterSpec, clusterDevices, replicaDevices } from '../../../src/cluster/cluster-spec.js';
import {
  findBuilder,
  type ModelSummary,
  parseStrategy,
  printStrategy,
  type Strategy,
  type SynchronizerPlan,
  type VariablePlan,
  type VariableSummary,
} from '../../../src/strategy/index.js';

export const SERVER_BUILDERS = ['ps', 'ps-lb', 'partitioned-ps', 'uneven-partitioned-ps'] as const;
export const COLLECTIVE_BUILDERS = [
  'all-reduce',
  'partitioned-all-reduce',
  'random-axis-partitioned-all-reduce',
  'parallax',
] as const;

/** What may be decided for a variable; what does not apply to it is left aside. */
export interface PlanChoice {
  readonly isCollective: boolean;
  readonly device: number;
  readonly proxy: boolean;
  readonly group: number;
  readonly shards: number;
  readonly axis: number;
}

export type StrategyChoice =
  | {
      readonly kind: 'builder';
      readonly builder: string;
      readonly options: Readonly<Record<string, string | number | boolean>>;
    }
  | {
      readonly kind: 'custom';
      /** Only the first device of each task computes. */
      readonly oneEach: boolean;
      readonly plans: readonly PlanChoice[];
    };

export function strategyOf(choice: StrategyChoice, summary: ModelSummary, cluster: ClusterSpec): Strategy {
  const strategy =
    choice.kind === 'builder' ? builtBy(choice, summary, cluster) : custom(choice, summary, cluster);
  return parseStrategy(printStrategy(strategy));
}

/**
 * Variables here are small: they are split however few bytes a shard has. Without `sync` several tasks come to what nobody can tell, and there
 * are no proxies.
 */
function builtBy(
  { builder, options }: Extract<StrategyChoice, { kind: 'builder' }>,
  summary: ModelSummary,
  cluster: ClusterSpec,
): Strategy {
  const { shards, seed, sync, proxy, ...rest } = options;
  const split = builder.includes('partitioned')
    ? { minShardBytes: 1, ...(shards === undefined ? {} : { shards }) }
    : {};
  const drawn = builder.startsWith('random') && seed !== undefined ? { seed } : {};
  const kept = sync === false && cluster.tasks.length === 1 ? { sync } : proxy === undefined ? {} : { proxy };
  return findBuilder(JSON.stringify({ builder, ...rest, ...split, ...drawn, ...kept })).build(
    summary,
    cluster,
  );
}

function custom(
  { oneEach, plans }: Extract<StrategyChoice, { kind: 'custom' }>,
  { variables }: ModelSummary,
  cluster: ClusterSpec,
): Strategy {
  const devices = replicaDevices(cluster).filter(({ index }) => !oneEach || index === 0);
  return {
    format: 1,
    builder: 'custom',
    replicas: devices.map(({ name }) => name),
    variables: variables.map((variable, i) => planOf(plans, i, variable, cluster)),
  };
}

/** Shards take the choices that follow that of the variable. */
function planOf(
  choices: readonly PlanChoice[],
  first: number,
  variable: VariableSummary,
  cluster: ClusterSpec,
): VariablePlan {
  const at = (i: number): PlanChoice => choices[(first + i) % choices.length]!;
  const synchronizer = (i: number): SynchronizerPlan => synchronizerOf(at(i), variable, cluster);
  const plan = { variable: variable.name, synchronizer: synchronizer(0) };
  const shape = variable.shape ?? [];
  const axis = variable.gradient === 'sparse' ? 0 : Math.min(at(0).axis, shape.length - 1);
  const shards = Math.min(at(0).shards, shape[axis] ?? 1);
  if (shards < 2) return plan;
  return { ...plan, partition: { axis, shards: Array.from({ length: shards }, (_, i) => synchronizer(i)) } };
}

function synchronizerOf(
  { isCollective, device, proxy, group }: PlanChoice,
  { gradient }: VariableSummary,
  cluster: ClusterSpec,
): SynchronizerPlan {
  if (isCollective) return { kind: 'collective', algorithm: 'auto', compressor: 'none', group };
  const servers = clusterDevices(cluster).filter(({ index }) => index === 0);
  return {
    kind: 'parameter-server',
    device: servers[device % servers.length]!.name,
    staleness: 0,
    sync: true,
    proxy: proxy && gradient === 'dense',
  };
}
