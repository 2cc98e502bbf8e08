/** The main job: trains both models with one worker and with several, and shows what aggregation costs and that it changes nothing. */
import { writeFileSync } from 'node:fs';
import { errorMessage, GradsyncError } from '../src/index.js';
import type { Dataset } from './train/dataset.js';
import { JOBS, type Job } from './train/job.js';
import { parseOptions, type TrainOptions, USAGE } from './train/options.js';
import { race } from './train/race.js';
import { printBytes, printTable, type Row } from './train/table.js';
import { COMPARE_AFTER, checkSchedule, type Schedule } from './train/trainer.js';

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2));
  if (options === 'help') {
    process.stdout.write(USAGE);
    return;
  }
  const chosen = JOBS.filter(({ name }) => options.jobs.includes(name)).map((job) => prepare(job, options));
  const rows: Row[] = [];
  for (const { job, data, schedule } of chosen) {
    process.stderr.write(`\n${job.title}\n`);
    rows.push(...(await race(job, data, options.workers, schedule, options.traces[job.name])));
  }
  process.stdout.write(`\n${printTable(rows)}\n\n`);
  const bytes = printBytes(rows);
  if (bytes !== '') process.stdout.write(`${bytes}\n\n`);
  process.stdout.write(
    'speed-up: against 1 worker on the same global batches; ceiling: that of as many unsynchronized trainings side by side;\n' +
      `max weight difference: against 1 worker, after ${COMPARE_AFTER} steps; bytes: counted while the steps ran, as gradsync plan tells them beforehand.\n`,
  );
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify({ jobs: rows }, null, 2)}\n`);
}

interface PreparedJob {
  readonly job: Job;
  readonly data: Dataset;
  readonly schedule: Schedule;
}

/** Reads the data and checks what can be checked, so that no job is trained in vain before another refuses. */
function prepare(job: Job, { workers, strategy, batch, epochs }: TrainOptions): PreparedJob {
  const schedule = {
    batch: batch ?? roundUp(job.batch, workers),
    epochs: epochs ?? job.epochs,
    strategy,
  };
  const data = job.read();
  checkSchedule(job, data, workers, schedule);
  return { job, data, schedule };
}

function roundUp(batch: number, workers: number): number {
  return Math.ceil(batch / workers) * workers;
}

try {
  await main();
} catch (error) {
  const code = error instanceof GradsyncError ? `${error.code}: ` : '';
  process.stderr.write(`${code}${errorMessage(error)}\n`);
  process.exitCode = 1;
}
