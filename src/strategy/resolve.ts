/**
 * Resolving: a strategy meets a graph and a cluster. Devices become TensorFlow device names, plans of variables without a gradient are
 * dropped, and what does not fit is refused. Whether a plan's kind can be carried out is the rewrite's question.
 */
import { type ClusterDevice, type ClusterSpec, deviceFinder } from '../cluster/cluster-spec.js';
import { GradsyncError } from '../errors.js';
import type { GradientPair, TrainingGraph } from '../graph/training-graph.js';
import { sortPlans } from './codec.js';
import { isPart, PART } from './json-cursor.js';
import {
  type PartitionPlan,
  type ResolvedStrategy,
  type Strategy,
  type SynchronizerPlan,
  TOP_K,
  type VariablePlan,
} from './strategy.js';

type FindDevice = (name: string) => ClusterDevice;

/**
 * @throws GradsyncError NOT_FOUND: a variable the graph has not, or a device the cluster has not; INVALID_ARGUMENT: a variable with a
 * gradient but no plan, staleness without sync, a task without replica, a partition that does not fit the shape.
 */
export function resolveStrategy(
  strategy: Strategy,
  training: TrainingGraph,
  cluster: ClusterSpec,
): ResolvedStrategy {
  const find = deviceFinder(cluster);
  const plans = keepTrained(strategy, training);
  const pairs = new Map(training.pairs.map((pair) => [pair.variable.name, pair]));
  const variables = sortPlans(plans).map((plan) => resolvePlan(plan, pairs.get(plan.variable)!, find));
  return Object.freeze({
    format: 1,
    builder: strategy.builder,
    replicas: Object.freeze(resolveReplicas(strategy, cluster, find)),
    variables: Object.freeze(variables),
    resolved: true,
  });
}

/** The plans of variables that have a gradient pair; every such variable must have exactly one. */
function keepTrained(strategy: Strategy, training: TrainingGraph): readonly VariablePlan[] {
  const known = new Set(training.variables.map((variable) => variable.name));
  const planned = new Set<string>();
  for (const { variable } of strategy.variables) {
    if (!known.has(variable)) throw unknownVariable(variable, training);
    if (planned.has(variable)) {
      throw invalid(variable, 'one plan', 'two', 'remove one of them from the strategy');
    }
    planned.add(variable);
  }
  const trained = new Set(training.pairs.map((pair) => pair.variable.name));
  for (const name of trained) {
    if (!planned.has(name))
      throw invalid(name, 'a plan in the strategy', 'none', 'add one under "variables"');
  }
  return strategy.variables.filter((plan) => trained.has(plan.variable));
}

function unknownVariable(name: string, training: TrainingGraph): GradsyncError {
  const names = training.pairs.map((pair) => pair.variable.name);
  return new GradsyncError('NOT_FOUND', 'Strategy variable', {
    expected: `a variable of the graph (${names.slice(0, 8).join(', ')}${names.length > 8 ? ', ...' : ''})`,
    received: `"${name}"`,
    remedy: 'correct the name, without ":0", or remove the plan',
    variable: name,
  });
}

function resolvePlan(plan: VariablePlan, pair: GradientPair, find: FindDevice): VariablePlan {
  const { variable, partition } = plan;
  const resolve = (synchronizer: SynchronizerPlan): SynchronizerPlan => {
    checkProxy(synchronizer, pair);
    checkCompressor(synchronizer, pair);
    checkSparse(synchronizer, pair);
    return resolveSynchronizer(synchronizer, variable, find);
  };
  if (partition === undefined) return Object.freeze({ variable, synchronizer: resolve(plan.synchronizer) });
  checkPartition(partition, pair);
  const shards = Object.freeze(partition.shards.map(resolve));
  // One shard is the variable itself.
  if (shards.length === 1) return Object.freeze({ variable, synchronizer: shards[0]! });
  return Object.freeze({
    variable,
    synchronizer: resolve(plan.synchronizer),
    partition: Object.freeze({ axis: partition.axis, shards }),
  });
}

