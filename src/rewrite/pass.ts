/** What every pass is given: the run it works for, the kind of task, and a log. */
import type { ClusterSpec } from '../cluster/cluster-spec.js';
import type { Graph } from '../graph/graph.js';
import type { GradientPair, TrainingGraph } from '../graph/training-graph.js';
import type { CollectivePlan, ParameterServerPlan, ResolvedStrategy } from '../strategy/strategy.js';
import type { Contributors } from './contributors.js';
import type { SplitVariable } from './partition/partition.js';
import type { RollCall } from './plan.js';

/** What holds for all tasks of a run. */
export interface RunContext {
  readonly strategy: ResolvedStrategy;
  readonly cluster: ClusterSpec;
  /** Number of tasks that train; N of the specification. */
  readonly taskCount: number;
  /** Digest of the run: the container of everything the tasks share. */
  readonly digest: string;
  /** Plan of each variable that lives on a server and has a gradient, by name. */
  readonly plans: ReadonlyMap<string, ParameterServerPlan>;
  /** Plan of each of which every task has a copy. */
  readonly collectives: ReadonlyMap<string, CollectivePlan>;
  /** Whether collectives run beside the steps, as these use parameter servers too and TensorFlow may run them. */
  readonly collectivesInBackground: boolean;
  /** Variables that were split, by the names of the program. */
  readonly split: ReadonlyMap<string, SplitVariable>;
  /** Whether tasks may run out of data while others go on. */
  readonly joins: boolean;
  /** What becomes of the others when a task on TensorFlow runs out of data, where that may be. */
  readonly rollCall: RollCall['uneven'] | undefined;
  readonly log: PassLog;
}

/** What holds for all tasks of one kind: the chief, or the workers with as many replicas. */
export interface RewriteContext extends RunContext {
  readonly isChief: boolean;
  readonly devices: TaskDevices;
  readonly contributors: Contributors;
}

/**
 * Device names. Those of a worker's own devices say nothing of job and task (its first replica's is empty): so the graphs of all workers of
 * one kind are the same until the devices are named, last. The chief's are full from the start, as some are servers.
 */
export interface TaskDevices {
  /** Where the task computes: one device per replica. */
  readonly replicas: readonly string[];
  /** CPU of the task: for what has no other kernel. */
  readonly cpu: string;
  /** Where the chief's first replica computes. */
  readonly chiefReplica: string;
  /** CPU of the chief: the token queues, the digest. */
  readonly chiefCpu: string;
}

export interface TaskContext extends RewriteContext {
  /** The task this graph is for. */
  readonly task: number;
  /** Full names of its replicas' devices. */
  readonly replicas: readonly string[];
  /** Replicas on the tasks before it: the number, in the whole run, of its first one. */
  readonly firstReplica: number;
}

/**
 * The copy of the training graph that a rewriting works on. A pass edits the draft it is given and returns what later passes need to know
 * of it. The pipeline verifies the graph after each.
 */
export interface Draft {
  readonly graph: Graph;
  readonly training: TrainingGraph;
}

/** Whether every task has a copy of a pair's variable. */
export function isCollective({ variable }: GradientPair, context: RunContext): boolean {
  return context.collectives.has(variable.name);
}

/** The plan of a pair's variable, which lives on a server. */
export function planOf({ variable }: GradientPair, context: RunContext): ParameterServerPlan {
  return context.plans.get(variable.name)!;
}

/** What each pass did, in order, for people. */
export class PassLog {
  readonly #entries: PassLogEntry[] = [];

  get entries(): readonly PassLogEntry[] {
    return this.#entries;
  }

  add(entry: PassLogEntry): void {
    this.#entries.push(entry);
  }
}

export interface PassLogEntry {
  readonly pass: string;
  /** Operations in the graph before and after. */
  readonly before: number;
  readonly after: number;
}
