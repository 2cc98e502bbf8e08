/** Runs rewritten graphs (a folder per task, with graph.pb and plan.json) on real TensorFlow processes: run_plan.py. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TransformResult } from '../../src/engine.js';
import { projectPath } from './paths.js';
import { type FileTensor, readTensors, writeTensors } from './tensor-file.js';
import { runPython } from './tensorflow.js';

export interface PlanRun {
  /** One folder per task, task 0 first. */
  readonly folders: readonly string[];
  readonly steps: number;
  /** Whether a task has data for a step; each has for all if it is left out. */
  readonly hasData?: (task: number, step: number) => boolean;
  /** Original tensor names and values of one task's step. */
  readonly feeds: (task: number, step: number) => ReadonlyMap<string, FileTensor>;
  /** Original names fetched in every step. */
  readonly fetches: readonly string[];
  /** Variable -> tensor the chief reads before the first step, and every task after the last. */
  readonly read: Readonly<Record<string, string>>;
  /** Tensors each task reads of its own before the first and after the last step. */
  readonly own?: readonly string[];
  /** Prefixes of checkpoints: written after the last step, read before the first. */
  readonly save?: string;
  readonly restore?: string;
  /** Holds one task back: it begins step t when t rounds are applied and of the others' gradients as many wait as may. */
  readonly holdBack?: HoldBack;
  /** A task whose process ends in place of this step. */
  readonly dies?: { readonly task: number; readonly step: number };
  /** Whether to tell what the last step sends. */
  readonly sends?: true;
  /** In place of the plan's, milliseconds that one run may take. */
  readonly deadlineMs?: number;
}

export interface HoldBack {
  readonly task: number;
  /** Steps the others may be ahead. */
  readonly ahead: number;
  /** The tensor that tells how many rounds are applied. */
  readonly rounds: string;
  /** Of each other task, the handle of a queue that holds its gradients. */
  readonly queues: readonly string[];
}

/** A tensor that a step sends from one device to another. */
export type Sent = readonly [tensor: string, from: string, to: string];

export interface PlanResult {
  /** Per task: `<step>/<name>`, of `own` `start/<name>` and `end/<name>` -> value. */
  readonly fetched: readonly ReadonlyMap<string, FileTensor>[];
  readonly start: ReadonlyMap<string, FileTensor>;
  /** As the chief reads them. */
  readonly variables: ReadonlyMap<string, FileTensor>;
  /** As each task reads them. */
  readonly variablesOf: readonly ReadonlyMap<string, FileTensor>[];
  /** Of each task's last step, if it was asked for. */
  readonly sent: readonly (readonly Sent[])[];
}

/** A training that failed, with the traceback of each task that noticed something itself. */
export class PlanFailure extends Error {
  /** By task. */
  readonly errors: readonly (string | undefined)[];

  constructor(errors: readonly (string | undefined)[]) {
    super(errors.filter((error) => error !== undefined).join('\n'));
    this.errors = errors;
  }
}

/** Only against a hang: a training takes a second or two. */
const SECONDS_PER_RUN = 240;

/** Writes what each task is given to run into a folder of its own. */
export function writeTasks(root: string, results: readonly TransformResult[]): readonly string[] {
  return results.map(({ graph, plan, withoutData }) => {
    const folder = join(root, `task-${plan.task}`);
    mkdirSync(folder);
    writeFileSync(join(folder, 'graph.pb'), graph);
    if (withoutData !== undefined) writeFileSync(join(folder, plan.rollCall!.withoutData!), withoutData);
    writeFileSync(join(folder, 'plan.json'), JSON.stringify(plan));
    return folder;
  });
}

function attendance(run: PlanRun, task: number): readonly boolean[] {
  return Array.from({ length: run.steps }, (_, step) => run.hasData?.(task, step) ?? true);
}

function writeFeeds(run: PlanRun, out: string, task: number): string {
  const tensors = new Map<string, FileTensor>();
  for (const [step, hasData] of attendance(run, task).entries()) {
    if (!hasData) continue;
    for (const [name, value] of run.feeds(task, step)) tensors.set(`${step}/${name}`, value);
  }
  const path = join(out, `feeds-${task}.tensors`);
  writeTensors(path, tensors);
  return path;
}

/** What run_plan.py is to do for a training. */
function trainingOf(run: PlanRun, out: string) {
  return {
    tasks: run.folders.map((folder, task) => ({
      folder,
      feeds: writeFeeds(run, out, task),
      attends: attendance(run, task),
      ...(run.holdBack?.task === task ? { holdBack: run.holdBack } : {}),
      ...(run.dies?.task === task ? { dies: run.dies.step } : {}),
    })),
    fetch: run.fetches,
    read: run.read,
    own: run.own ?? [],
    ...(run.sends === undefined ? {} : { sends: run.sends }),
    ...(run.save === undefined ? {} : { save: run.save }),
    ...(run.restore === undefined ? {} : { restore: run.restore }),
    ...(run.deadlineMs === undefined ? {} : { deadlineMs: run.deadlineMs }),
    out,
    timeout: SECONDS_PER_RUN,
  };
}

function resultOf(out: string, tasks: number): PlanResult | PlanFailure {
  const paths = Array.from({ length: tasks }, (_, task) => join(out, `error-${task}.txt`));
  const errors = paths.map((path) => (existsSync(path) ? readFileSync(path, 'utf8') : undefined));
  if (errors.some((error) => error !== undefined)) return new PlanFailure(errors);
  const variablesOf = paths.map((_, task) => readTensors(join(out, `variables-${task}.tensors`)));
  return {
    fetched: paths.map((_, task) => readTensors(join(out, `fetches-${task}.tensors`))),
    start: readTensors(join(out, 'start.tensors')),
    variables: variablesOf[0]!,
    variablesOf,
    sent: paths.map((_, task) => sentIn(join(out, `sends-${task}.json`))),
  };
}

function sentIn(path: string): readonly Sent[] {
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Sent[]) : [];
}

/**
 * Runs trainings one after the other, each task a process; a failed one does not keep the next from running. Throws when a training has not
 * ended long after its time.
 */
export async function runPlans(
  python: string,
  runs: readonly PlanRun[],
): Promise<readonly (PlanResult | PlanFailure)[]> {
  const root = mkdtempSync(join(tmpdir(), 'gradsync-plans-'));
  const outs = runs.map((_, index) => join(root, String(index)));
  for (const out of outs) mkdirSync(out);
  const path = join(root, 'trainings.json');
  writeFileSync(path, JSON.stringify(runs.map((run, index) => trainingOf(run, outs[index]!))));
  await runPython(python, [projectPath('test', 'helpers', 'run_plan.py'), path], {
    silenceMs: 2 * SECONDS_PER_RUN * 1000,
  });
  return outs.map((out, index) => resultOf(out, runs[index]!.folders.length));
}
