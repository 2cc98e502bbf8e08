/** Trainings in which not every task has data for every step, and what they must come to: the mean over the tasks that have some. */
import type { TensorData } from '../../src/runtime/index.js';
import { type Fixture, type Layout, readOracle } from './fixtures.js';
import { replayLags } from './replay-lags.js';
import type { FileTensor } from './tensor-file.js';
import { largestDifference, variableTolerance } from './tolerance.js';

/** By task: a 1 for each step it has data for. */
export type Schedule = readonly string[];

export type Variables = ReadonlyMap<string, TensorData>;

/** The steps until a task has run out of data. */
export const lastOf = (attended: string): number => attended.lastIndexOf('1') + 1;

export const stepsOf = (schedule: Schedule): number => Math.max(...schedule.map(lastOf));

/** Strategies come to the same. */
const replayed = new Map<string, Promise<Variables>>();

/** What training comes to, without lag, every replica counting the same. */
export function replaySchedule(fixture: Fixture, layout: Layout, schedule: Schedule): Promise<Variables> {
  const lags = schedule.flatMap((attended, task) =>
    Array.from({ length: layout[task]! }, () =>
      Array.from(attended, (each) => (each === '1' ? 0 : undefined)),
    ),
  );
  const key = JSON.stringify([fixture.name, lags]);
  const found = replayed.get(key) ?? replayLags(fixture, lags);
  replayed.set(key, found);
  return found;
}

/** What is farther from `expected` than rounding explains, in words. */
export function differencesFromReplay(
  fixture: Fixture,
  schedule: Schedule,
  expected: Variables,
  actual: ReadonlyMap<string, Pick<TensorData | FileTensor, 'data'>>,
): readonly string[] {
  const { bounds } = readOracle(fixture, 2)[fixture.steps]!;
  return Object.keys(fixture.state).flatMap((name) => {
    const value = expected.get(name)!.data as Float32Array;
    const difference = largestDifference(actual.get(name)!.data as Float32Array, value);
    const tolerance = variableTolerance(bounds.get(name) ?? 0, value, stepsOf(schedule));
    return difference <= tolerance ? [] : [`${schedule}, ${name}: ${difference} > ${tolerance}`];
  });
}
