/**
 * Random programs under random strategies on real TensorFlow: what property.test.ts trains embedded, rewritten to disk. Drawn from the same seed
 * each time; GRADSYNC_SEED draws others, GRADSYNC_PROPERTY_RUNS more.
 */
import { differencesFromOracle } from '../helpers/equivalence.js';
import { fc } from '../helpers/properties.js';
import { type TrainingSpec, training } from '../helpers/random-program/arbitrary.js';
import { LOSS, makeProgram, TRAIN_OP } from '../helpers/random-program/program.js';
import { batchOf } from '../helpers/random-program/shares.js';
import { strategyOf } from '../helpers/random-program/strategies.js';
import { expectedOf, pairsOf, reasonToRefuse, strategyFor } from '../helpers/random-program/train.js';
import type { FileTensor } from '../helpers/tensor-file.js';
import { findTensorflow, tensorflowTest } from '../helpers/tensorflow.js';
import { type FedCase, runCases } from '../helpers/training-cases.js';

const RUNS = Number(process.env['GRADSYNC_PROPERTY_RUNS'] ?? 6);

/** TensorFlow runs no collectives beside parameter servers of other tasks. */
function runsOnTensorflow(spec: TrainingSpec): boolean {
  if (reasonToRefuse(spec) !== undefined) return false;
  const { variables } = strategyFor(makeProgram(spec.program, { isolated: false }), spec);
  const plans = variables.flatMap(({ synchronizer, partition }) => partition?.shards ?? [synchronizer]);
  return spec.layout.length === 1 || new Set(plans.map(({ kind }) => kind)).size === 1;
}

/** The average of a batch is rounded in other ways there, and nothing of the rewriting is in it. */
function withoutAverage(spec: TrainingSpec): TrainingSpec {
  return { ...spec, program: { ...spec.program, average: false } };
}

function caseOf(spec: TrainingSpec): FedCase {
  const program = makeProgram(spec.program, { isolated: false });
  return {
    program: {
      graph: program.graph,
      gradients: pairsOf(program),
      steps: spec.steps,
      feeds: (task, step) =>
        new Map(Object.entries(batchOf(program, spec, task, step)) as [string, FileTensor][]),
      fetches: [LOSS, TRAIN_OP],
      read: program.reads,
    },
    layout: spec.layout,
    strategy: { name: 'random', build: (summary, cluster) => strategyOf(spec.strategy, summary, cluster) },
  };
}

tensorflowTest(
  findTensorflow(),
  'random programs under random strategies train on TensorFlow to what one process comes to',
  async (t, python) => {
    const specs = fc.sample(training.map(withoutAverage).filter(runsOnTensorflow), RUNS);
    const cases = specs.map(caseOf);
    const resultOf = await runCases(python, cases);
    for (const [i, spec] of specs.entries()) {
      const { variables } = resultOf(cases[i]!);
      const expected = await expectedOf(
        spec,
        strategyFor(makeProgram(spec.program, { isolated: false }), spec),
      );
      t.deepEqual(differencesFromOracle(expected, spec.steps, variables), [], JSON.stringify(spec));
    }
  },
);
