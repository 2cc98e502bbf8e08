/**
 * The equivalence matrix on real TensorFlow: rewritten graphs, written to disk; as many gRPC processes as there are tasks train to the
 * variables of the oracle. The cases run one after the other.
 */
import test from 'ava';
import { differencesFromOracle } from '../helpers/equivalence.js';
import { fixtureNamed, type Layout } from '../helpers/fixtures.js';
import { taskLoss } from '../helpers/layouts.js';
import { type Cell, cellsOf, oracleOfCell, STRATEGIES, summary, titleOf } from '../helpers/matrix.js';
import { findTensorflow, TENSORFLOW_TEST_MS } from '../helpers/tensorflow.js';
import { sumTolerance } from '../helpers/tolerance.js';
import { type ResultOf, runCases, type TrainingCase } from '../helpers/training-cases.js';

type Case = Cell & TrainingCase;

const matrix = cellsOf('tensorflow');

function balanced(name: string, layout: Layout): Cell {
  return { fixture: fixtureNamed(name), row: STRATEGIES.find((row) => row.name === 'ps-lb')!, layout };
}

/** Beside the matrix: one task with one replica, and GPUs that this machine may not have, which TensorFlow then places softly. */
const cases: readonly Case[] = [
  ...matrix.cells.map(asCase),
  asCase(balanced('spam-clipped.resource', [1])),
  asCase(balanced('words-adam.reference', [1])),
  { ...asCase(balanced('linear-regression-clipped.resource', [2])), devices: 'gpus' },
];

function asCase(cell: Cell): Case {
  return { ...cell, strategy: cell.row.strategy };
}

const tensorflow = findTensorflow();
let resultOf: ResultOf;

if (tensorflow.found) {
  test.before('training on TensorFlow', async (t) => {
    t.timeout(TENSORFLOW_TEST_MS);
    resultOf = await runCases(tensorflow.python, cases);
  });
}

const declare = tensorflow.found ? test : test.skip;
const reason = tensorflow.found ? '' : ` (skipped: ${tensorflow.reason})`;

for (const one of cases) {
  const { fixture, layout, devices } = one;
  const suffix = devices === undefined ? '' : `, on ${devices}`;
  declare(`${titleOf(one, 'tensorflow')}${suffix}${reason}`, (t) => {
    const result = resultOf(one);
    const oracle = oracleOfCell(one);
    t.deepEqual(differencesFromOracle(oracle, 0, result.start), []);
    t.deepEqual(differencesFromOracle(oracle, fixture.steps, result.variables), []);
    for (const task of layout.keys()) {
      const loss = taskLoss(oracle[1]!, layout, task);
      const fetched = Number(result.fetched[task]!.get(`0/${fixture.loss}`)!.data[0]);
      t.true(
        Math.abs(fetched - loss) <= sumTolerance(16, Math.abs(loss)),
        `loss of task ${task}: ${fetched}, not ${loss}`,
      );
    }
  });
}

declare(`what of the matrix is not trained on TensorFlow has a reason${reason}`, (t) => {
  t.log(`${cases.length} combinations trained`, ...summary(matrix.absent));
  t.true(matrix.absent.every((each) => each.reason !== ''));
});
