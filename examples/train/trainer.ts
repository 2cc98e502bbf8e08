/** One training: a session and the sequence of global batches that it is fed with, the same whatever the number of workers. */
import {
  GradsyncError,
  openSession,
  planTraining,
  type RunResult,
  type Session,
  type TensorData,
  type TrainingOptions,
} from '../../src/index.js';
import { batchFeeds, type Dataset, SharedBatches, type Split, shuffledRows } from './dataset.js';
import { type Job, readGraph } from './job.js';
import { IN_FLIGHT, Pipeline } from './pipeline.js';
import type { WorkerBytes } from './table.js';

export interface Schedule {
  readonly batch: number;
  readonly epochs: number;
  readonly strategy: string;
}

/** Weights of runs are compared after so many steps: later, rounding has grown by itself. */
export const COMPARE_AFTER = 100;
const SHUFFLE_SEED = 7;
const TEST_BATCH = 500;

export function trainingOptions(job: Job, workers: number, strategy: string): TrainingOptions {
  const resources = { nodes: [{ address: 'localhost', cpus: [0], tasks: workers }] };
  return { graph: readGraph(job), resources, strategy };
}

/** Throws for a schedule that a job cannot follow, before anything is trained. */
export function checkSchedule(job: Job, data: Dataset, workers: number, schedule: Schedule): void {
  stepsOf(data.train, schedule);
  planTraining(trainingOptions(job, workers, schedule.strategy));
}

export class Trainer {
  readonly workers: number;
  /** Of the whole training. */
  readonly steps: number;
  readonly session: Session;
  readonly #job: Job;
  readonly #data: Dataset;
  readonly #runner: StepRunner;
  readonly #batches: Iterator<Int32Array>;
  #done = 0;
  #loss = NaN;
  #weights: ReadonlyMap<string, TensorData> | undefined;

  private constructor(session: Session, job: Job, data: Dataset, schedule: Schedule) {
    this.workers = session.taskCount;
    this.steps = stepsOf(data.train, schedule);
    this.session = session;
    this.#job = job;
    this.#data = data;
    this.#runner = new StepRunner(session, job, data.train, this.workers, schedule.batch);
    this.#batches = globalBatches(data.train.count, schedule);
  }

  /** `trace` is a file for the session's trace. */
  static async open(
    job: Job,
    data: Dataset,
    workers: number,
    schedule: Schedule,
    trace?: string,
  ): Promise<Trainer> {
    const options = trainingOptions(job, workers, schedule.strategy);
    return Trainer.of(
      await openSession({ ...options, ...(trace === undefined ? {} : { trace }) }),
      job,
      data,
      schedule,
    );
  }

  /** Takes over a session of the job's graph. */
  static async of(session: Session, job: Job, data: Dataset, schedule: Schedule): Promise<Trainer> {
    try {
      await session.initialize();
      return new Trainer(session, job, data, schedule);
    } catch (error) {
      await session.close();
      throw error;
    }
  }

  /** Steps begun so far. */
  get done(): number {
    return this.#done;
  }

  /** Mean loss of the workers in the last step. */
  get loss(): number {
    return this.#loss;
  }

