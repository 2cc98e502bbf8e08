/**
 * EmbeddedExecutor: runs the tasks of a rewritten graph as worker threads of this process. It owns the threads and the native session
 * through which they meet. The first failure ends everything: native waits, threads, and every call that is pending or comes later.
 */
import type { Worker } from 'node:worker_threads';
import { loadAddon } from '../../addon/load.js';
import type { NativeSession } from '../../addon/native.js';
import { errorMessage, GradsyncError } from '../../errors.js';
import type {
  Executor,
  Meeting,
  PreparedProgram,
  ProgramRequest,
  TaskProgress,
  TensorData,
  TrafficRecord,
  VariableInfo,
} from '../executor.js';
import type { TaskTrace } from '../trace.js';
import { BackgroundLoops } from './background-loops.js';
import { createBoard } from './board.js';
import { missingError } from './failure.js';
import { decodeError, encodeError, type FromTask, withMessage } from './messages.js';
import { createRecord } from './recorder.js';
import { variableSpec } from './resources.js';
import { TaskClient } from './task-client.js';
import { TrafficBoard } from './traffic-board.js';

export interface EmbeddedOptions {
  /** A GraphDef per task. */
  readonly graphs: readonly Uint8Array[];
  /** Of each task, the operations that are run in a loop, each by a thread of its own. None if left out. */
  readonly background?: readonly (readonly string[])[] | undefined;
  /** Milliseconds that one operation may wait for other tasks. Default 60,000. */
  readonly deadlineMs?: number | undefined;
  /** Ends the session when it is aborted. */
  readonly signal?: AbortSignal | undefined;
  /** Called when all threads have ended, with where their time went. Without it nothing is recorded. */
  readonly onTrace?: ((tasks: readonly TaskTrace[]) => void) | undefined;
}

const DEFAULT_DEADLINE_MS = 60_000;

export class EmbeddedExecutor implements Executor {
  readonly deadlineMs: number;
  readonly #over = new AbortController();
  readonly #native: NativeSession;
  readonly #tasks: readonly TaskClient[];
  readonly #loops: BackgroundLoops;
  readonly #onTrace: ((tasks: readonly TaskTrace[]) => void) | undefined;
  readonly #traffic: TrafficBoard;
  #variables: readonly (readonly VariableInfo[])[] = [];
  #meetings: readonly ReadonlySet<string>[] = [];
  /** Why nothing runs any more. */
  #ended: GradsyncError | undefined;
  #closing: Promise<void> | undefined;
  #stopListening = (): void => undefined;

  /** Starts the threads; rejects, leaving nothing behind, if one of them cannot open its graph. */
  static async open(options: EmbeddedOptions): Promise<EmbeddedExecutor> {
    const executor = new EmbeddedExecutor(options);
    try {
      executor.#endOnAbort(options.signal);
      await executor.#opened();
    } catch (error) {
      await executor.close();
      throw error;
    }
    return executor;
  }

  private constructor(options: EmbeddedOptions) {
    const { graphs, deadlineMs = DEFAULT_DEADLINE_MS, onTrace } = options;
    const loops = (options.background ?? []).flatMap((operations, task) =>
      operations.map((operation) => ({ task, operation })),
    );
    this.deadlineMs = deadlineMs;
    this.#onTrace = onTrace;
    this.#native = loadAddon().createSession({ name: 'gradsync' });
    const threads = graphs.length + loops.length;
    this.#traffic = new TrafficBoard(graphs.length, threads);
    const counts = { traffic: this.#traffic.memory, taskCount: graphs.length };
    const shared = { session: this.#native.id, deadlineMs, board: createBoard(threads), ...counts };
    const events = {
      failed: (client: TaskClient, report: Extract<FromTask, { kind: 'failed' }>) =>
        void this.#failed(client, report),
      died: (error: GradsyncError) => this.#end(error),
      round: () => this.#loops.roundEnded(),
    };
    this.#tasks = graphs.map((graph, task) => {
      const record = onTrace === undefined ? null : createRecord();
      return new TaskClient({ ...shared, task, row: task, loop: null, graph, record }, events);
    });
    // Rounds wait for steps as long as there are none: whoever waits for a round has the deadline.
    const unhurried = { ...shared, deadlineMs: Infinity, record: null };
    const clients = loops.map(({ task, operation }, i) => {
      const place = { task, row: graphs.length + i, loop: operation, graph: graphs[task]! };
      return { operation, client: new TaskClient({ ...unhurried, ...place }, events) };
    });
    this.#loops = new BackgroundLoops(clients);
  }

  get taskCount(): number {
    return this.#tasks.length;
  }

  get over(): AbortSignal {
    return this.#over.signal;
  }

  get variables(): readonly (readonly VariableInfo[])[] {
    return this.#variables;
  }

  get meetings(): readonly ReadonlySet<string>[] {
    return this.#meetings;
  }

  get backgroundMeetings(): readonly Meeting[] {
    return this.#loops.meetings;
  }

  startBackground(): void {
    this.#checkOpen();
    this.#loops.start();
  }

  async nextRound(): Promise<void> {
    this.#checkOpen();
    await this.#loops.nextRound();
  }

