/**
 * Rows of sparse gradients that are gathered in steps that have few and summed as a dense gradient in steps that have many, on real TensorFlow:
 * all gRPC processes take the same branch, also where one has no data, and come to the same bits.
 */
import { readFileSync } from 'node:fs';
import test from 'ava';
import {
  ATTENDS,
  type Attends,
  CHOOSING_NAMES,
  CHOOSING_STEPS,
  choosingProgram,
  choosingResult,
  EXCHANGED,
  exchangedIndices,
} from '../helpers/choosing-program.js';
import { fixtureNamed, graphPath, type Layout } from '../helpers/fixtures.js';
import { findTensorflow, TENSORFLOW_TEST_MS } from '../helpers/tensorflow.js';
import { type FedCase, type ResultOf, runCases } from '../helpers/training-cases.js';
import {
  DENSE,
  differencesAfter,
  trainedAlone,
  WIDE,
  type WideFixture,
  wideFeeds,
} from '../helpers/wide-feeds.js';

/** Whether a step sums rows as a dense gradient. */
const IS_MANY = 'gradsync/embedding/is_many:0';

interface ChoosingCase extends FedCase {
  readonly attends?: Attends;
}

function choosing(tasks: number, attends?: Attends): ChoosingCase {
  const layout = new Array<number>(tasks).fill(1);
  const joins =
    attends === undefined ? {} : ({ uneven: 'join', more: { hasData: attends }, attends } as const);
  return { program: choosingProgram(), strategy: 'all-reduce', layout, ...joins };
}

const CHOOSING = [choosing(2), choosing(3), choosing(4), choosing(2, ATTENDS), choosing(3, ATTENDS)];

interface WideCase extends FedCase {
  readonly wide: WideFixture;
}

function wideCase(name: string, layout: Layout): WideCase {
  const wide = WIDE.find((each) => each.name === name)!;
  const fixture = fixtureNamed(name);
  const program = {
    graph: readFileSync(graphPath(fixture)),
    gradients: [],
    steps: DENSE.length,
    feeds: (task: number, step: number) => new Map(Object.entries(wideFeeds(wide, task, step))),
    fetches: [fixture.trainOp, IS_MANY],
    read: fixture.state,
  };
  return { wide, program, strategy: 'all-reduce', layout };
}

const TRAINED = [
  wideCase('words-momentum.resource', [1, 1, 1]),
  wideCase('words-adam.reference', [1, 1]),
  wideCase('words-adagrad-v2.resource', [2, 2]),
  wideCase('spam.resource', [1, 1]),
];

const tensorflow = findTensorflow();
let resultOf: ResultOf;

if (tensorflow.found) {
  test.before('training on TensorFlow', async (t) => {
    t.timeout(TENSORFLOW_TEST_MS);
    resultOf = await runCases(tensorflow.python, [...CHOOSING, ...TRAINED]);
  });
}

const declare = tensorflow.found ? test : test.skip;
const reason = tensorflow.found ? '' : ` (skipped: ${tensorflow.reason})`;

for (const one of CHOOSING) {
  const { layout, attends } = one;
  const tasks = layout.length;
  declare(
    `${tasks} gRPC tasks${attends === undefined ? '' : ', not all with data'}: exact, on both ways, which all tasks take alike${reason}`,
    (t) => {
      const { fetched, variablesOf } = resultOf(one);
      for (const [task, variables] of variablesOf.entries()) {
        for (let step = 0; step < CHOOSING_STEPS; step++) {
          if (attends?.(task, step) === false) continue;
          for (const name of CHOOSING_NAMES) {
            const indices = fetched[task]!.get(`${step}/${EXCHANGED[name]}`)!;
            t.deepEqual([...(indices.data as Int32Array)], exchangedIndices(name, tasks, step, attends));
          }
        }
        for (const name of CHOOSING_NAMES)
          t.deepEqual([...(variables.get(name)!.data as Float32Array)], choosingResult(name, tasks, attends));
      }
    },
  );
}

for (const one of TRAINED) {
  const { wide, layout } = one;
  declare(
    `${wide.name}, gRPC tasks with ${layout.join(' and ')} replicas, few rows in some steps and many in others: the variables of one process${reason}`,
    async (t) => {
      const { variables, variablesOf, fetched } = resultOf(one);
      const expected = await trainedAlone(wide, layout.length);
      t.deepEqual(differencesAfter(DENSE.length, wide, expected.at(-1)!, variables), []);
      for (const other of variablesOf) t.deepEqual(other, variables);
      for (const values of fetched) {
        const many = DENSE.map((_, step) => Number(values.get(`${step}/${IS_MANY}`)!.data[0]) !== 0);
        t.deepEqual(many, DENSE);
      }
    },
  );
}
