/** The committed fixtures: training graphs, their feeds per task and step, and what N synchronous workers must come to. */
import { readFileSync } from 'node:fs';
import { projectPath } from './paths.js';
import { type FileTensor, readTensors } from './tensor-file.js';

/** Names of a gradient's tensors as they leave backpropagation. */
export type FixtureGradient =
  | { readonly dense: string }
  | { readonly indices: string; readonly values: string; readonly denseShape: string | null };

/** One entry of test/fixtures/fixtures.json; all names are the graph's. */
export interface Fixture {
  /** `mnist-cnn-clipped.resource`, for example. */
  readonly name: string;
  /** File name below test/fixtures. */
  readonly graph: string;
  readonly feeds: string;
  readonly steps: number;
  readonly variableKind: 'resource' | 'reference';
  readonly clipNorm: number | null;
  /** Whether an example's loss depends on others of its batch, so that shares and their union differ. */
  readonly mixesExamples: boolean;
  /** Tensor name -> dtype. */
  readonly placeholders: Readonly<Record<string, string>>;
  readonly init: string;
  readonly trainOp: string;
  readonly loss: string;
  /** Trainable variable -> the tensor that reads it. */
  readonly trainable: Readonly<Record<string, string>>;
  /** Every variable, optimizer state and global step included -> the tensor that reads it. */
  readonly state: Readonly<Record<string, string>>;
  /** The strings of the collection gradsync/gradients; empty where discovery must find the pairs. */
  readonly collection: readonly string[];
  readonly gradients: Readonly<Record<string, FixtureGradient>>;
  /** Operation types in the whole graph, saver included. */
  readonly operations: readonly string[];
}

/** Largest number of workers the feeds and the oracle have. */
export const MOST_WORKERS = 3;

export function allFixtures(): readonly Fixture[] {
  return JSON.parse(readFileSync(projectPath('test', 'fixtures', 'fixtures.json'), 'utf8')) as Fixture[];
}

export function fixtureNamed(name: string): Fixture {
  const found = allFixtures().find((fixture) => fixture.name === name);
  if (found === undefined) throw new Error(`no fixture is called ${name}`);
  return found;
}

export function graphPath(fixture: Fixture): string {
  return projectPath('test', 'fixtures', fixture.graph);
}

/**
 * The feeds of every replica and step: `feeds(replica, step)` maps tensor names to values. Steps beyond the last start over; replicas beyond
 * the shares there are take those of the next step.
 */
export function readFeeds(
  fixture: Fixture,
): (replica: number, step: number) => ReadonlyMap<string, FileTensor> {
  const tensors = readTensors(projectPath('test', 'fixtures', 'feeds', `${fixture.feeds}.tensors`));
  const entries = [...tensors].map(([key, tensor]) => {
    const [task, step, name] = key.split('/') as [string, string, string];
    return { task: Number(task), step: Number(step), name, tensor };
  });
  const tasks = 1 + Math.max(...entries.map(({ task }) => task));
  const steps = 1 + Math.max(...entries.map(({ step }) => step));
  return (replica, step) => {
    const wanted = { task: replica % tasks, step: (step + Math.floor(replica / tasks)) % steps };
    return new Map(
      entries
        .filter((entry) => entry.task === wanted.task && entry.step === wanted.step)
        .map(({ name, tensor }) => [name, tensor]),
    );
  };
}

export interface OracleStep {
  /** The loss of each worker before the update; empty for the start. */
  readonly losses: readonly number[];
  /** Trainable variables; at the start and after the last step optimizer state too. */
  readonly variables: ReadonlyMap<string, FileTensor>;
  /** Per variable: the largest change that errors of rounding's size in the gradients made. For variableTolerance. */
  readonly bounds: ReadonlyMap<string, number>;
}

/** Replicas of each task. */
export type Layout = readonly number[];

/** The name of a layout in the oracle's files. */
function layoutName(layout: Layout): string {
  return layout.every((replicas) => replicas === 1) ? String(layout.length) : layout.join('+');
}

/**
 * What synchronous workers come to, one replica each or as a layout says: element 0 is the start, element s the state after s updates.
 */
export function readOracle(
  fixture: Fixture,
  workers: number | Layout,
  folder: string = projectPath('test', 'fixtures', 'oracle'),
): readonly OracleStep[] {
  const wanted = typeof workers === 'number' ? String(workers) : layoutName(workers);
  const base = fixture.name.slice(0, -`.${fixture.variableKind}`.length);
  const steps = Array.from({ length: fixture.steps + 1 }, () => ({
    losses: [] as number[],
    variables: new Map<string, FileTensor>(),
    bounds: new Map<string, number>(),
  }));
  for (const [key, tensor] of readTensors(`${folder}/${base}.tensors`)) {
    const [worker, step, ...rest] = key.split('/') as [string, string, ...string[]];
    if (worker !== wanted) continue;
    const target = steps[Number(step)]!;
    if (rest[0] === 'loss') target.losses.push(Number(tensor.data[0]));
    else if (rest[0] === 'bound') target.bounds.set(rest.slice(1).join('/'), Number(tensor.data[0]));
    else target.variables.set(rest.join('/'), tensor);
  }
  return steps;
}
