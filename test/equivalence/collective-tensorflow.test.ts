/**
 * Variables of which every task has a copy, on real TensorFlow: gRPC processes that exchange gradients by collectives, alone or beside parameter
 * servers, come to the variables of the oracle, and to the same bits.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { elementCount } from '../../src/graph/shape.js';
import { TOP_K } from '../../src/strategy/strategy.js';
import { readAll } from '../helpers/bundles.js';
import { differencesFromOracle } from '../helpers/equivalence.js';
import { fedProgram, openFed, trainFed, unevenValues } from '../helpers/fed-gradients.js';
import { fixtureNamed, type Layout } from '../helpers/fixtures.js';
import { oracleOfReplicas } from '../helpers/layouts.js';
import { MIXED_NAMES, MIXED_STRATEGY, mixedProgram, mixedResult } from '../helpers/mixed-program.js';
import { findTensorflow, TENSORFLOW_TEST_MS } from '../helpers/tensorflow.js';
import { sumTolerance } from '../helpers/tolerance.js';
import { type FedCase, type ResultOf, runCases, type TrainingCase } from '../helpers/training-cases.js';

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
  ['spam-clipped.resource', [1, 1], 'parallax'],
  ['words-adam.reference', [2, 2], 'parallax'],
  ['no-rows.resource', [1, 1, 1], 'parallax'],
];
/** Averages over the batches of each task by itself. */
const OF_OWN_DATA = /(^|\/)moving_(mean|variance)$/;
const cases = CASES.map(
  ([name, layout, strategy]): TrainingCase => ({ fixture: fixtureNamed(name), layout, strategy }),
);

/** A matrix, a vector, a scalar, one element: gradients that half types round. */
const SHAPES = { kernel: [7, 5], bias: [5], scale: [], shift: [1] } as const;
type Name = keyof typeof SHAPES;
const NAMES = Object.keys(SHAPES) as Name[];
const fed = (task: number, step: number) =>
  Object.fromEntries(
    Object.entries(SHAPES).map(([name, shape], i) => [
      name,
      unevenValues(100 * step + 10 * task + i, elementCount(shape)),
    ]),
  );
const STEPS = 3;

const COMPRESSED: readonly (readonly [compressor: string, group: number, tasks: number])[] = [
  ['none', 64, 2],
  ['none', 1, 2],
  ['bfloat16', 64, 2],
  ['float16', 64, 2],
  ['float16-error-feedback', 64, 2],
  ['float16-error-feedback', 1, 2],
  ['float16-error-feedback', 2, 3],
  [TOP_K, 64, 2],
  [TOP_K, 1, 3],
];
/** Of top-k: 7 elements of the matrix, 1 of the vector, and what has one element whole. */
const K = 0.2;

interface CompressedCase extends FedCase {
  readonly strategy: string;
  readonly compressor: string;
  readonly group: number;
}

const compressed = COMPRESSED.map(([compressor, group, tasks]): CompressedCase => {
  const k = compressor === TOP_K ? { k: K } : {};
  const strategy = JSON.stringify({ builder: 'all-reduce', compressor, ...k, group });
  const program = fedProgram(SHAPES, fed, STEPS, { fetches: exactOf(compressor, group) });
  return { compressor, group, strategy, layout: new Array<number>(tasks).fill(1), program };
});

function isOne(name: Name): boolean {
  return elementCount(SHAPES[name]) === 1;
}

/** Of a step what has the same bits for any number of tasks: what a task has kept back before it, and sums of what top-k sends. */
function exactOf(compressor: string, group: number): readonly string[] {
  if (!compressor.endsWith('error-feedback')) return [];
  const kept = compressor === TOP_K ? NAMES.filter((name) => !isOne(name)) : NAMES;
  const sums = compressor === TOP_K && group === 1 ? kept.map((name) => `gradsync/${name}/sum:0`) : [];
  return [...kept.map(residualOf), ...sums];
}

function residualOf(name: string): string {
  return `gradsync/${name}/residual_value:0`;
}

/** Trained and saved, restored and trained. */
const RESUMED: readonly (readonly [strategy: string, kept: readonly string[]])[] = [
  ['{"builder": "all-reduce", "compressor": "float16-error-feedback"}', ['dense/kernel', 'dense/bias']],
  ['{"builder": "all-reduce", "compressor": "top-k-error-feedback", "k": 3}', ['dense/kernel']],
];

interface SavedCase extends TrainingCase {
  readonly kept: readonly string[];
  readonly prefix: string;
}

const folder = mkdtempSync(join(tmpdir(), 'gradsync-saved-'));
test.after.always(() => rmSync(folder, { recursive: true, force: true }));

const saved = RESUMED.map(([strategy, kept], index): SavedCase => {
  const prefix = join(folder, `model-${index}.ckpt-3`);
  const fixture = fixtureNamed('spam.resource');
  const own = [...kept.map(residualOf), fixture.state['dense/kernel']!];
  return { fixture, layout: [1, 1], strategy, more: { own, save: prefix }, kept, prefix };
});
const restored = saved.map(
  (one): SavedCase => ({ ...one, more: { own: one.more!.own!, restore: one.prefix } }),
);

const mixed = [2, 3].map(
  (tasks): FedCase => ({
    strategy: MIXED_STRATEGY,
    layout: new Array<number>(tasks).fill(1),
    program: mixedProgram(tasks),
  }),
);

const tensorflow = findTensorflow();
let resultOf: ResultOf;

