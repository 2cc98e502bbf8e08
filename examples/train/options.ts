/** The options of the training job. */
import { existsSync, readFileSync } from 'node:fs';
import { join, parse } from 'node:path';
import { tryWriting } from '../../src/engine/writable.js';
import { invalid, parseLine, SEE_HELP } from './command-line.js';

export interface TrainOptions {
  readonly workers: number;
  /** A name, or a strategy in JSON. */
  readonly strategy: string;
  /** Passes over the training data; undefined leaves each job its own. */
  readonly epochs: number | undefined;
  /** Examples per global batch, shared evenly by the workers; undefined leaves each job its own. */
  readonly batch: number | undefined;
  readonly json: string | undefined;
  /** By the job's name, a file for the trace of its run with all workers. */
  readonly traces: Readonly<Record<string, string>>;
  /** Names of the jobs to run. */
  readonly jobs: readonly string[];
}

export const JOB_NAMES = ['mnist', 'spam'] as const;

export const USAGE = `Usage: npm start -- [options]

Trains an MNIST CNN and an e-mail spam classifier with 1 worker and with several, and compares.

  --workers <n>      workers of the second run (default 2, at most 64)
  --strategy <name>  how gradients are aggregated: a name such as ps or ps-lb, or a JSON file (default ps-lb)
  --epochs <n>       passes over the training data (default: each job's own)
  --batch <n>        examples per global batch, a multiple of the workers (default: each job's own)
  --job <name>       only this job: ${JOB_NAMES.join(' or ')}; may be repeated
  --json <file>      writes the table as JSON
  --trace <file>     writes where the time of the run with all workers goes, for chrome://tracing or ui.perfetto.dev; with both jobs
                     one file for each, <file> with the job's name before the extension
  --help
`;

export function parseOptions(args: readonly string[]): TrainOptions | 'help' {
  const values = parseLine(args);
  if (values.help === true) return 'help';
  const workers = positiveInteger('--workers', values.workers ?? '2', 64);
  const batch = values.batch === undefined ? undefined : positiveInteger('--batch', values.batch, 10_000);
  if (batch !== undefined && batch % workers !== 0) {
    throw invalid(
      '--batch',
      `a multiple of the ${workers} workers`,
      String(batch),
      'every worker takes an equal share',
    );
  }
  const jobs = jobNames(values.job);
  return {
    workers,
    batch,
    strategy: readStrategy(values.strategy ?? 'ps-lb'),
    epochs: values.epochs === undefined ? undefined : positiveInteger('--epochs', values.epochs, 1000),
    json: writable('--json', values.json),
    traces: traceFiles(values.trace, jobs),
    jobs,
  };
}

function positiveInteger(option: string, text: string, max: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= 1 && value <= max) return value;
  throw invalid(option, `a whole number from 1 to ${max}`, `"${text}"`, SEE_HELP);
}

/** A name or JSON as it is; a file's text. */
function readStrategy(given: string): string {
  if (!existsSync(given)) return given;
  try {
    return readFileSync(given, 'utf8');
  } catch (error) {
    throw invalid(
      '--strategy',
      'a name or a file with a strategy in JSON',
      `"${given}"`,
      (error as Error).message,
    );
  }
}

/** Refuses a file that cannot be written before anything is trained. */
function writable(option: string, file: string | undefined): string | undefined {
  if (file === undefined) return undefined;
  try {
    tryWriting(file);
    return file;
  } catch (error) {
    throw invalid(option, 'a file that can be written', `"${file}"`, (error as Error).message);
  }
}

/** The file of `--trace`; where there are several jobs, one for each with its name before the extension. */
function traceFiles(file: string | undefined, jobs: readonly string[]): Readonly<Record<string, string>> {
  if (file === undefined) return {};
  const { dir, name, ext } = parse(file);
  const fileOf = (job: string): string => (jobs.length === 1 ? file : join(dir, `${name}.${job}${ext}`));
  return Object.fromEntries(jobs.map((job) => [job, writable('--trace', fileOf(job))!]));
}

function jobNames(chosen: readonly string[] | undefined): readonly string[] {
  for (const name of chosen ?? []) {
    if (!JOB_NAMES.some((known) => known === name)) {
      throw invalid('--job', JOB_NAMES.join(' or '), `"${name}"`, SEE_HELP);
    }
  }
  return chosen === undefined ? JOB_NAMES : JOB_NAMES.filter((name) => chosen.includes(name));
}
