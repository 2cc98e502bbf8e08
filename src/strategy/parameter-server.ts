/** Builders that keep each variable on a server: PS (all on one) and PSLoadBalancing (spread by bytes). */
import { type ClusterSpec, clusterDevices, replicaDevices } from '../cluster/cluster-spec.js';
import type { StrategyBuilder } from './builder.js';
import { sortPlans } from './codec.js';
import type { ModelSummary, VariableSummary } from './model-summary.js';
import type { ParameterServerPlan, Strategy, VariablePlan } from './strategy.js';

export interface ParameterServerOptions {
  /** Rounds a worker may run ahead of the last applied one; above 0 it needs `sync`. Default 0. */
  readonly staleness?: number;
  /** Default true. */
  readonly sync?: boolean;
  /** Whether workers keep a local copy of dense variables that live elsewhere. Default false. */
  readonly proxy?: boolean;
}

/** Every variable on the chief. */
export function parameterServer(options: ParameterServerOptions = {}): StrategyBuilder {
  return makeBuilder('ps', options, (variables, servers) => variables.map(() => servers[0]!));
}

/** Each variable on the server that holds the fewest bytes so far. The default of the design. */
export function loadBalancedParameterServer(options: ParameterServerOptions = {}): StrategyBuilder {
  return makeBuilder('ps-lb', options, balance);
}

/** Gives each variable, in order, its server. */
type Assign = (variables: readonly VariableSummary[], servers: readonly string[]) => readonly string[];

function makeBuilder(name: string, options: ParameterServerOptions, assign: Assign): StrategyBuilder {
  return Object.freeze({
    name,
    build: ({ variables }: ModelSummary, cluster: ClusterSpec): Strategy => {
      return strategyOf(name, cluster, serverPlans(variables, cluster, options, assign));
    },
  });
}

/** A strategy in which every device of the cluster computes. */
export function strategyOf(builder: string, cluster: ClusterSpec, plans: readonly VariablePlan[]): Strategy {
  return Object.freeze({
    format: 1,
    builder,
    replicas: Object.freeze(replicaDevices(cluster).map((device) => device.name)),
    variables: Object.freeze(sortPlans(plans)),
  });
}

/** A plan for each variable, in their order. */
export function serverPlans(
  variables: readonly VariableSummary[],
  cluster: ClusterSpec,
  options: ParameterServerOptions,
  assign: Assign = balance,
): VariablePlan[] {
  const servers = assign(variables, serverNames(cluster));
  return variables.map((variable, i) =>
    Object.freeze({ variable: variable.name, synchronizer: planOf(servers[i]!, variable, options) }),
  );
}

/** The first CPU of every task, the chief's first. */
export function serverNames(cluster: ClusterSpec): readonly string[] {
  return clusterDevices(cluster)
    .filter(({ type, index }) => type === 'CPU' && index === 0)
    .map((device) => device.name);
}

export function planOf(
  device: string,
  variable: VariableSummary,
  options: ParameterServerOptions,
): ParameterServerPlan {
  return Object.freeze({
    kind: 'parameter-server',
    device,
    staleness: options.staleness ?? 0,
    sync: options.sync ?? true,
    // A worker gathers the rows it needs; copying a whole table each step is what sparse gradients avoid.
    proxy: variable.gradient === 'dense' && (options.proxy ?? false),
  });
}

const balance: Assign = (variables, servers) =>
  leastLoaded(
    variables.map(({ bytes }) => bytes),
    servers,
  );

/** The server of each piece: largest first, each to the least loaded one; ties go to the earlier piece and the earlier server. */
export function leastLoaded(bytes: readonly number[], servers: readonly string[]): readonly string[] {
  const loads = servers.map(() => 0);
  const chosen = new Array<string>(bytes.length);
  for (const piece of [...bytes.keys()].sort((a, b) => bytes[b]! - bytes[a]!)) {
    const least = loads.indexOf(Math.min(...loads));
    loads[least]! += bytes[piece]!;
    chosen[piece] = servers[least]!;
  }
  return chosen;
}