if (tensorflow.found) {
  test.before('training on TensorFlow', async (t) => {
    t.timeout(TENSORFLOW_TEST_MS);
    resultOf = await runCases(tensorflow.python, [...cases, ...compressed, ...saved, ...restored, ...mixed]);
  });
}

const declare = tensorflow.found ? test : test.skip;
const reason = tensorflow.found ? '' : ` (skipped: ${tensorflow.reason})`;

for (const one of cases) {
  const { fixture, strategy, layout } = one;
  declare(
    `${fixture.name}, ${strategy}, gRPC tasks with ${layout.join(' and ')} replicas: the variables of the oracle${reason}`,
    (t) => {
      const { start, variables, variablesOf } = resultOf(one);
      const oracle = oracleOfReplicas(fixture, layout);
      t.deepEqual(differencesFromOracle(oracle, 0, start), []);
      t.deepEqual(differencesFromOracle(oracle, fixture.steps, variables), []);
      for (const name of Object.keys(fixture.state).filter((each) => !OF_OWN_DATA.test(each))) {
        for (const other of variablesOf) t.deepEqual(other.get(name), variables.get(name), name);
      }
    },
  );
}

for (const one of mixed) {
  const tasks = one.layout.length;
  declare(
    `copies beside servers, slices in both, two optimizers in a step, ${tasks} gRPC tasks: exact, on every task${reason}`,
    (t) => {
      for (const variables of resultOf(one).variablesOf) {
        for (const name of MIXED_NAMES) {
          t.deepEqual([...variables.get(name)!.data], mixedResult(name, tasks), name);
        }
      }
    },
  );
}

/** Distance from 1 to the next number of the type that travels. */
const UNIT: Readonly<Record<string, number>> = { bfloat16: 2 ** -7, float16: 2 ** -10 };

/**
 * Two tasks' sums are the same in any order. With more, TensorFlow rounds to the type that travels after each addition and the embedded runtime
 * once, both by at most half a unit of what the sum of all magnitudes may be. TensorFlow multiplies by a third where the graph divides by three;
 * that and storing the variables round to float32.
 */
function toleranceOf({ compressor, layout, program }: CompressedCase, name: Name, index: number): number {
  const tasks = layout.length;
  if (tasks === 2) return 0;
  let magnitudes = 0;
  for (let step = 0; step < STEPS; step++) {
    // What is kept of one step is sent in the next: no more than twice the gradient in all.
    for (let task = 0; task < tasks; task++) magnitudes += 2 * Math.abs(fed(task, step)[name]![index]!);
  }
  const unit = UNIT[compressor.replace('-error-feedback', '')] ?? 0;
  return (
    ((tasks / 2) * unit * magnitudes) / tasks + sumTolerance(2 * program.steps + tasks, magnitudes / tasks)
  );
}

for (const one of compressed) {
  const { compressor, group, layout, program, strategy } = one;
  const tasks = layout.length;
  const how = tasks === 2 ? 'the bits' : 'up to the rounding of sums, the variables';
  declare(
    `${compressor}, ${group} in a group, ${tasks} gRPC tasks: ${how} of the embedded runtime, and the bits of all that is kept back${reason}`,
    async (t) => {
      const { fetched, variables } = resultOf(one);
      const session = await openFed(program, strategy, tasks);
      t.teardown(() => session.close());
      await session.initialize();
      const steps = await trainFed(session, program, 0, STEPS);
      const embedded = await session.readVariables();
      for (const name of NAMES) {
        const [found, expected] = [variables.get(name)!.data, embedded.get(name)!.data];
        t.true(expected.some((value) => value !== 0));
        for (const [i, value] of [...expected].entries()) {
          const difference = Math.abs(Number(found[i]) - Number(value));
          t.true(difference <= toleranceOf(one, name, i), `${name}[${i}]: ${found[i]}, not ${value}`);
        }
      }
      for (const tensor of exactOf(compressor, group)) {
        for (const [step, results] of steps.entries()) {
          for (const [task, result] of results.entries())
            t.deepEqual(fetched[task]!.get(`${step}/${tensor}`)!.data, result[tensor]!.data, tensor);
        }
      }
    },
  );
}

for (const [i, one] of saved.entries()) {
  const { strategy, kept, prefix, fixture, layout, more } = one;
  declare(
    `${strategy}, gRPC tasks: the chief saves the program's variables, each task what it has kept back, and all go on from there${reason}`,
    async (t) => {
      const [before, after] = [resultOf(one), resultOf(restored[i]!)];
      t.deepEqual(after.start, before.variables);
      t.notDeepEqual(after.variables, after.start);
      const names = Object.keys(fixture.state);
      t.deepEqual([...(await readAll(prefix)).keys()].sort(), names.sort());
      for (const task of layout.keys()) {
        const file = await readAll(`${prefix}.residuals-${task}`);
        t.deepEqual([...file.keys()].sort(), kept.map((name) => `gradsync/${name}/residual`).sort());
        for (const tensor of more!.own!) {
          const end = before.fetched[task]!.get(`end/${tensor}`)!;
          t.true((end.data as Float32Array).some((value) => value !== 0));
          t.deepEqual(after.fetched[task]!.get(`start/${tensor}`), end);
        }
      }
      const end = `end/${residualOf('dense/kernel')}`;
      t.notDeepEqual(before.fetched[0]!.get(end), before.fetched[1]!.get(end));
    },
  );
}