function resolveSynchronizer(plan: SynchronizerPlan, variable: string, find: FindDevice): SynchronizerPlan {
  if (plan.kind === 'collective') return plan;
  if (plan.staleness > 0 && !plan.sync) {
    throw invalid(
      variable,
      'sync for staleness above 0',
      `staleness ${plan.staleness} without sync`,
      'set "sync": true or "staleness": 0',
    );
  }
  return Object.freeze({ ...plan, device: find(plan.device).resolved });
}

/** A proxy is taken over at the end of a round, and whole. */
function checkProxy(plan: SynchronizerPlan, { variable, gradient }: GradientPair): void {
  if (plan.kind !== 'parameter-server' || !plan.proxy) return;
  if (gradient.kind === 'sparse') {
    const expected = 'no proxy, as its gradient is sparse and only rows of it are read';
    throw invalid(variable.name, expected, '"proxy": true', 'set "proxy": false');
  }
  if (!plan.sync) {
    throw invalid(variable.name, 'sync for a proxy', 'a proxy without sync', 'set "proxy": false');
  }
}

/** What is rounded or left out of slices could not be told from rows that were not touched. Plans of a builder of one's own were never read from JSON. */
function checkCompressor(plan: SynchronizerPlan, { variable, gradient }: GradientPair): void {
  if (plan.kind !== 'collective') return;
  const { compressor, k } = plan;
  if (k !== undefined && compressor !== TOP_K)
    throw invalid(variable.name, `no "k" but with ${TOP_K}`, `it with "${compressor}"`, 'remove it');
  if (k !== undefined && !isPart(k)) throw invalid(variable.name, PART, `"k": ${k}`, 'correct it');
  if (compressor === 'none' || gradient.kind === 'dense') return;
  const expected = 'no compressor, as its gradient is sparse and only rows of it are sent';
  throw invalid(variable.name, expected, `"${plan.compressor}"`, 'set "compressor": "none"');
}

/** A dense gradient has no rows to choose about. */
function checkSparse(plan: SynchronizerPlan, { variable, gradient }: GradientPair): void {
  if (plan.kind !== 'collective' || plan.sparse === undefined || gradient.kind === 'sparse') return;
  throw invalid(variable.name, 'no "sparse", as its gradient is dense', `"${plan.sparse}"`, 'remove it');
}

function checkPartition({ axis, shards }: PartitionPlan, { variable, gradient }: GradientPair): void {
  if (gradient.kind === 'sparse' && axis !== 0) {
    throw invalid(
      variable.name,
      'axis 0, as its gradient is sparse',
      `axis ${axis}`,
      'partition it along axis 0',
    );
  }
  const { shape } = variable;
  const dim = shape?.[axis];
  if (shape !== null && dim === undefined) {
    throw invalid(
      variable.name,
      `an axis below its rank ${shape.length}`,
      `axis ${axis}`,
      'choose another axis',
    );
  }
  if (dim !== undefined && dim >= 0 && shards.length > dim) {
    throw invalid(
      variable.name,
      `at most ${dim} shards along axis ${axis}`,
      String(shards.length),
      'use fewer shards',
    );
  }
}

function resolveReplicas(strategy: Strategy, cluster: ClusterSpec, find: FindDevice): readonly string[] {
  const devices = strategy.replicas.map(find);
  const names = new Set(devices.map((device) => device.resolved));
  if (names.size < devices.length) {
    const twice = devices.find((device, i) => devices.indexOf(device) !== i);
    throw badReplicas('each device once', `${twice?.name} twice`, 'remove the repeated one');
  }
  const idle = cluster.tasks.find(({ index }) => !devices.some((device) => device.task === index));
  if (idle !== undefined) {
    throw badReplicas(
      'a device of every task',
      `none of task ${idle.index}`,
      'add one of its devices, or remove the task from the resource specification',
    );
  }
  return devices.sort((a, b) => a.task - b.task).map((device) => device.resolved);
}

function invalid(variable: string, expected: string, received: string, remedy: string): GradsyncError {
  const details = { expected, received, remedy, variable };
  return new GradsyncError('INVALID_ARGUMENT', `Strategy for variable "${variable}"`, details);
}

function badReplicas(expected: string, received: string, remedy: string): GradsyncError {
  return new GradsyncError('INVALID_ARGUMENT', 'Strategy replicas', { expected, received, remedy });
}
