/**
 * Session: runs a rewritten graph under the user's own names: feeds and fetches of the original graph, one request per task. It owns its
 * executor. Every error of a request is found before any task begins the step; a failure during a step ends the session.
 */
import { describe } from '../check.js';
import { GradsyncError } from '../errors.js';
import { AlikeFeeds } from './alike-feeds.js';
import { BackgroundRounds, type LagRecord } from './background-rounds.js';
import { CallQueue } from './call-queue.js';
import { checkPlans } from './check-plans.js';
import { checkCheckpoint, checkRequest, checkRequests } from './check-request.js';
import { restoreSaved, saveState } from './checkpoint.js';
import { type CheckpointFormat, findCheckpoint, formatToSave } from './checkpoint-format.js';
import type { Executor, TensorData, TrafficRecord, VariableInfo } from './executor.js';
import { fedTo, type Prepared, Programs } from './programs.js';
import { combineFetched } from './replica-values.js';
import type { RunPlan } from './request.js';
import { Residuals } from './residuals.js';
import { noPart, type Part, Rounds, type UnevenBatches } from './rounds.js';
import type { SavedSession } from './saved-state.js';
import { checkTrainRequest, type TrainingEnd, type TrainRequest, train, type Uneven } from './train.js';
import { withWholeVariables } from './whole-variables.js';
import { type Counts, countsOf } from './without-data.js';

/** Steps of a training that are under way at once: while one is computed, the next one's data are read. */
const STEPS_IN_FLIGHT = 2;

/** What one task does in one step. Names are those of the original graph. */
export interface RunRequest {
  /** Copied when the run is asked for; arrays in shared memory are not, and may not change until it is done. */
  readonly feeds: Readonly<Record<string, TensorData>>;
  /** Tensors (`loss:0`), whose values come back, and operations (`train_op`), which are run. */
  readonly fetches: readonly string[];
}

export interface CheckpointOptions {
  /** `tensorflow`: that of tf.compat.v1.train.Saver. By default what the path says (see `save` and `restore`). */
  readonly format?: CheckpointFormat;
}

/** Values of the fetched tensors, by the names they were fetched under. */
export type RunResult = Readonly<Record<string, TensorData>>;

export interface SessionSettings {
  /** What becomes of a training step in which tasks, or the replicas of one, get batches of different sizes. Default `refuse`. */
  readonly unevenBatches?: UnevenBatches | undefined;
  /** What becomes of the other tasks when one runs out of data; without it that is an error. */
  readonly uneven?: Uneven | undefined;
}

/** A run that was asked for, as it will be started. */
interface Asked {
  readonly task: number;
  readonly request: RunRequest;
  readonly program: Prepared;
  /** False of a task that runs along with those that have data. */
  readonly hasData: boolean;
}

/**
 * Calls are carried out in the order in which they are made, awaited or not: steps may overlap (each task runs its own one after the
 * other), and every other call begins when those before it have ended. An open session with nothing under way does not keep the process
 * alive.
 */
export class Session {
  readonly #executor: Executor;
  readonly #plans: readonly RunPlan[];
  readonly #programs: Programs;
  readonly #queue = new CallQueue();
  readonly #rounds: Rounds;
  readonly #background: BackgroundRounds;
  readonly #saved: SavedSession;
  readonly #uneven: Uneven | undefined;
  #hasBegun = false;
  readonly #alike: AlikeFeeds;
  /** Keys of variables known to have a value; none loses it. */
  readonly #initialized = new Set<string>();

  /** Takes the executor over. The plans are those of its tasks, in order; plans of different runs are refused. */
  constructor(executor: Executor, plans: readonly RunPlan[], settings: SessionSettings = {}) {
    checkPlans(plans, executor.taskCount);
    this.#executor = withWholeVariables(executor, plans);
    this.#plans = plans;
    this.#alike = new AlikeFeeds(plans);
    this.#programs = new Programs(this.#executor, plans);
    this.#rounds = new Rounds(
      executor.meetings,
      executor.backgroundMeetings,
      settings.unevenBatches ?? 'refuse',
    );
    this.#background = new BackgroundRounds(executor, plans);
    this.#saved = {
      executor: this.#executor,
      rounds: this.#background,
      residuals: new Residuals(this.#executor, plans),
    };
    this.#uneven = settings.uneven;
    if (this.#uneven === 'join') this.#checkJoins();
  }

  get taskCount(): number {
    return this.#plans.length;
  }

