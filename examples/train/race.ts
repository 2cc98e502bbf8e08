/**
 * Trains a job with one worker and with several, and measures both beside the machine's own ceiling: as many trainings of one worker each,
 * side by side, that do not synchronize. They take turns, a few steps each, and what is compared stands side by side in time: a machine
 * that is slower for some seconds is so for all of them.
 */
import type { Dataset } from './dataset.js';
import type { Job } from './job.js';
import { type Progress, startProgress } from './progress.js';
import { maxDifference, type Row } from './table.js';
import { type Schedule, Trainer } from './trainer.js';

/** Turns of a training. Each has so many steps at least: laying out the first batch and waiting for the last step count little then. */
const TURNS = 20;
const TURN_STEPS = 8;

/** A row for one worker and, if there are more, one for all of them. `trace` is a file for the trace of the latter (or the only one). */
export async function race(
  job: Job,
  data: Dataset,
  workers: number,
  schedule: Schedule,
  trace?: string,
): Promise<Row[]> {
  const counts = workers === 1 ? [1] : [1, workers];
  const trainers = await openAll(counts, (count) =>
    Trainer.open(job, data, count, schedule, count === workers ? trace : undefined),
  );
  const lanes = workers === 1 ? 0 : workers;
  const alone = await openAll(new Array<number>(lanes).fill(1), (count) =>
    Trainer.open(job, data, count, { ...schedule, epochs: Infinity }),
  ).catch(async (error: unknown) => {
    await closeAll(trainers);
    throw error;
  });
  const progress = startProgress(
    job.name,
    trainers.reduce((steps, trainer) => steps + trainer.steps, 0),
  );
  try {
    const rates = await takeTurns(trainers, alone, schedule.batch, progress);
    const rows = await rowsOf(job, trainers, rates);
    progress.finish(rows.map(describe).join('; '));
    return rows;
  } finally {
    progress.stop();
    await closeAll([...trainers, ...alone]);
  }
}

/** Examples per second of each turn. */
interface Rates {
  readonly single: number[];
  readonly many: number[];
  readonly ceiling: number[];
}

async function takeTurns(
  trainers: readonly Trainer[],
  alone: readonly Trainer[],
  batch: number,
  progress: Progress,
): Promise<Rates> {
  const [single, many] = trainers as [Trainer, Trainer | undefined];
  const rates: Rates = { single: [], many: [], ceiling: [] };
  const length = Math.max(TURN_STEPS, Math.ceil(single.steps / TURNS));
  const turn = async (trainer: Trainer): Promise<number> => {
    const begin = performance.now();
    const steps = await trainer.advance(length);
    const rate = (1000 * steps * batch) / (performance.now() - begin);
    const done = trainers.reduce((sum, { done }) => sum + done, 0);
    progress.update(done, `loss ${trainer.loss.toFixed(4)}`);
    return rate;
  };
  while (single.done < single.steps) {
    rates.single.push(await turn(single));
    if (many === undefined) continue;
    rates.many.push(await turn(many));
    rates.ceiling.push((await Promise.all(alone.map(turn))).reduce((sum, rate) => sum + rate));
  }
  return rates;
}

async function rowsOf(job: Job, trainers: readonly Trainer[], rates: Rates): Promise<Row[]> {
  const [single, many] = trainers as [Trainer, Trainer | undefined];
  const examplesPerSecond = median(warm(rates.single));
  const weights = await single.weights();
  const row: Row = {
    name: job.name,
    workers: 1,
    examplesPerSecond,
    speedup: 1,
    ceiling: 1,
    accuracy: await single.accuracy(),
    maxWeightDifference: 0,
    bytesPerStep: single.bytesPerStep(),
  };
  if (many === undefined) return [row];
  const speedup = median(ratios(rates.many, rates.single));
  const other: Row = {
    name: job.name,
    workers: many.workers,
    examplesPerSecond: speedup * examplesPerSecond,
    speedup,
    ceiling: median(ratios(rates.ceiling, rates.single)),
    accuracy: await many.accuracy(),
    maxWeightDifference: maxDifference(weights, await many.weights()),
    bytesPerStep: many.bytesPerStep(),
  };
  return [row, other];
}

/** What was measured in the same turn is compared. */
function ratios(rates: readonly number[], others: readonly number[]): number[] {
  return [...warm(rates.map((rate, i) => rate / others[i]!))];
}

/** Without the first turn, in which code is compiled and heaps grow, and the last, which may be a short one, where enough are left. */
function warm(turns: readonly number[]): readonly number[] {
  return turns.length < 4 ? turns.slice(turns.length > 1 ? 1 : 0) : turns.slice(1, -1);
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return (sorted[Math.ceil(middle) - 1]! + sorted[Math.floor(middle)]!) / 2;
}

function describe({ workers, examplesPerSecond, accuracy }: Row): string {
  const who = workers === 1 ? '1 worker' : `${workers} workers`;
  return `${who}: ${examplesPerSecond.toFixed(0)} examples/s, test accuracy ${accuracy.toFixed(2)} %`;
}

/** All or none: those that are open are closed when another one fails. */
async function openAll(
  counts: readonly number[],
  open: (count: number) => Promise<Trainer>,
): Promise<Trainer[]> {
  const results = await Promise.allSettled(counts.map(open));
  const opened = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const failed = results.find((result) => result.status === 'rejected');
  if (failed === undefined) return opened;
  await closeAll(opened);
  throw failed.reason;
}

async function closeAll(trainers: readonly Trainer[]): Promise<void> {
  await Promise.all(trainers.map((trainer) => trainer.close()));
}
