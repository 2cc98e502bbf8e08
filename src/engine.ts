/**
 * The composition root: the only file that knows all rooms. From a training graph, a resource specification and a strategy to rewritten
 * graphs, on disk or running.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import {
  type ClusterSpec,
  isLoopback,
  makeResourceSpec,
  parseResourceSpec,
  type ResourceInput,
  type ResourceSpec,
  resolveCluster,
  taskOf,
} from './cluster/index.js';
import {
  checkBuilder,
  checkBuilt,
  checkSessionOptions,
  checkTrainingOptions,
  checkTransformOptions,
  type SessionOptions,
  type TrainingOptions,
  type TransformOptions,
} from './engine/options.js';
import { tryWriting } from './engine/writable.js';
import { fileError, GradsyncError } from './errors.js';
import { decodeGraphFile, encodeGraphDef, readTrainingGraph, type TrainingGraph } from './graph/index.js';
import { printChromeTrace } from './report/index.js';
import {
  leaveOutData,
  type Overview,
  overviewOfRun,
  overviewOfTask,
  type Plan,
  type RewriteOptions,
  type Rewritten,
  rewriteEach,
  withFetches,
} from './rewrite/index.js';
import type { Session, TaskTrace } from './runtime/index.js';
import {
  type BuilderChoice,
  builderOf,
  decodeStrategy,
  findBuilder,
  type ResolvedStrategy,
  resolveStrategy,
  type Strategy,
  type StrategyBuilder,
  summarize,
} from './strategy/index.js';

export type { SessionOptions, TrainingOptions, TransformOptions } from './engine/options.js';
export type { Overview, StepBytes, TaskTraffic } from './rewrite/index.js';
export { UNEVEN } from './runtime/train.js';

export interface TransformResult {
  /** The rewritten graph: a GraphDef in binary form. */
  readonly graph: Uint8Array;
  /** What to run of it, and how. */
  readonly plan: Plan;
  /** What the task runs in steps for which it has no data while others have some (`plan.rollCall`), where it then has something to do: a GraphDef. */
  readonly withoutData?: Uint8Array;
  /** The strategy as its builder made it. */
  readonly strategy: Strategy;
  /** Names of the operations of the graph that was read. */
  readonly operations: readonly string[];
}

type TaskFiles = Pick<TransformResult, 'graph' | 'plan' | 'withoutData'>;
type Runtime = NonNullable<RewriteOptions['runtime']>;

/** Everything that all tasks of a run share. */
interface Run {
  readonly options: TrainingOptions;
  /** What the digest of the run is taken over, with strategy and cluster. */
  readonly input: Uint8Array;
  readonly training: TrainingGraph;
  readonly operations: readonly string[];
  readonly cluster: ClusterSpec;
  readonly strategy: Strategy;
  readonly resolved: ResolvedStrategy;
}

/**
 * Rewrites a training graph for one task of a cluster.
 *
 * @throws GradsyncError: bad input (INVALID_ARGUMENT, DATA_LOSS, NOT_FOUND), a task that does not exist (OUT_OF_RANGE), a plan that this
 * version cannot carry out (UNIMPLEMENTED).
 * @example
 * ```ts
 * const resources = { nodes: [{ address: 'localhost', tasks: 2 }] };
 * const { graph, plan } = transform({ graph: 'model.meta', resources, strategy: 'ps-lb', task: 0 });
 * ```
 */
export function transform(options: TransformOptions): TransformResult {
  checkTransformOptions(options);
  const run = prepare(options, options.task);
  const [files] = encodeTasks(run, [options.task]);
  return withInput(files!, run);
}

/** As transform, for every task of the cluster in order; the graph is read once. */
export function transformAll(options: TrainingOptions): TransformResult[] {
  checkTrainingOptions(options);
  const run = prepare(options, 0);
  return encodeTasks(run, allTasks(run)).map((files) => withInput(files, run));
}

/**
 * What transformAll would decide for each variable, and what a step would then send between tasks; nothing is encoded or run.
 *
 * @throws GradsyncError as transformAll does.
 * @example
 * ```ts
 * const { variables } = planTraining({ graph: 'model.meta', resources: 'cluster.yml', strategy: 'ps-lb' });
 * ```
 */
export function planTraining(options: TrainingOptions): Overview {
  checkTrainingOptions(options, 'planTraining');
  const run = prepare(options, 0);
  return overviewOfRun(
    rewriteTasks(run, allTasks(run), (rewritten) => {
      withFetches(rewritten, options.fetches ?? []);
      return overviewOfTask(rewritten);
    }),
  );
}

function withInput(files: TaskFiles, { strategy, operations }: Run): TransformResult {
  return { ...files, strategy, operations };
}

/**
 * Rewrites a training graph for every task of a cluster on this machine and opens it in the embedded runtime: one worker thread per task.
 * An open session with nothing under way does not keep the process alive; close it when done, to have its threads and memory back.
 *
 * @throws GradsyncError as transform does, and UNIMPLEMENTED listing the operations that the embedded runtime does not know.
 * @example
 * ```ts
 * const resources = { nodes: [{ address: 'localhost', tasks: 2 }] };
 * const session = await openSession({ graph: 'model.meta', resources, strategy: 'ps-lb' });
 * await session.initialize();
 * await session.close();
 * ```
 */
