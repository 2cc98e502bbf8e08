/** Rewriting in one line, for tests: a training graph, a number of tasks on this machine, a strategy by name. */
import { type ClusterSpec, parseResourceSpec, resolveCluster } from '../../src/cluster/index.js';
import type { Graph } from '../../src/graph/graph.js';
import type { Operation } from '../../src/graph/operation.js';
import type { TrainingGraph } from '../../src/graph/training-graph.js';
import { ancestors } from '../../src/graph/traverse.js';
import { type RewriteOptions, type Rewritten, rewrite } from '../../src/rewrite/index.js';
import { findBuilder, type ResolvedStrategy, resolveStrategy, summarize } from '../../src/strategy/index.js';

/** `devices`: what each task computes on, e.g. `cpus: [0, 1]` for two replicas. */
export function clusterOf(tasks: number, devices = 'cpus: [0]'): ClusterSpec {
  return resolveCluster(
    parseResourceSpec(`nodes: [{address: localhost, port: 15000, tasks: ${tasks}, ${devices}}]`),
  );
}

export function strategyFor(
  training: TrainingGraph,
  tasks: number,
  strategy = 'ps-lb',
  cluster = clusterOf(tasks),
): ResolvedStrategy {
  return resolveStrategy(findBuilder(strategy).build(summarize(training), cluster), training, cluster);
}

export interface RewriteSettings {
  readonly strategy?: string;
  /** As of clusterOf. */
  readonly devices?: string;
}

/** One task's graph and plan. */
export function rewrittenFor(
  training: TrainingGraph,
  tasks: number,
  task: number,
  { strategy = 'ps-lb', devices, ...options }: RewriteOptions & RewriteSettings = {},
): Rewritten {
  const cluster = clusterOf(tasks, devices);
  return rewrite(training, strategyFor(training, tasks, strategy, cluster), cluster, task, options);
}

/** Types of all that runs when an operation is fetched. */
export function typesRunBy(graph: Graph, name: string): ReadonlySet<string> {
  return new Set([...ancestors([graph.get(name)])].map(({ type }) => type));
}

/** Names of an operation's inputs, control inputs with `^`, sorted. */
export function inputNames({ inputs, controlInputs }: Operation): readonly string[] {
  return [
    ...inputs.map(({ operation }) => operation.name),
    ...controlInputs.map(({ name }) => `^${name}`),
  ].sort();
}
