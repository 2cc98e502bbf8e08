/**
 * A program whose tables are copies on every task and have in some steps few rows of a gradient, in some so many that summing them as a dense
 * gradient is fewer bytes, in some none; and what it comes to, exactly.
 */
import { elementCount } from '../../src/graph/shape.js';
import { type FedProgram, fedProgram, type Gradients, type Slices } from './fed-gradients.js';

/** A matrix, and a vector, rows of which are numbers. */
const SHAPES = { table: [12, 3], numbers: [10] } as const;
type Name = keyof typeof SHAPES;
export const CHOOSING_NAMES = Object.keys(SHAPES) as Name[];

/** Entries of each task in each step, from what row on: repeated ones where there are more than rows. */
const ENTRIES: readonly (readonly number[])[] = [
  [2, 0, 1, 2],
  [20, 11, 15, 18],
  [0, 0, 0, 0],
  [0, 25, 0, 1],
  [3, 1, 2, 2],
  [11, 0, 10, 0],
];
export const CHOOSING_STEPS = ENTRIES.length;
/** Steps in which one task at least has most of the rows. */
export const DENSE_STEPS: ReadonlySet<number> = new Set([1, 3, 5]);

/** A multiple of all numbers of tasks that there may be: means are exact in any order. */
const MULTIPLE = 12;

function slicesOf(name: Name, task: number, step: number): Slices {
  const [count, ...row] = SHAPES[name] as readonly number[];
  const entries = ENTRIES[step]![task]!;
  // Never the last row but one of a table: nobody touches it.
  const rows = Array.from({ length: count! }, (_, i) => i).toSpliced(count! - 2, 1);
  const indices = Array.from({ length: entries }, (_, i) => rows[(5 * i + 2 * task + step) % rows.length]!);
  const values = Array.from({ length: entries * elementCount(row) }, (_, i) => {
    return MULTIPLE * (((i * 37 + task * 11 + step * 5) % 17) - 8);
  });
  return { indices, values };
}

const gradients: Gradients = (task, step) =>
  Object.fromEntries(CHOOSING_NAMES.map((name) => [name, slicesOf(name, task, step)]));

/** Of each table the indices of all tasks, as updates take them. */
export const EXCHANGED: Readonly<Record<Name, string>> = {
  table: 'gradsync/table/exchanged_indices:0',
  numbers: 'gradsync/numbers/exchanged_indices:0',
};

export function choosingProgram(fetches: readonly string[] = Object.values(EXCHANGED)): FedProgram {
  return fedProgram(SHAPES, gradients, CHOOSING_STEPS, { sliced: CHOOSING_NAMES, fetches });
}

/** Entries are no examples: there may be none. */
export const CHOOSING_FEEDS: Readonly<Record<string, 'all'>> = Object.fromEntries(
  CHOOSING_NAMES.flatMap((name) => [
    [`${name}/rows:0`, 'all'],
    [`${name}/fed:0`, 'all'],
  ]),
);

/** Whether a task has data for a step. */
export type Attends = (task: number, step: number) => boolean;
const WITHOUT = new Set(['2 1', '0 3', '0 4', '1 5']);
/** The chief without data for a step with many rows and for one with few; others for one in which they would have few, or none. */
export const ATTENDS: Attends = (task, step) => !WITHOUT.has(`${task} ${step}`);
const ALWAYS: Attends = () => true;

function contributors(tasks: number, step: number, attends: Attends): readonly number[] {
  return Array.from({ length: tasks }, (_, task) => task).filter((task) => attends(task, step));
}

/** A table after all steps. */
export function choosingResult(name: Name, tasks: number, attends = ALWAYS): readonly number[] {
  const values = new Array<number>(elementCount(SHAPES[name])).fill(0);
  const width = elementCount(SHAPES[name].slice(1));
  for (const step of ENTRIES.keys()) {
    const all = contributors(tasks, step, attends);
    for (const task of all) {
      const { indices, values: added } = slicesOf(name, task, step);
      for (const [i, value] of added.entries()) {
        values[indices[Math.floor(i / width)]! * width + (i % width)]! -= value / all.length;
      }
    }
  }
  return values;
}

/** The indices that updates take in a step: of rows in order, where they are summed as a dense gradient, else of each task its own. */
export function exchangedIndices(
  name: Name,
  tasks: number,
  step: number,
  attends = ALWAYS,
): readonly number[] {
  const distinct = contributors(tasks, step, attends).map((task) => [
    ...new Set(slicesOf(name, task, step).indices),
  ]);
  if (!DENSE_STEPS.has(step)) return distinct.flat();
  return [...new Set(distinct.flat())].sort((a, b) => a - b);
}
