/**
 * Variables of which every task has a copy, on real TensorFlow: gRPC processes that exchange gradients by collectives come to the variables
 * of the oracle.
 */
import test from 'ava';
import { differencesFromOracle } from '../helpers/equivalence.js';
import { fixtureNamed, type Layout } from '../helpers/fixtures.js';
import { oracleOfReplicas } from '../helpers/layouts.js';
import { findTensorflow } from '../helpers/tensorflow.js';
import { type ResultOf, runCases, type TrainingCase } from '../helpers/training-cases.js';

const CASES: readonly (readonly [fixture: string, layout: Layout, strategy: string])[] = [
  ['linear-regression.resource', [1, 1], 'all-reduce'],
  ['mnist-cnn.resource', [1, 1], 'all-reduce'],
  ['mnist-cnn-clipped.reference', [1, 1, 1], 'all-reduce'],
  ['words-adagrad-v2.resource', [1, 1, 1], 'all-reduce'],
  ['no-rows.resource', [1, 1], 'all-reduce'],
  ['words-adam.reference', [1, 1], '{"builder": "all-reduce", "group": 1}'],
  ['spam-clipped.resource', [1, 1], 'all-reduce'],
  ['spam-clipped.resource', [1, 1, 1], 'all-reduce'],
  ['words-adam-clipped.resource', [2, 2], 'all-reduce'],
  ['spam.resource', [2], 'all-reduce'],
  ['linear-regression.resource', [2, 1], 'all-reduce'],
];
const cases = CASES.map(
  ([name, layout, strategy]): TrainingCase => ({ fixture: fixtureNamed(name), layout, strategy }),
);

const tensorflow = findTensorflow();
let resultOf: ResultOf;

if (tensorflow.found) {
  test.before('training on TensorFlow', async (t) => {
    t.timeout(600_000);
    resultOf = await runCases(tensorflow.python, cases);
  });
}

const declare = tensorflow.found ? test : test.skip;
const reason = tensorflow.found ? '' : ` (skipped: ${tensorflow.reason})`;

for (const one of cases) {
  const { fixture, strategy, layout } = one;
  declare(
    `${fixture.name}, ${strategy}, gRPC tasks with ${layout.join(' and ')} replicas: the variables of the oracle${reason}`,
    (t) => {
      const { start, variables } = resultOf(one);
      const oracle = oracleOfReplicas(fixture, layout);
      t.deepEqual(differencesFromOracle(oracle, 0, start), []);
      t.deepEqual(differencesFromOracle(oracle, fixture.steps, variables), []);
    },
  );
}