  /** The task threads, for whoever watches or ends them. */
  get workers(): readonly Worker[] {
    return [...this.#tasks, ...this.#loops.clients].map(({ worker }) => worker);
  }

  async prepare(task: number, request: ProgramRequest): Promise<PreparedProgram> {
    return (await this.#task(task).ask({ kind: 'prepare', request })).program;
  }

  async checkShapes(task: number, program: number, shapes: readonly (readonly number[])[]): Promise<void> {
    await this.#task(task).ask({ kind: 'check', program, shapes });
  }

  async run(task: number, program: number, feeds: readonly TensorData[]): Promise<readonly TensorData[]> {
    return (await this.#task(task).ask({ kind: 'run', program, feeds }, transferable(feeds))).values;
  }

  traffic(task: number): TrafficRecord {
    return this.#traffic.read(task);
  }

  hasValue({ key, dtype, shape }: VariableInfo): boolean {
    this.#checkOpen();
    return named(() => this.#native.variable(key, variableSpec(dtype, shape)).isInitialized);
  }

  readVariable({ key, dtype, shape }: VariableInfo): TensorData | undefined {
    this.#checkOpen();
    return named(() => {
      const native = this.#native.variable(key, variableSpec(dtype, shape));
      if (dtype === 'string' || !native.isInitialized) return undefined;
      const { data, shape: current } = native.read();
      return { dtype, shape: current, data };
    });
  }

  writeVariable({ key, dtype, shape }: VariableInfo, value: TensorData): void {
    this.#checkOpen();
    const { data } = value;
    if (!ArrayBuffer.isView(data)) return;
    named(() => this.#native.variable(key, variableSpec(dtype, shape)).assign(data, value.shape));
  }

  async progress(): Promise<readonly TaskProgress[]> {
    const replies = await Promise.all(
      this.#tasks.map(({ task }) => this.#task(task).ask({ kind: 'progress' })),
    );
    return replies.map((reply) => reply.progress);
  }

  async setProgress(given: readonly TaskProgress[]): Promise<void> {
    await Promise.all(given.map((progress, task) => this.#task(task).ask({ kind: 'progress', progress })));
  }

  close(): Promise<void> {
    this.#end(closedError());
    return this.#closing ?? Promise.resolve();
  }

  async #opened(): Promise<void> {
    if (this.#ended !== undefined) throw this.#ended;
    const opened = await Promise.all(this.#tasks.map((task) => task.opened()));
    this.#variables = opened.map(({ variables }) => variables);
    this.#meetings = sharedKeys(opened.map(({ meetings }) => meetings));
    await this.#loops.opened();
  }

  #endOnAbort(signal: AbortSignal | undefined): void {
    const abort = (): void => {
      const reason = errorMessage(signal?.reason ?? 'aborted');
      this.#end(withMessage('CANCELLED', `Session aborted: ${reason}`, {}, signal?.reason));
    };
    if (signal?.aborted === true) abort();
    signal?.addEventListener('abort', abort);
    this.#stopListening = () => signal?.removeEventListener('abort', abort);
  }

  #task(number: number): TaskClient {
    this.#checkOpen();
    const task = this.#tasks[number];
    if (task === undefined) {
      throw new GradsyncError('INVALID_ARGUMENT', 'Task', {
        expected: `a number from 0 to ${this.#tasks.length - 1}`,
        received: String(number),
        remedy: 'name a task of the cluster',
      });
    }
    return task;
  }

  #checkOpen(): void {
    if (this.#ended !== undefined) throw endedError(this.#ended);
  }

  async #failed({ task }: TaskClient, report: Extract<FromTask, { kind: 'failed' }>): Promise<void> {
    const error = decodeError(report.error);
    if (report.waitedFor === undefined || error.code !== 'DEADLINE_EXCEEDED') {
      this.#end(error);
      return;
    }
    const key = report.waitedFor;
    const states = await Promise.all(this.#tasks.map((other) => other.state(key)));
    this.#end(missingError(error, task, states, this.#loops.clients.length > 0));
  }

  /** Ends everything, once: the first reason is the one that every call gets. */
  #end(reason: GradsyncError): void {
    if (this.#ended !== undefined) return;
    this.#ended = reason;
    this.#stopListening();
    this.#native.close(reason.message);
    this.#loops.end(reason);
    this.#over.abort(reason);
    const all = [...this.#tasks, ...this.#loops.clients];
    this.#closing = Promise.all(all.map((task) => task.end(reason))).then(() => this.#giveTrace());
    // Thrown where the end is waited for, which is in close().
    this.#closing.catch(() => undefined);
  }

  #giveTrace(): void {
    this.#onTrace?.(this.#tasks.flatMap((task) => task.trace() ?? []));
  }
}

/** Per task, the keys that another task has too: what only one of them names, the program uses by itself. */
function sharedKeys(tasks: readonly (readonly string[])[]): ReadonlySet<string>[] {
  const counts = new Map<string, number>();
  for (const key of tasks.flat()) counts.set(key, (counts.get(key) ?? 0) + 1);
  return tasks.map((keys) => new Set(keys.filter((key) => counts.get(key)! > 1)));
}

/** Errors of the native session as our own, with the names of resources in place of their keys. */
function named<T>(use: () => T): T {
  try {
    return use();
  } catch (error) {
    throw decodeError(encodeError(error));
  }
}

const CLOSED = 'one that was closed';

function closedError(): GradsyncError {
  return new GradsyncError('FAILED_PRECONDITION', 'Session', {
    expected: 'an open session',
    received: CLOSED,
    remedy: 'open another one',
  });
}

/** What a call on a session that has ended gets: why it ended, with the first failure as the cause. */
function endedError(first: GradsyncError): GradsyncError {
  if (first.details.received === CLOSED) return closedError();
  return new GradsyncError(
    'FAILED_PRECONDITION',
    'Session',
    {
      ...first.details,
      expected: 'an open session',
      received: `one that has ended because of ${first.code}: ${first.message}`,
      remedy: 'open another one',
    },
    { cause: first },
  );
}

function transferable(feeds: readonly TensorData[]): ArrayBuffer[] {
  return feeds.flatMap(({ data }) =>
    ArrayBuffer.isView(data) && data.buffer instanceof ArrayBuffer ? [data.buffer] : [],
  );
}
