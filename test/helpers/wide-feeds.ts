/** Feeds of fixtures that look words up: in some steps few, in others most of them, so that tasks sum what is sparse as a dense gradient. */
import { openSession } from '../../src/engine.js';
import type { TensorData } from '../../src/runtime/index.js';
import { fixtureNamed, graphPath, readOracle } from './fixtures.js';
import { joinRows, nodesOf } from './layouts.js';
import { PATIENT_MS } from './patience.js';
import type { FileTensor } from './tensor-file.js';
import { largestDifference, variableTolerance } from './tolerance.js';

export interface WideFixture {
  readonly name: string;
  /** Rows of its table. */
  readonly rows: number;
}

const WORDS = 60;
const named = (names: readonly string[], rows: number): readonly WideFixture[] =>
  names.map((name) => ({ name, rows }));

/** All that has rows that may be combined, with one optimizer after the other. */
export const WIDE: readonly WideFixture[] = [
  ...named(
    [
      'words-sgd.resource',
      'words-momentum.resource',
      'words-nesterov.resource',
      'words-adagrad-v2.resource',
      'words-adam.resource',
      'words-momentum.reference',
      'words-adam.reference',
      'two-optimizers.resource',
      'no-rows.resource',
    ],
    WORDS,
  ),
  { name: 'spam.resource', rows: 500 },
];

/** Whether a step has many rows, by step. */
export const DENSE: readonly boolean[] = [false, true, false, true];

/** Words of a task in a step that has many: more than half of the table, with repeated ones. Others are looked up in other steps only. */
function manyRows({ rows }: WideFixture): number {
  return Math.floor(rows * 0.7);
}

/** Of a task: for one replica or two. */
const EXAMPLES = 4;

/** The same for the same arguments. */
export function wideFeeds(
  wide: WideFixture,
  task: number,
  step: number,
): Readonly<Record<string, FileTensor>> {
  const { rows } = wide;
  const many = manyRows(wide);
  const words = DENSE[step] ? Math.ceil((1.5 * many) / EXAMPLES) : 4;
  const from = DENSE[step] ? 1 : rows - 8;
  const among = DENSE[step] ? many : 7;
  const ids = Int32Array.from(
    { length: EXAMPLES * words },
    (_, i) => from + ((i + 3 * task + 5 * step) % among),
  );
  return {
    'ids:0': { dtype: 'int32', shape: [EXAMPLES, words], data: ids },
    'y:0': { dtype: 'int32', shape: [EXAMPLES], data: Int32Array.from([0, 1, (task + step) % 2, 1]) },
  };
}

type Variables = ReadonlyMap<string, Pick<TensorData, 'data'>>;

/** What one process comes to on the batches of all tasks, after each step. */
export async function trainedAlone(wide: WideFixture, tasks: number): Promise<readonly Variables[]> {
  const fixture = fixtureNamed(wide.name);
  const session = await openSession({
    graph: graphPath(fixture),
    resources: { nodes: nodesOf([1]) },
    strategy: 'ps',
    deadlineMs: PATIENT_MS,
  });
  try {
    await session.initialize();
    const states: Variables[] = [];
    for (const step of DENSE.keys()) {
      const shares = Array.from({ length: tasks }, (_, task) => wideFeeds(wide, task, step));
      const feeds = Object.fromEntries(
        Object.keys(shares[0]!).map((name) => [name, joinRows(shares.map((share) => share[name]!))]),
      );
      await session.run([{ feeds, fetches: [fixture.trainOp] }]);
      states.push(await session.readVariables());
    }
    return states;
  } finally {
    await session.close();
  }
}

/** What is farther from `expected`, after so many steps, than rounding explains, in words. */
export function differencesAfter(
  steps: number,
  { name: fixtureName }: WideFixture,
  expected: Variables,
  actual: Variables,
): readonly string[] {
  const fixture = fixtureNamed(fixtureName);
  const { bounds } = readOracle(fixture, 2)[fixture.steps]!;
  return Object.keys(fixture.state).flatMap((name) => {
    const value = expected.get(name)!.data as Float32Array;
    const difference = largestDifference(actual.get(name)!.data as Float32Array, value);
    const tolerance = variableTolerance(bounds.get(name) ?? 0, value, steps);
    return difference <= tolerance ? [] : [`${name} after ${steps}: ${difference} > ${tolerance}`];
  });
}
