/** Variables in shards, on real TensorFlow. */
import test from 'ava';
import { differencesFromOracle } from '../helpers/equivalence.js';
import { fixtureNamed, type Layout } from '../helpers/fixtures.js';
import { oracleOf } from '../helpers/layouts.js';
import { findTensorflow, TENSORFLOW_TEST_MS } from '../helpers/tensorflow.js';
import { type ResultOf, runCases } from '../helpers/training-cases.js';

const split = (builder: string, shards: number, more = ''): string =>
  `{"builder": "${builder}", "shards": ${shards}, "minShardBytes": 1${more}}`;
const EVEN = split('partitioned-ps', 3);
const UNEVEN = split('uneven-partitioned-ps', 7);

const CASES: readonly (readonly [fixture: string, layout: Layout, strategy: string])[] = [
  ['words-adam.resource', [1], UNEVEN],
  ['spam-clipped.reference', [2], EVEN],
  ['linear-regression.resource', [1, 1], EVEN],
  ['mnist-cnn.resource', [1, 1], EVEN],
  ['mnist-cnn-clipped.reference', [1, 1], EVEN],
  ['spam.resource', [1, 1], UNEVEN],
  ['spam-clipped.resource', [1, 1], EVEN],
  ['words-sgd.reference', [1, 1], EVEN],
  ['words-momentum.resource', [1, 1], UNEVEN],
  ['words-adagrad-v2.resource', [1, 1], EVEN],
  ['words-adam.resource', [1, 1], EVEN],
  ['words-adam.reference', [1, 1], UNEVEN],
  ['words-adam-clipped.resource', [1, 1], UNEVEN],
  ['shared-gradient.resource', [1, 1], EVEN],
  ['decay-adam.reference', [1, 1], EVEN],
  ['decay-adagrad.resource', [1, 1], EVEN],
  ['two-optimizers.reference', [1, 1], EVEN],
  ['tied.resource', [1, 1], EVEN],
  ['words-prime.resource', [1, 1], split('partitioned-ps', 4)],
  ['no-rows.resource', [1, 1], EVEN],
  ['two-devices.resource', [1, 1], EVEN],
  ['words-adam.resource', [2, 2], EVEN],
  ['spam-clipped.resource', [2, 2], EVEN],
  ['words-adam-clipped.reference', [2, 1], EVEN],
  ['spam.resource', [1, 1, 1], EVEN],
  ['spam-clipped.reference', [1, 1, 1], UNEVEN],
  ['mnist-cnn.resource', [1, 1, 1], split('partitioned-ps', 3, ', "proxy": true')],
  ['words-adam.resource', [1, 1], split('partitioned-all-reduce', 3)],
  ['spam-clipped.reference', [1, 1], split('partitioned-all-reduce', 7)],
  ['mnist-cnn.resource', [1, 1], split('random-axis-partitioned-all-reduce', 3)],
  ['words-momentum.resource', [2, 2], split('random-axis-partitioned-all-reduce', 3)],
];

const cases = CASES.map(([name, layout, strategy]) => ({ fixture: fixtureNamed(name), layout, strategy }));

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
  const { fixture, strategy, layout } = one;
  const title = `${fixture.name}, ${strategy}, gRPC tasks with ${layout.join(' and ')} replicas: the variables of the oracle`;
  declare(title + reason, (t) => {
    const { start, variables } = resultOf(one);
    const oracle = oracleOf(fixture, layout);
    t.deepEqual(differencesFromOracle(oracle, 0, start), []);
    t.deepEqual(differencesFromOracle(oracle, fixture.steps, variables), []);
  });
}