  /** Runs the initializers: the chief's first, then the other tasks'. */
  initialize(): Promise<void> {
    return this.#queue.alone(async () => {
      await this.#settle('Initializing');
      await this.#begin();
    });
  }

  /**
   * One step of every task, in parallel; `requests[k]` is task k's, or null if it has no data for the step: then its result is empty.
   *
   * @throws GradsyncError INVALID_ARGUMENT or NOT_FOUND for a bad feed or fetch, or one that must be alike in all tasks and is not, FAILED_PRECONDITION for a variable without a value, or for a
   * task without data that others would wait for (the session goes on); the error that ended the session when a task failed, with task, step
   * and operation in its details.
   */
  async run(requests: readonly (RunRequest | null)[]): Promise<RunResult[]> {
    checkRequests(requests, this.taskCount);
    return this.#inTurn(requests.map((request, task) => ({ task, request })));
  }

  /** One step of one task. Calls for one task may be made without waiting for each other: they run in order. */
  async runTask(task: number, request: RunRequest): Promise<RunResult> {
    this.#plan(task);
    checkRequest(request, task);
    const [result] = await this.#inTurn([{ task, request }]);
    return result!;
  }

  /**
   * Trains until the data end, a few steps under way at once. Where one task runs out before others, what happens is as the session was
   * opened: `stop` ends the training before that step, `join` goes on without the task until all have run out.
   *
   * @throws GradsyncError FAILED_PRECONDITION where data end at different steps and the session was opened for neither, DEADLINE_EXCEEDED
   * naming the task whose batches do not come while others wait; what `run` throws, and what an iterable or `onStep` throws. Steps that were
   * begun have ended by then.
   * @example
   * ```ts
   * const end = await session.train({ batches: [first, second], fetches: ['loss:0', 'train_op'] });
   * console.log(end.steps, end.ended); // [12, 10] [{ task: 1, step: 10 }, { task: 0, step: 12 }]
   * ```
   */
  async train(request: TrainRequest): Promise<TrainingEnd> {
    checkTrainRequest(request, this.taskCount);
    const { deadlineMs, over } = this.#executor;
    return train(
      {
        taskCount: this.taskCount,
        uneven: this.#uneven,
        inFlight: STEPS_IN_FLIGHT + this.#staleness(),
        deadlineMs,
        over,
        meets: (task, each) => this.#meets(task, each),
        run: (requests) => this.run(requests),
        runTask: (task, each) => this.runTask(task, each),
      },
      request,
    );
  }

  /**
   * How stale the reads of a task's training steps have been so far, where the strategy allows staleness: rounds missing in the variables
   * when a step read them. Of two optimizers that train apart each counts its own rounds.
   */
  lags(task = 0): LagRecord {
    this.#plan(task);
    return this.#background.lags(task);
  }

  /**
   * The bytes that a task has sent to others and received from them so far, in the training steps of all tasks (a server sends in the steps
   * of its readers) and in rounds in the background; `steps` are the task's own that have ended. Counted is every tensor that an operation
   * takes from another task's device, once for each device that takes it, in a loop in every iteration, and what collectives send around
   * their ring. It is what `gradsync plan` tells beforehand, and what tasks on machines of their own would send. Initializers and
   * evaluations do not count.
   */
  traffic(task = 0): TrafficRecord {
    this.#plan(task);
    return this.#executor.traffic(task);
  }

  /**
   * The variables that the graph of `task` (by default the chief) knows and that have a value, by name. It waits for steps under way, and
   * until every round is applied that all tasks have contributed to.
   */
  readVariables(task = 0): Promise<ReadonlyMap<string, TensorData>> {
    return this.#queue.alone(async () => {
      await this.#background.settle();
      const result = new Map<string, TensorData>();
      for (const variable of this.#variables(task)) {
        const value = this.#executor.readVariable(variable);
        if (value !== undefined) result.set(variable.name, value);
      }
      return result;
    });
  }

  /**
   * Writes all variables of all tasks, their steps and the state of random numbers: as TensorFlow's checkpoint where that is the format or
   * the path ends like `model.ckpt` or `model.ckpt-1000`, else as a safetensors file. It waits for steps under way, and calls made after it
   * wait for it: made in the middle of a step that other tasks have yet to be asked for, it would wait for them.
   */
  async save(path: string, options: CheckpointOptions = {}): Promise<void> {
    checkCheckpoint(path, options);
    const { format = formatToSave(path) } = options;
    return this.#queue.alone(async () => {
      await this.#settle('Saving');
      await saveState(this.#saved, { format, path });
    });
  }

  /**
   * Gives all variables of all tasks the values of what `save` wrote: training goes on to the same bits. The path is that of a safetensors
   * file, the prefix of TensorFlow's checkpoint (tensor bundle, V2), or a folder, whose latest such checkpoint is taken. One that TensorFlow
   * wrote holds the variables of the program; steps and random numbers then go on as they are.
   */
  async restore(path: string, options: CheckpointOptions = {}): Promise<void> {
    checkCheckpoint(path, options);
    return this.#queue.alone(async () => {
      const place = await findCheckpoint(path, options.format);
      await this.#settle('Restoring');
      // Rounds in the background need a beginning, whatever the variables are.
      if (this.#background.areRun && !this.#hasBegun) await this.#begin();
      await restoreSaved(this.#saved, place);
    });
  }

  /** Ends all threads; runs that are pending reject. May be repeated. */
  close(): Promise<void> {
    return this.#executor.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #settle(asked: string): Promise<void> {
    await this.#background.settle();
    this.#background.checkEven(asked);
  }

  async #begin(): Promise<void> {
    const [chief, ...others] = this.#plans.keys();
    await this.#runInitializers(chief ?? 0);
    await Promise.all(others.map((task) => this.#runInitializers(task)));
    this.#hasBegun = true;
    this.#executor.startBackground();
  }

  async #runInitializers(task: number): Promise<void> {
    for (const operation of this.#plan(task).initializers) {
      const request = {
        feeds: [],
        tensors: [],
        operations: [operation],
        guarded: [],
        initializes: true,
      } as const;
      const { id } = await this.#executor.prepare(task, request);
      await this.#executor.run(task, id, []);
    }
  }

  #variables(task: number): readonly VariableInfo[] {
    this.#plan(task);
    return this.#executor.variables[task] ?? [];
  }

  #plan(task: number): RunPlan {
    // Asked for by programs without types: "0" and "length" are no tasks.
    const plan = Number.isInteger(task) ? this.#plans[task] : undefined;
    if (plan !== undefined) return plan;
    throw new GradsyncError('INVALID_ARGUMENT', 'Task', {
      expected: `a number from 0 to ${this.taskCount - 1}`,
      received: describe(task),
      remedy: 'name a task of the cluster',
    });
  }

  /** A graph that was not rewritten for it waits for every task in every round. */
  #checkJoins(): void {
    const task = this.#plans.findIndex(({ withoutData }) => withoutData === undefined);
    if (task < 0 || this.#executor.meetings.every((shared) => shared.size === 0)) return;
    throw new GradsyncError('FAILED_PRECONDITION', `Plan of task ${task}`, {
      expected: 'one that tells what a task without data does, as { uneven: "join" } asks for',
      received: 'none of that',
      remedy: 'let openSession rewrite the graph, which is told there, or choose { uneven: "stop" }',
      task,
    });
  }

  /** How many rounds a task may be ahead. */
  #staleness(): number {
    const plans = this.#plans.flatMap(({ variables = {} }) => Object.values(variables));
    return Math.max(0, ...plans.map(({ staleness = 0 }) => staleness));
  }

  /** Whether a step of this request waits for other tasks. */
  async #meets(task: number, request: RunRequest): Promise<boolean> {
    checkRequest(request, task);
    const program = await this.#programs.prepare(task, request);
    return this.#rounds.meets(partOf({ task, request, program, hasData: true }));
  }

  /** Starts runs once all of them are prepared, and after those of earlier calls. */
  async #inTurn(asked: readonly { task: number; request: RunRequest | null }[]): Promise<RunResult[]> {
    for (const { task, request } of asked) if (request !== null) checkRequest(request, task);
    const own = asked.flatMap(({ task, request }) =>
      request === null ? [] : [{ task, request: ownRequest(request) }],
    );
    const counts = this.#countsOf(asked);
    const prepared = Promise.all(own.map((run) => this.#prepare(run.task, run.request)));
    // What goes wrong is told in turn.
    prepared.catch(() => undefined);
    return this.#queue.start(async () => {
      const runs = await prepared;
      const absent = asked.flatMap(({ task, request }) => (request === null ? [task] : []));
      runs.push(...(await this.#runAlong(absent, runs)));
      await this.#checkInitialized(runs.flatMap(({ program }) => program.reads));
      const admit = this.#alike.check(
        runs.map(({ task, request, program }) => ({ task, feeds: request.feeds, program })),
      );
      const idle = absent.filter((task) => runs.every((run) => run.task !== task));
      this.#rounds.begin([...runs.map(partOf), ...idle.map(noPart)]);
      admit();
      const results = new Map(runs.map((run) => [run.task, this.#start(run, counts)]));
      return { done: Promise.all(asked.map(({ task }) => results.get(task) ?? {})) };
    });
  }

  async #prepare(task: number, request: RunRequest): Promise<Asked> {
    return { task, request, program: await this.#programs.prepare(task, request), hasData: true };
  }

  /** What tasks without data do in a step of the others, as far as these would wait for them. */
  async #runAlong(absent: readonly number[], runs: readonly Asked[]): Promise<readonly Asked[]> {
    const [first] = runs;
    if (first === undefined || !runs.some((run) => this.#rounds.meets(partOf(run)))) return [];
    const along = await Promise.all(
      absent.map(async (task) => {
        const prepared = await this.#programs.prepareWithoutData(task, first.request);
        return prepared && { task, ...prepared, hasData: false };
      }),
    );
    return along.filter((each) => each !== undefined);
  }

  /** Of a step of all tasks, those that have data; whoever is asked alone is so for all. */
  #countsOf(asked: readonly { task: number; request: RunRequest | null }[]): Counts {
    const isWhole = asked.length === this.taskCount;
    return countsOf(this.#plans.filter((_, task) => !isWhole || asked[task]!.request !== null));
  }

  /** Refuses to read a variable that has no value once everything asked for before has ended. */
  async #checkInitialized(reads: readonly VariableInfo[]): Promise<void> {
    if (this.#firstWithoutValue(reads) === undefined) return;
    await this.#queue.idle();
    const variable = this.#firstWithoutValue(reads);
    if (variable === undefined) return;
    throw new GradsyncError('FAILED_PRECONDITION', `Variable "${variable.name}"`, {
      expected: 'a value',
      received: 'an uninitialized variable',
      remedy: 'call initialize() or restore() before the first step',
      variable: variable.name,
    });
  }

  #firstWithoutValue(reads: readonly VariableInfo[]): VariableInfo | undefined {
    return reads.find((variable) => {
      if (this.#initialized.has(variable.key)) return false;
      if (!this.#executor.hasValue(variable)) return true;
      this.#initialized.add(variable.key);
      return false;
    });
  }

  async #start({ task, request, program }: Asked, counts: Counts): Promise<RunResult> {
    const { id, names } = program;
    const values = await this.#queue.track(this.#executor.run(task, id, fedTo(program, request, counts)));
    for (const lag of values.slice(values.length - names.lags)) this.#background.record(task, lag);
    let first = 0;
    return Object.fromEntries(
      names.tensors.map((target) => {
        const parts = values.slice(first, first + target.count);
        first += target.count;
        return [target.name, combineFetched(parts, target)];
      }),
    );
  }
}

function partOf({ task, request, program, hasData }: Asked): Part {
  const { feeds, fetches } = request;
  const batches = hasData ? program.names.feeds : [];
  const shares = batches.flatMap(({ name, count, split }) =>
    split === null ? [] : [{ feed: name, axis: split, rows: feeds[name]!.shape[split]!, replicas: count }],
  );
  return { task, program, fetches, shares, hasData };
}

/** The request with copies of its arrays, to be handed over to a task. Shared memory is passed as it is. */
function ownRequest({ feeds, fetches }: RunRequest): RunRequest {
  const own = Object.entries(feeds).map(([name, { dtype, shape, data }]): [string, TensorData] => {
    const isShared = ArrayBuffer.isView(data) && data.buffer instanceof SharedArrayBuffer;
    return [name, { dtype, shape, data: isShared ? data : copyOf(name, data) }];
  });
  return { feeds: Object.fromEntries(own), fetches };
}

function copyOf(name: string, data: TensorData['data']): TensorData['data'] {
  try {
    return data.slice() as TensorData['data'];
  } catch (cause) {
    const details = {
      expected: 'an array with its memory',
      received: 'one whose memory was handed over to somebody else',
      remedy: 'feed a copy that was made before',
    };
    throw new GradsyncError('INVALID_ARGUMENT', `Feed "${name}"`, details, { cause });
  }
}
