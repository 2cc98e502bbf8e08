/** The entry of the rewrite room: a training graph, a strategy and a cluster in; one task's graph and plan out. */
import { type ClusterSpec, taskOf } from '../cluster/cluster-spec.js';
import { encodeEdited, encodeGraphDef } from '../graph/codec/graph-def.js';
import type { Graph } from '../graph/graph.js';
import type { Operation } from '../graph/operation.js';
import { copyTrainingGraph, type TrainingGraph } from '../graph/training-graph.js';
import type { ResolvedStrategy } from '../strategy/strategy.js';
import { supportedPlans } from './check-supported.js';
import { Contributors } from './contributors.js';
import { kindsOf, replicasOf, type TaskKind, taskOfDevice } from './devices.js';
import { runDigest } from './digest.js';
import type { FeedOverride } from './feeds.js';
import { type Draft, PassLog, type RewriteContext, type RunContext } from './pass.js';
import {
  type Prepared,
  prepareDraft,
  prepareKind,
  runTask,
  type Shared,
  splitVariables,
} from './pipeline.js';
import type { Plan, RollCall } from './plan.js';
import type { Replicas } from './replicate.js';
import type { Sending } from './sending.js';

export interface RewriteOptions {
  /** What `--feed` says, by tensor name. */
  readonly feeds?: Readonly<Record<string, FeedOverride>>;
  /** The bytes the training graph was read from, for the digest; the graph is encoded if they are left out. */
  readonly input?: Uint8Array;
  /** What becomes of the others when a task runs out of data; if it is left out, all have data for as many steps. */
  readonly uneven?: RollCall['uneven'] | undefined;
  /** Collects what each pass did. */
  readonly log?: PassLog;
  /**
   * What will run the graph. TensorFlow, if it is left out: its steps may not hold collectives where they use parameter servers too, and
   * each task runs these beside them. Embedded, they stay in the step, which is faster. It is no part of the digest: give all tasks the same.
   */
  readonly runtime?: 'tensorflow' | 'embedded';
}

export interface Rewritten {
  readonly graph: Graph;
  readonly plan: Plan;
  /** The task's replicas in the graph. */
  readonly replicas: Replicas;
  /** Operations after which the task's step is over, and its part of the round. */
  readonly ends: readonly Operation[];
  /** What the task's collectives send. */
  readonly sent: readonly Sending[];
  /** Names of the operations that only the chief's step runs. */
  readonly chiefOnly: readonly string[];
}

/**
 * Rewrites a training graph for one task of a cluster. The training graph is not changed; the same arguments give the same bytes.
 *
 * @throws GradsyncError UNIMPLEMENTED for plans this version cannot carry out, INVALID_ARGUMENT or NOT_FOUND for arguments that do not fit
 * the graph.
 * @example
 * ```ts
 * const { graph, plan } = rewrite(training, resolveStrategy(strategy, training, cluster), cluster, 0);
 * ```
 */
export function rewrite(
  training: TrainingGraph,
  strategy: ResolvedStrategy,
  cluster: ClusterSpec,
  task: number,
  options: RewriteOptions = {},
): Rewritten {
  taskOf(cluster, task);
  const { training: copy } = copyTrainingGraph(training);
  const draft = { graph: copy.graph, training: copy };
  const rewriting = new Rewriting(draft, strategy, cluster, options);
  const [kind] = kindsOf(strategy, [task]);
  return rewriting.prepare(kind!).rewrite(task);
}

/**
 * Rewrites for several tasks in order, and gives what `use` makes of each. What is the same for all is done once, and all are made of the
 * training graph itself, whose edits are taken back: `use` may look at a graph until it returns.
 */
