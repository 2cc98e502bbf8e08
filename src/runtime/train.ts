/**
 * Training until the data end. Each task has batches of its own; where they end, the task has run out of data, and what becomes of the others
 * is what the session was opened for: `stop` ends all, `join` lets them go on without it. Who takes part in a step is known before it begins.
 */
import { checkFields, FUNCTION, LIST, optional, type Rule, TEXTS } from '../check.js';
import { GradsyncError } from '../errors.js';
import { type Batches, BatchSource, type Feeds, nextBatches } from './batch-source.js';
import type { RunRequest, RunResult } from './session.js';

export const UNEVEN = ['stop', 'join'] as const;
/** What becomes of the other tasks when one runs out of data. */
export type Uneven = (typeof UNEVEN)[number];

export interface TrainRequest {
  /** One per task. A task whose batches end has run out of data. What was read for a step that does not take place is not used. */
  readonly batches: readonly Batches[];
  /** What every task is asked for in each of its steps; the training operation among it. */
  readonly fetches: readonly string[];
  /**
   * Called after each step, from 1 and in order, with the results of all tasks: none of a task without data. Training goes on when what it
   * returns has settled, and ends if that rejects. Of tasks that train asynchronously, called for each task's steps, with its results alone.
   */
  readonly onStep?: (step: number, results: readonly RunResult[]) => unknown;
}

/** A task that ran out of data. */
export interface TaskEnd {
  readonly task: number;
  /** The last step it had data for, from 1; 0 if it had none at all. */
  readonly step: number;
}

export interface TrainingEnd {
  /** By task, the steps it has contributed to. */
  readonly steps: readonly number[];
  /** The tasks that ran out of data, in the order of steps. Under `stop` others may have more. */
  readonly ended: readonly TaskEnd[];
}

/** What training needs of a session. */
export interface Trainee {
  readonly taskCount: number;
  /** What the session was opened with. */
  readonly uneven: Uneven | undefined;
  /** Steps that may be under way at once. */
  readonly inFlight: number;
  readonly deadlineMs: number;
  /** Aborted when the session ends, with the reason. */
  readonly over: AbortSignal;
  /** Whether the request has its task wait for others. */
  meets(task: number, request: RunRequest): Promise<boolean>;
  run(requests: readonly (RunRequest | null)[]): Promise<RunResult[]>;
  runTask(task: number, request: RunRequest): Promise<RunResult>;
}

const ITERABLE: Rule = {
  expected: 'an iterable of feeds',
  holds: (value) =>
    typeof value === 'object' &&
    value !== null &&
    (Symbol.iterator in value || Symbol.asyncIterator in value),
};

export function checkTrainRequest(request: unknown, tasks: number): void {
  const remedy = 'give { batches: [one iterable of feeds per task], fetches }';
  checkFields('Training', request, { batches: LIST, fetches: TEXTS, onStep: optional(FUNCTION) }, remedy);
  const { batches } = request as { batches: readonly unknown[] };
  const bad = batches.findIndex((each) => !ITERABLE.holds(each));
  if (batches.length === tasks && bad < 0) return;
  throw new GradsyncError('INVALID_ARGUMENT', 'Training, "batches"', {
    expected: `${tasks} iterables of feeds, one per task`,
    received: bad < 0 ? String(batches.length) : `something else for task ${bad}`,
    remedy,
  });
}

/** Trains; see Session.train. */
export async function train(session: Trainee, request: TrainRequest): Promise<TrainingEnd> {
  const sources = request.batches.map((batches, task) => new BatchSource(batches, task));
  const training = new Training(session, request, sources);
  try {
    return await training.run();
  } finally {
    await training.settle();
    await Promise.all(sources.map((source) => source.close()));
  }
}

/** Steps that are under way, of all tasks or of one. Their results are handed out in order. */
class Pipeline {
  readonly #pending: Promise<readonly RunResult[]>[] = [];
  readonly #room: number;
  readonly #onStep: TrainRequest['onStep'];
  #done = 0;

  constructor(room: number, onStep: TrainRequest['onStep']) {
    this.#room = room;
    this.#onStep = onStep;
  }