  /** Runs the next steps, fewer at the end of the training or once it is `until` (performance.now); gives how many. */
  async advance(steps: number, until = Infinity): Promise<number> {
    const first = this.#done;
    while (this.#done - first < steps && performance.now() < until) {
      const { value: rows, done } = this.#batches.next();
      if (done === true) break;
      this.#done++;
      await this.#runner.step(rows, (results) => {
        this.#loss = meanLoss(results.map((result) => result[this.#job.loss]));
      });
      if (this.#done === COMPARE_AFTER) this.#weights = await this.session.readVariables();
    }
    await this.#runner.drain();
    return this.#done - first;
  }

  /** Variables after COMPARE_AFTER steps, or as they are if it has not come to that. */
  async weights(): Promise<ReadonlyMap<string, TensorData>> {
    return this.#weights ?? (await this.session.readVariables());
  }

  /** Share of the test examples classified right, in percent. The workers share the work. */
  async accuracy(): Promise<number> {
    const { test } = this.#data;
    const rows = Int32Array.from({ length: test.count }, (_, i) => i);
    const counts = Array.from({ length: this.workers }, async (_, task) => {
      let right = 0;
      for (let start = task * TEST_BATCH; start < test.count; start += this.workers * TEST_BATCH) {
        right += await this.#countRight(task, rows.subarray(start, start + TEST_BATCH));
      }
      return right;
    });
    return (100 * sum(await Promise.all(counts))) / test.count;
  }

  /** What each worker sent and received in a step, the mean of all. */
  bytesPerStep(): readonly WorkerBytes[] {
    return Array.from({ length: this.workers }, (_, task) => {
      const { steps, sent, received } = this.session.traffic(task);
      return { sent: sent / steps, received: received / steps };
    });
  }

  close(): Promise<void> {
    return this.session.close();
  }

  async #countRight(task: number, rows: Int32Array): Promise<number> {
    const { test } = this.#data;
    const { probabilities } = this.#job;
    const request = { feeds: batchFeeds(test, rows), fetches: [probabilities] };
    const result = await this.session.runTask(task, request);
    const values = result[probabilities]!.data as Float32Array;
    const classes = values.length / rows.length;
    return rows.reduce((right, row, i) => {
      const scores = values.subarray(i * classes, (i + 1) * classes);
      return right + (scores.indexOf(Math.max(...scores)) === test.labels[row] ? 1 : 0);
    }, 0);
  }
}

/** Runs steps of a session, with two under way: while one is computed, the next one's data is laid out. */
class StepRunner {
  readonly #session: Session;
  readonly #job: Job;
  readonly #batches: readonly SharedBatches[];
  readonly #pipeline = new Pipeline<readonly RunResult[]>();

  constructor(session: Session, job: Job, split: Split, workers: number, batch: number) {
    this.#session = session;
    this.#job = job;
    const share = batch / workers;
    this.#batches = Array.from({ length: workers }, () => new SharedBatches(split, share, IN_FLIGHT + 1));
  }

  /** Begins the step of a global batch, its rows shared evenly and in order by the workers; resolves when the next may begin. */
  step(rows: Int32Array, done: (results: readonly RunResult[]) => void): Promise<void> {
    const share = rows.length / this.#batches.length;
    const requests = this.#batches.map((batches, k) => ({
      feeds: batches.feeds(rows.subarray(k * share, (k + 1) * share)),
      fetches: [this.#job.loss, this.#job.trainOp],
    }));
    return this.#pipeline.add(this.#session.run(requests), done);
  }

  /** Resolves when all steps are done. */
  drain(): Promise<void> {
    return this.#pipeline.drain();
  }
}

/** The rows of every global batch of every epoch; a last batch that is not full is left out. */
export function* globalBatches(
  count: number,
  { batch, epochs }: Pick<Schedule, 'batch' | 'epochs'>,
): Generator<Int32Array> {
  for (let epoch = 0; epoch < epochs; epoch++) {
    const rows = shuffledRows(count, SHUFFLE_SEED + epoch);
    for (let start = 0; start + batch <= count; start += batch) yield rows.subarray(start, start + batch);
  }
}

function stepsOf(split: Split, { batch, epochs }: Schedule): number {
  if (batch > split.count) {
    throw new GradsyncError('INVALID_ARGUMENT', '--batch', {
      expected: `at most the ${split.count} training examples`,
      received: String(batch),
      remedy: 'take a smaller batch',
    });
  }
  return Math.floor(split.count / batch) * epochs;
}

function meanLoss(losses: readonly (TensorData | undefined)[]): number {
  return sum(losses.map((loss) => Number(loss?.data[0]))) / losses.length;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
