/** Training the MNIST CNN: several workers against the machine's own ceiling, and one worker against TensorFlow.js. */

import { batchFeeds } from '../examples/train/dataset.js';
import { JOBS, type Job } from '../examples/train/job.js';
import { median } from '../examples/train/race.js';
import { maxDifference } from '../examples/train/table.js';
import { globalBatches, Trainer, trainingOptions } from '../examples/train/trainer.js';
import { type Session, transformAll } from '../src/index.js';
import { summarizeSteps } from '../src/report/index.js';
import { openEmbeddedSession, type TaskTrace } from '../src/runtime/index.js';
import { type BenchCase, type BenchOptions, type BenchRow, summarize, timeInTurn, toRow } from './case.js';
import { openTfjsCnn } from './rivals/tfjs-cnn.js';

const BATCH = 256;
const WORKERS = 2;
const STRATEGY = 'ps-lb';
const SCHEDULE = { batch: BATCH, epochs: Infinity, strategy: STRATEGY };
const VERIFY_STEPS = 10;
const TURN_SECONDS = 0.4;
/** Until then V8 compiles: its threads take a tenth of the machine, which workers in step feel more than those that wait for nobody. */
const WARM_UP_SECONDS = 3;
/** Steps before times are taken from a trace. */
const WARM_UP_STEPS = 20;
/** The two runs sum the same gradients in another order; see examples/train.ts. */
const WEIGHT_BOUND = 1e-5;
const MODEL_WEIGHTS = [
  'conv1/kernel',
  'conv1/bias',
  'conv2/kernel',
  'conv2/bias',
  'dense/kernel',
  'dense/bias',
];

function mnistJob(): Job {
  const job = JOBS.find(({ name }) => name === 'mnist');
  if (job === undefined) throw new Error('the MNIST job is gone');
  return job;
}

/** Milliseconds per step over about `seconds`. */
async function timeFor(trainer: Trainer, seconds: number): Promise<number> {
  const begin = performance.now();
  const steps = await trainer.advance(Infinity, begin + 1000 * seconds);
  return (performance.now() - begin) / steps;
}

async function runSynchronous(size: string, { quick }: BenchOptions): Promise<BenchRow> {
  const job = mnistJob();
  const data = job.read();
  const batch = batchOf(size);
  const open = (workers: number, batch: number): Promise<Trainer> =>
    Trainer.open(job, data, workers, { ...SCHEDULE, batch });
  const openAlone = (batch: number): Promise<Trainer[]> =>
    Promise.all(Array.from({ length: WORKERS }, () => open(1, batch)));
  const together = await open(WORKERS, batch);
  const alone = await openAlone(batch);
  const onShares = await openAlone(batch / WORKERS);
  await requireSameWeights(together, alone[0]!);
  const trainers = [together, ...alone, ...onShares];
  for (const trainer of quick ? [] : trainers) await timeFor(trainer, WARM_UP_SECONDS);
  const times = await takeTurns({ together, alone, onShares }, quick ? 2 : 15);
  await Promise.all(trainers.map((trainer) => trainer.close()));
  const ours = summarize(times.map(({ together }) => together));
  // Compared turn by turn: a machine that is slower for some seconds is so for all of them.
  const inMilliseconds = (other: Exclude<keyof Turn, 'together'>): number =>
    ours.median * median(times.map((turn) => turn[other] / turn.together));
  const ofShares = Math.round((100 * inMilliseconds('onShares')) / ours.median);
  const note =
    `ms per global batch; the limit is ${WORKERS} unsynchronized trainings side by side on batches of ${batch}; ` +
    `of ${WORKERS} on batches of ${batch / WORKERS}, which is what each worker computes, it reaches ${ofShares} %`;
  const head = { case: SYNCHRONOUS, size, rival: '1 worker', note };
  return toRow(head, ours, inMilliseconds('single'), inMilliseconds('alone'));
}

/** Trains both for some steps, and throws where they differ by more than rounding. */
async function requireSameWeights(together: Trainer, single: Trainer): Promise<void> {
  const [many, one] = await Promise.all(
    [together, single].map(async (trainer) => {
      await trainer.advance(VERIFY_STEPS);
      return trainer.session.readVariables();
    }),
  );
  const difference = maxDifference(many!, one!);
  if (difference <= WEIGHT_BOUND) return;
  throw new Error(`weights differ by ${difference} after ${VERIFY_STEPS} steps`);
}

/** Milliseconds per global batch: synchronous, of one worker, and of unsynchronized workers side by side, on whole batches and on shares. */
interface Turn {
  readonly together: number;
  readonly single: number;
  readonly alone: number;
  readonly onShares: number;
}

interface Runners {
  readonly together: Trainer;
  readonly alone: readonly Trainer[];
  readonly onShares: readonly Trainer[];
}