export async function openSession(options: SessionOptions): Promise<Session> {
  checkSessionOptions(options);
  const run = prepare(options, 0);
  requireOneMachine(run.cluster);
  const tasks = encodeTasks(run, allTasks(run), 'embedded');
  const { deadlineMs, signal, trace, unevenBatches, uneven } = options;
  if (trace !== undefined) requireWritable(trace);
  // Loaded here, not above: rewriting alone needs neither TensorFlow.js nor the addon.
  const { openEmbeddedSession } = await import('./runtime/index.js');
  return openEmbeddedSession({
    tasks,
    ...(deadlineMs === undefined ? {} : { deadlineMs }),
    ...(signal === undefined ? {} : { signal }),
    ...(unevenBatches === undefined ? {} : { unevenBatches }),
    ...(uneven === undefined ? {} : { uneven }),
    ...(trace === undefined ? {} : { onTrace: (tasks) => writeTrace(trace, tasks) }),
  });
}

/** Told before anything is trained, not after. */
function requireWritable(trace: string): void {
  try {
    tryWriting(trace);
  } catch (cause) {
    throw fileError('Writing the trace', trace, cause);
  }
}

function writeTrace(file: string, tasks: readonly TaskTrace[]): void {
  try {
    writeFileSync(file, printChromeTrace(tasks));
  } catch (cause) {
    throw fileError('Writing the trace', file, cause);
  }
}

/** The embedded runtime is one process; a cluster of several machines would silently shrink to this one. */
function requireOneMachine({ tasks }: ClusterSpec): void {
  const addresses = [...new Set(tasks.map(({ address }) => (isLoopback(address) ? 'localhost' : address)))];
  if (addresses.length === 1) return;
  throw new GradsyncError('UNIMPLEMENTED', 'Embedded session', {
    expected: 'tasks on one machine',
    received: `the addresses ${addresses.join(', ')}`,
    remedy:
      'give one node with "tasks: n", or run the cluster on TensorFlow (gradsync transform writes what that needs)',
  });
}

/** Cheap questions first: a mistyped strategy is told before a large graph is read. */
function prepare(options: TrainingOptions, task: number): Run {
  const cluster = resolveCluster(readResources(options.resources));
  taskOf(cluster, task);
  const builder = chosenBuilder(options.strategy);
  const { graph, gradients = [] } = options;
  const bytes = typeof graph === 'string' ? readFile('Reading the graph', graph) : graph;
  const meta = decodeGraphFile(bytes, typeof graph === 'string' ? graph : undefined);
  const examples = Object.entries(options.feeds ?? {}).flatMap(([name, feed]) =>
    feed === 'all' ? [] : [name],
  );
  const training = readTrainingGraph(meta, { gradients, examples });
  const input = withPairs(bytes, gradients);
  const strategy = builder.build(summarize(training), cluster);
  const resolved = resolveStrategy(strategy, training, cluster);
  const operations = [...training.graph.operations()].map(({ name }) => name);
  return { options, input, training, operations, cluster, strategy, resolved };
}

/** Pairs that were given are input like the graph: tasks that were given different ones must not meet. */
function withPairs(bytes: Uint8Array, gradients: readonly string[]): Uint8Array {
  return gradients.length === 0
    ? bytes
    : Buffer.concat([bytes, Buffer.from(JSON.stringify([...gradients].sort()))]);
}

function rewriteTasks<T>(
  { options, input, training, cluster, resolved }: Run,
  tasks: readonly number[],
  use: (rewritten: Rewritten) => T,
  runtime: Runtime = 'tensorflow',
): T[] {
  const { feeds = {}, uneven } = options;
  // In the embedded runtime it is the session that stops.
  const ofGraph = runtime === 'embedded' && uneven === 'stop' ? undefined : uneven;
  const settings = { input, feeds, uneven: ofGraph, runtime };
  return rewriteEach(training, resolved, cluster, tasks, settings, use);
}

function encodeTasks(run: Run, tasks: readonly number[], runtime?: Runtime): TaskFiles[] {
  return rewriteTasks(run, tasks, (rewritten) => encode(rewritten, run.options), runtime);
}

function allTasks({ cluster }: Run): readonly number[] {
  return cluster.tasks.map(({ index }) => index);
}

/** The graph is edited last: it stands until it is rewritten for the next task. */
function encode(rewritten: Rewritten, { fetches = [] }: TrainingOptions): TaskFiles {
  const { graph } = rewritten;
  const files = { graph: encodeGraphDef(graph), plan: withFetches(rewritten, fetches) };
  if (files.plan.rollCall?.withoutData === undefined) return files;
  leaveOutData(graph, files.plan);
  return { ...files, withoutData: encodeGraphDef(graph) };
}

function readResources(resources: ResourceInput | string): ResourceSpec {
  if (typeof resources !== 'string') return makeResourceSpec(resources);
  const text = Buffer.from(readFile('Reading the resource specification', resources)).toString('utf8');
  return parseResourceSpec(text, resources);
}

function chosenBuilder(strategy: string | BuilderChoice | Strategy | StrategyBuilder): StrategyBuilder {
  if (typeof strategy === 'string') return findBuilder(strategy);
  if ('build' in strategy) {
    checkBuilder(strategy.build);
    return checkedBuilder(strategy);
  }
  // One that was resolved is a strategy with a field more.
  const { resolved: _, ...plain } = strategy as Strategy & { resolved?: unknown };
  return builderOf(plain);
}

/** One of the caller's own, whose strategies are read as strictly as JSON. */
function checkedBuilder(builder: StrategyBuilder): StrategyBuilder {
  const { name } = builder;
  return {
    name,
    build(summary, cluster) {
      const strategy = builder.build(summary, cluster);
      checkBuilt(name, strategy);
      return decodeStrategy(strategy);
    },
  };
}

function readFile(subject: string, file: string): Uint8Array {
  try {
    return readFileSync(file);
  } catch (cause) {
    throw fileError(subject, file, cause);
  }
}