export function rewriteEach<T>(
  training: TrainingGraph,
  strategy: ResolvedStrategy,
  cluster: ClusterSpec,
  tasks: readonly number[],
  options: RewriteOptions,
  use: (rewritten: Rewritten) => T,
): T[] {
  for (const task of tasks) taskOf(cluster, task);
  const { graph } = training;
  return graph.tentatively(() => {
    const rewriting = new Rewriting({ graph, training }, strategy, cluster, options);
    const results = new Map<number, T>();
    for (const kind of kindsOf(strategy, tasks)) {
      graph.tentatively(() => {
        const prepared = rewriting.prepare(kind);
        for (const task of kind.tasks) {
          results.set(
            task,
            graph.tentatively(() => use(prepared.rewrite(task))),
          );
        }
      });
    }
    return tasks.map((task) => results.get(task)!);
  });
}

/** One run's rewriting: the draft, prepared for whichever task. */
class Rewriting {
  readonly #draft: Draft;
  readonly #run: RunContext;
  readonly #shared: Shared;

  constructor(draft: Draft, strategy: ResolvedStrategy, cluster: ClusterSpec, options: RewriteOptions) {
    const input = options.input ?? encodeGraphDef(draft.graph);
    const log = options.log ?? new PassLog();
    // One task alone leaves nobody behind.
    const uneven = cluster.tasks.length > 1 ? options.uneven : undefined;
    const isEmbedded = options.runtime === 'embedded';
    const partitioned = splitVariables(draft, strategy, log);
    this.#draft = { graph: draft.graph, training: partitioned.training };
    const taskCount = cluster.tasks.length;
    const supported = supportedPlans(partitioned.training, partitioned.strategy);
    const isMixed = supported.plans.size > 0 && supported.collectives.size > 0;
    this.#run = {
      strategy: partitioned.strategy,
      cluster,
      taskCount,
      digest: runDigest(input, strategy, cluster, uneven),
      ...supported,
      collectivesInBackground: isMixed && taskCount > 1 && !isEmbedded,
      split: partitioned.split,
      joins: uneven === 'join',
      // In the embedded runtime the session knows who has data.
      rollCall: isEmbedded ? undefined : uneven,
      log,
    };
    this.#shared = prepareDraft(this.#draft, this.#run, new Map(Object.entries(options.feeds ?? {})));
  }

  /** Prepares the draft for the tasks of a kind. */
  prepare({ isChief, devices, tasks }: TaskKind): KindRewriting {
    const { taskCount, strategy, joins } = this.#run;
    const counts = { tasks: taskCount, replicas: strategy.replicas.length };
    const contributors = new Contributors(this.#draft.graph, devices.cpu, counts, joins);
    const context = { ...this.#run, isChief, devices, contributors };
    const prepared = prepareKind(this.#draft, context, this.#shared);
    // What was edited is encoded once, not for each task.
    if (tasks.length > 1) encodeEdited(this.#draft.graph);
    return new KindRewriting(this.#draft, context, this.#shared, prepared);
  }
}

/** The rewriting of tasks of one kind: the draft, prepared for any of them. */
class KindRewriting {
  readonly #draft: Draft;
  readonly #context: RewriteContext;
  readonly #shared: Shared;
  readonly #prepared: Prepared;

  constructor(draft: Draft, context: RewriteContext, shared: Shared, prepared: Prepared) {
    this.#draft = draft;
    this.#context = context;
    this.#shared = shared;
    this.#prepared = prepared;
  }

  /** Makes the draft the graph of one task. */
  rewrite(task: number): Rewritten {
    const { strategy } = this.#context;
    const firstReplica = strategy.replicas.filter((device) => taskOfDevice(device) < task).length;
    const context = { ...this.#context, task, replicas: replicasOf(strategy, task), firstReplica };
    const plan = runTask(this.#draft, context, this.#shared, this.#prepared);
    const { replicas, finishes, chiefOnly, exchanged } = this.#prepared;
    const ends = [
      ...finishes.flatMap(({ operation, background }) => [
        operation,
        ...(background?.run ? [background.run] : []),
      ]),
      ...this.#shared.independent.flatMap(({ last }) => last),
      ...exchanged.background.map(({ run }) => run),
    ];
    return { graph: this.#draft.graph, plan, replicas, ends, sent: exchanged.sent, chiefOnly };
  }
}