async function takeTurns({ together, alone, onShares }: Runners, turns: number): Promise<Turn[]> {
  const times: Turn[] = [];
  for (let turn = 0; turn < turns; turn++) {
    times.push({
      single: await timeFor(alone[0]!, TURN_SECONDS),
      together: await timeFor(together, TURN_SECONDS),
      alone: await sideBySide(alone),
      onShares: WORKERS * (await sideBySide(onShares)),
    });
  }
  return times;
}

/** Milliseconds in which trainings that run at once do one step between them. */
async function sideBySide(trainers: readonly Trainer[]): Promise<number> {
  const times = await Promise.all(trainers.map((trainer) => timeFor(trainer, TURN_SECONDS)));
  return 1 / times.reduce((rate, milliseconds) => rate + 1 / milliseconds, 0);
}

function batchOf(size: string): number {
  return Number(/\d+$/.exec(size)?.[0]);
}

/** A step of one worker against the sum of its kernels: what the runtime adds of its own. */
async function runOverhead(size: string, { quick }: BenchOptions): Promise<BenchRow> {
  const job = mnistJob();
  const tasks = transformAll(trainingOptions(job, 1, STRATEGY));
  let traces: readonly TaskTrace[] = [];
  const session = await openEmbeddedSession({
    tasks,
    onTrace: (given) => {
      traces = given;
    },
  });
  const trainer = await Trainer.of(session, job, job.read(), { ...SCHEDULE, batch: batchOf(size) });
  await trainer.advance(WARM_UP_STEPS + (quick ? 5 : 200));
  await trainer.close();
  const [times] = summarizeSteps(traces, WARM_UP_STEPS);
  const { period, kernel, copy, update, idle, overhead } = times!;
  const parts = Object.entries({ copy, update, idle, overhead });
  const note = `mean ms per step; the limit is the sum of its kernels; ${parts.map(([part, ms]) => `${part} ${ms.toFixed(2)} ms`).join(', ')}`;
  const head = { case: OVERHEAD, size, rival: 'none', rivalMs: null, ratio: null, note };
  return { ...head, oursMs: period, limitRatio: kernel / period };
}

async function runSingle(size: string, { quick }: BenchOptions): Promise<BenchRow> {
  const job = mnistJob();
  const data = job.read();
  const { session } = await Trainer.open(job, data, 1, SCHEDULE);
  const rival = await openTfjsCnn();
  rival.setWeights(await modelWeights(session));

  const batches = globalBatches(data.train.count, SCHEDULE);
  const step = async (): Promise<{ ours: () => Promise<number>; theirs: () => Promise<number> }> => {
    const feeds = batchFeeds(data.train, batches.next().value as Int32Array);
    return {
      ours: async () =>
        Number((await session.run([{ feeds, fetches: [job.loss, job.trainOp] }]))[0]![job.loss]!.data[0]),
      theirs: () => rival.step(feeds['x:0']!.data as Float32Array, feeds['y:0']!.data as Int32Array),
    };
  };
  for (let i = 0; i < VERIFY_STEPS; i++) {
    const { ours, theirs } = await step();
    requireSameLoss(await ours(), await theirs(), i);
  }
  const { ours, theirs } = await step();
  const times = await timeInTurn({ ours, theirs }, { rounds: quick ? 10 : 100, warmUp: 5 });
  await session.close();
  const note = `ms per batch of ${BATCH}; the first ${VERIFY_STEPS} losses agreed`;
  return toRow(
    { case: SINGLE, size, rival: 'tfjs wasm trainOnBatch', note },
    times.ours,
    times.theirs.median,
    null,
  );
}

async function modelWeights(session: Session): Promise<{ shape: readonly number[]; data: Float32Array }[]> {
  const variables = await session.readVariables();
  return MODEL_WEIGHTS.map((name) => {
    const { shape, data } = variables.get(name)!;
    return { shape, data: data as Float32Array };
  });
}

/** Losses of the same model on the same data; the two place Adam's epsilon differently, which shows from the second step on. */
function requireSameLoss(ours: number, theirs: number, step: number): void {
  const bound = step === 0 ? 1e-5 : 1e-3;
  if (!(Math.abs(ours - theirs) <= bound * Math.abs(theirs))) {
    throw new Error(`losses differ at step ${step}: ${ours} against ${theirs}`);
  }
}

const SYNCHRONOUS = 'mnist cnn, synchronous';
const OVERHEAD = 'mnist cnn, overhead';
const SINGLE = 'mnist cnn, 1 worker';

export const TRAINING_CASES: readonly BenchCase[] = [
  {
    name: SYNCHRONOUS,
    sizes: [64, 128, BATCH, 512].map((batch) => `${WORKERS} workers, batch ${batch}`),
    run: runSynchronous,
  },
  { name: OVERHEAD, sizes: [64, BATCH].map((batch) => `1 worker, batch ${batch}`), run: runOverhead },
  { name: SINGLE, sizes: [`batch ${BATCH}`], run: runSingle },
];
