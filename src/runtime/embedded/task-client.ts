/**
 * TaskClient: a task's thread as the session's thread sees it. It owns the worker, matches replies to calls, and knows where the thread is,
 * also when it does not answer any more.
 */
import { Worker } from 'node:worker_threads';
import { errorMessage, type GradsyncError } from '../../errors.js';
import type { TaskTrace } from '../trace.js';
import { BoardRow } from './board.js';
import { placeDetails, printMoment, printPlace, type TaskState } from './failure.js';
import { openTaskGraph } from './lowering/lower.js';
import { decodeError, type FromTask, type TaskOptions, type ToTask, withMessage } from './messages.js';
import { Recorder } from './recorder.js';

/** How long a task may take to say what it gave; one that computes does not answer. */
const ANSWER_MS = 2000;
/** The reply to `opened` has no call number. */
const OPENING = 0;

/** What a client tells whoever owns it. */
export interface TaskEvents {
  /** The task cannot go on. */
  failed(client: TaskClient, report: Extract<FromTask, { kind: 'failed' }>): void;
  /** The thread is no more. */
  died(error: GradsyncError): void;
  /** A round in the background has ended. */
  round(): void;
}

interface Call {
  readonly resolve: (message: FromTask) => void;
  readonly reject: (error: GradsyncError) => void;
}

type Message<Kind extends FromTask['kind']> = Extract<FromTask, { kind: Kind }>;
/** A message without its call number, which the client gives it. */
type Request<M = ToTask> = M extends { readonly call: number } ? Omit<M, 'call'> : never;

/** The kind of the reply to each request. */
interface Replies {
  readonly prepare: 'prepared';
  readonly check: 'checked';
  readonly run: 'done';
  readonly progress: 'progress';
  readonly arrivals: 'arrivals';
}

export class TaskClient {
  readonly task: number;
  readonly worker: Worker;
  readonly #graph: Uint8Array;
  readonly #row: BoardRow;
  readonly #record: SharedArrayBuffer | null;
  readonly #inBackground: boolean;
  readonly #events: TaskEvents;
  readonly #calls = new Map<number, Call>();
  readonly #opened: Promise<FromTask>;
  #lastCall = OPENING;
  #ended = false;

  /** Starts the thread. */
  constructor(options: TaskOptions, events: TaskEvents) {
    this.task = options.task;
    this.#graph = options.graph;
    this.#row = new BoardRow(options.board, options.row);
    this.#inBackground = options.loop !== null;
    this.#record = options.record;
    this.#events = events;
    // Without the program's own flags: what `--import` names is not for threads that run none of its code.
    this.worker = new Worker(new URL('./task-thread.js', import.meta.url), {
      workerData: options,
      execArgv: [],
    });
    this.worker.on('message', (message: FromTask) => this.#receive(message));
    this.worker.on('error', (error) => events.died(this.#died(`died: ${errorMessage(error)}`, error)));
    this.worker.on('exit', (code) => events.died(this.#died(`ended by itself with exit code ${code}`)));
    this.#opened = this.#expect(OPENING);
    // Its rejection is for whoever waits for it.
    this.#opened.catch(() => undefined);
  }

  /** Variables and meetings of the task's graph, once it is open. */
  async opened(): Promise<Message<'opened'>> {
    return (await this.#opened) as Message<'opened'>;
  }

  /** Asks the thread for something. Arrays in `transfer` are handed over. */
  async ask<Kind extends keyof Replies>(
    request: Extract<Request, { kind: Kind }>,
    transfer: ArrayBuffer[] = [],
  ): Promise<Message<Replies[Kind]>> {
    const call = ++this.#lastCall;
    const reply = this.#expect(call);
    this.worker.ref();
    this.worker.postMessage({ ...request, call }, transfer);
    return (await reply) as Message<Replies[Kind]>;
  }

  /** Makes the thread run a program in a loop. That does not keep the process alive. */
  loop(program: number): void {
    this.worker.postMessage({ kind: 'loop', program } satisfies ToTask);
  }

  /** Whether the thread keeps the process alive though nothing was asked of it. */
  keepAlive(isAwaited: boolean): void {
    if (isAwaited) this.worker.ref();
    else if (this.#calls.size === 0 && !this.#ended) this.worker.unref();
  }

  /** Where the task is and, if it answers soon, its traffic with the accumulator or queue of that key. */
  async state(key: string): Promise<TaskState> {
    const whereabouts = this.#whereabouts();
    const answer = this.ask({ kind: 'arrivals', key }).catch(() => undefined);
    const timer = new Promise<undefined>((resolve) => setTimeout(resolve, ANSWER_MS, undefined));
    return { task: this.task, whereabouts, arrival: await Promise.race([answer, timer]) };
  }

  /** Rejects what is under way and ends the thread. */
  async end(reason: GradsyncError): Promise<void> {
    this.#ended = true;
    for (const { reject } of this.#calls.values()) reject(reason);
    this.#calls.clear();
    await this.worker.terminate();
  }

  /** What the thread recorded; undefined if it was not asked to. Call it when the thread has ended. */
  trace(): TaskTrace | undefined {
    if (this.#record === null) return undefined;
    return new Recorder(this.#record).read(this.task, this.#operations());
  }

  #expect(call: number): Promise<FromTask> {
    return new Promise((resolve, reject) => {
      this.#calls.set(call, { resolve, reject });
    });
  }

  #receive(message: FromTask): void {
    if (message.kind === 'failed') {
      this.#events.failed(this, message);
      return;
    }
    if (message.kind === 'round') {
      this.#events.round();
      return;
    }
    const number = message.kind === 'opened' ? OPENING : message.call;
    const call = this.#calls.get(number);
    this.#calls.delete(number);
    // An idle thread does not keep the process alive; one that is being ended does until it has.
    if (this.#calls.size === 0 && !this.#ended) this.worker.unref();
    if (message.kind === 'refused') call?.reject(decodeError(message.error));
    else call?.resolve(message);
  }

  #whereabouts(): string {
    const { step, activity } = this.#row.read();
    if (activity === 'idle') return step === 0 ? 'has begun no step' : `idle after step ${step}`;
    const operation = this.#operation();
    const at = operation === undefined ? '' : ` at "${operation.name}" (${operation.type})`;
    return `${activity === 'step' ? 'in ' : ''}${printMoment(step, activity)}${at}`;
  }

  #died(how: string, cause?: unknown): GradsyncError {
    const { step, activity } = this.#row.read();
    const operation = activity === 'idle' ? undefined : this.#operation();
    const place = { task: this.task, step, activity, inBackground: this.#inBackground, operation };
    const message = `${printPlace(place)}: the task's thread ${how}`;
    return withMessage('ABORTED', message, placeDetails(place), cause);
  }

  /** The operation the thread began last. */
  #operation(): { name: string; type: string } | undefined {
    const { operation } = this.#row.read();
    return operation === undefined ? undefined : this.#operations()[operation];
  }

  /** The graph is decoded for it: only when something went wrong, or at the end. */
  #operations(): { name: string; type: string }[] {
    return [...openTaskGraph(this.#graph).operations()].map(({ name, type }) => ({ name, type }));
  }
}