  /** Resolves when there is room for another one. */
  async add(run: Promise<readonly RunResult[]>): Promise<void> {
    // Its error is thrown where it is waited for.
    run.catch(() => undefined);
    this.#pending.push(run);
    while (this.#pending.length >= this.#room) await this.#next();
  }

  async drain(): Promise<void> {
    while (this.#pending.length > 0) await this.#next();
  }

  /** When nothing is under way any more, whatever comes of it. */
  async settle(): Promise<void> {
    await Promise.allSettled(this.#pending);
  }

  async #next(): Promise<void> {
    const results = await this.#pending[0]!;
    this.#pending.shift();
    await this.#onStep?.(++this.#done, results);
  }
}

class Training {
  readonly #session: Trainee;
  readonly #request: TrainRequest;
  readonly #sources: readonly BatchSource[];
  readonly #pipelines: Pipeline[] = [];
  readonly #steps: number[];
  readonly #ended: TaskEnd[] = [];

  constructor(session: Trainee, request: TrainRequest, sources: readonly BatchSource[]) {
    this.#session = session;
    this.#request = request;
    this.#sources = sources;
    this.#steps = sources.map(() => 0);
  }

  async run(): Promise<TrainingEnd> {
    const first = await this.#next(this.#sources, 1);
    const requests = this.#requests(first);
    const meetings = requests.map((each, task) => each !== null && this.#session.meets(task, each));
    const isApart = !(await Promise.all(meetings)).includes(true) && requests.some((each) => each !== null);
    if (isApart) await this.#apart(first);
    else await this.#together(first);
    return { steps: this.#steps, ended: this.#ended };
  }

  async settle(): Promise<void> {
    await Promise.all(this.#pipelines.map((pipeline) => pipeline.settle()));
  }

  /** Every step is one of all tasks that have data for it. */
  async #together(first: readonly (Feeds | undefined)[]): Promise<void> {
    const pipeline = this.#pipeline();
    for (let step = 1, feeds = first; this.#goesOn(feeds, step); step++) {
      await pipeline.add(this.#session.run(this.#requests(feeds)));
      for (const task of feeds.keys()) if (feeds[task] !== undefined) this.#steps[task]!++;
      feeds = await this.#next(this.#sources, step + 1).catch(async (error: unknown) => {
        await pipeline.drain();
        throw error;
      });
    }
    await pipeline.drain();
    if (this.#session.uneven === undefined) this.#checkEven();
  }

  /** Notes who has run out of data; whether there is a step. */
  #goesOn(feeds: readonly (Feeds | undefined)[], step: number): boolean {
    const known = new Set(this.#ended.map(({ task }) => task));
    for (const task of feeds.keys()) {
      if (feeds[task] === undefined && !known.has(task)) this.#ended.push({ task, step: step - 1 });
    }
    if (this.#ended.length === feeds.length) return false;
    return this.#ended.length === 0 || this.#session.uneven === 'join';
  }

  #checkEven(): void {
    const [first] = this.#ended;
    if (first === undefined || this.#ended.length === this.#sources.length) return;
    const { task, step } = first;
    const more = this.#sources.findIndex((_, other) => this.#ended.every((end) => end.task !== other));
    throw new GradsyncError('FAILED_PRECONDITION', 'Training', {
      expected: 'batches for as many steps on every task',
      received: `${step} on task ${task} and more on task ${more}`,
      remedy:
        'open the session with { uneven: "stop" } to end with the first task that runs out, or { uneven: "join" } to go on without it',
      task,
      step: step + 1,
    });
  }

  /** Tasks that never wait for each other: each goes on by itself. */
  async #apart(first: readonly (Feeds | undefined)[]): Promise<void> {
    const runs = this.#sources.map((source, task) => this.#alone(source, task, first[task]));
    try {
      await Promise.all(runs);
    } finally {
      await Promise.allSettled(runs);
    }
    this.#ended.sort((a, b) => a.step - b.step || a.task - b.task);
  }

  async #alone(source: BatchSource, task: number, first: Feeds | undefined): Promise<void> {
    const pipeline = this.#pipeline();
    const isOver = (): boolean => this.#session.uneven === 'stop' && this.#ended.length > 0;
    for (let feeds = first; !isOver(); [feeds] = await this.#next([source], this.#steps[task]! + 1)) {
      if (feeds === undefined) {
        this.#ended.push({ task, step: this.#steps[task]! });
        break;
      }
      const run = this.#session.runTask(task, { feeds, fetches: this.#request.fetches });
      await pipeline.add(run.then((result) => this.#sources.map((_, each) => (each === task ? result : {}))));
      this.#steps[task]!++;
    }
    await pipeline.drain();
  }

  #pipeline(): Pipeline {
    const pipeline = new Pipeline(this.#session.inFlight, this.#request.onStep);
    this.#pipelines.push(pipeline);
    return pipeline;
  }

  #requests(feeds: readonly (Feeds | undefined)[]): readonly (RunRequest | null)[] {
    return feeds.map((each) => (each === undefined ? null : { feeds: each, fetches: this.#request.fetches }));
  }

  #next(sources: readonly BatchSource[], step: number): Promise<readonly (Feeds | undefined)[]> {
    return nextBatches(sources, step, this.#session);
  }
}
