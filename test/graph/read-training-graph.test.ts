/** What is read of training graphs exported from TensorFlow: variables, pairs, update and source operations, and the errors. */
import { readFileSync } from 'node:fs';
import test from 'ava';
import { GradsyncError } from '../../src/errors.js';
import {
  copyTrainingGraph,
  decodeGraphFile,
  encodeGraphDef,
  GRADIENTS_COLLECTION,
  type MetaGraph,
  printGradientPair,
  printGraph,
  readTrainingGraph,
  type TrainingGraph,
  verifyGraph,
} from '../../src/graph/index.js';
import { allFixtures, type Fixture, fixtureNamed, graphPath } from '../helpers/fixtures.js';
import { fc } from '../helpers/properties.js';
import { throwsTyped } from '../helpers/throws.js';

const open = (fixture: Fixture): MetaGraph => decodeGraphFile(readFileSync(graphPath(fixture)));
const without = (meta: MetaGraph, ...collections: readonly string[]): MetaGraph => ({
  ...meta,
  collections: new Map([...meta.collections].filter(([name]) => !collections.includes(name))),
});

/** Names of what a training graph holds, as fixtures.json lists them. */
function gradientsOf(training: TrainingGraph): Record<string, object> {
  return Object.fromEntries(
    training.pairs.map(({ variable, gradient }) => [
      variable.name,
      gradient.kind === 'dense'
        ? { dense: gradient.tensor.name }
        : { indices: gradient.indices.name, values: gradient.values.name },
    ]),
  );
}

function expectedGradients(fixture: Fixture): Record<string, object> {
  return Object.fromEntries(
    Object.entries(fixture.gradients).map(([name, gradient]) => [
      name,
      'dense' in gradient ? gradient : { indices: gradient.indices, values: gradient.values },
    ]),
  );
}

for (const fixture of allFixtures()) {
  test(`${fixture.name}: the gradients are those that leave backpropagation`, (t) => {
    const training = readTrainingGraph(open(fixture));
    t.deepEqual(gradientsOf(training), expectedGradients(fixture));
  });

  test(`${fixture.name}: the variables are all there, with what makes and reads them`, (t) => {
    const { variables } = readTrainingGraph(open(fixture));
    t.deepEqual(variables.map(({ name }) => name).sort(), Object.keys(fixture.state).sort());
    for (const variable of variables) {
      t.is(variable.kind, fixture.variableKind);
      t.is(variable.trainable, variable.name in fixture.trainable, variable.name);
      t.truthy(variable.initialValue, variable.name);
      t.is(variable.initializer?.inputs[0], variable.handle.output(0));
      t.true(variable.shape !== null);
      t.true(variable.reads.map(({ name }) => `${name}:0`).includes(fixture.state[variable.name]!));
    }
  });

  test(`${fixture.name}: every source operation comes after its update and is no other variable's`, (t) => {
    const { pairs } = readTrainingGraph(open(fixture));
    t.is(new Set(pairs.map(({ source }) => source)).size, pairs.length);
    for (const { update, source, variable } of pairs) {
      t.is(update.inputs[0], variable.handle.output(0));
      // Adam's sparse form is composed of several operations; of an optimizer for one variable alone the group of its updates waits.
      const composed = /Assign/.test(update.type);
      const isAlone = fixture.name.startsWith('two-optimizers') && variable.name === 'embedding';
      const expected = composed ? 'train_op/update_embedding/group_deps' : isAlone ? 'Adagrad' : update.name;
      t.is(source.name, expected);
    }
  });

  test(`${fixture.name}: without collections the variables are found by their operations`, (t) => {
    const meta = open(fixture);
    const bare = decodeGraphFile(encodeGraphDef(meta.graph));
    t.is(bare.collections.size, 0);
    const given = fixture.collection;
    const training = readTrainingGraph(bare, { gradients: given });
    t.deepEqual(gradientsOf(training), expectedGradients(fixture));
    const full = readTrainingGraph(meta);
    const facts = ({ variables }: TrainingGraph): object[] =>
      variables.map(({ name, shape, dtype, trainable, initializer }) => ({
        ...{ name, shape, dtype, trainable },
        initializer: initializer?.name,
      }));
    t.deepEqual(facts(training), facts(full));
  });

  test(`${fixture.name}: a copy says the same of the copied graph and leaves the original alone`, (t) => {
    const original = readTrainingGraph(open(fixture));
    const { training: copy, at } = copyTrainingGraph(original);
    t.deepEqual(
      copy.pairs.map(({ variable, gradient }) => printGradientPair({ variable: variable.name, gradient })),
      original.pairs.map(({ variable, gradient }) =>
        printGradientPair({ variable: variable.name, gradient }),
      ),
    );
    for (const [i, pair] of copy.pairs.entries()) {
      t.true(copy.variables.includes(pair.variable));
      t.is(pair.update, at(original.pairs[i]!.update));
      t.is(copy.graph.get(pair.update.name), pair.update);
      t.not(pair.update, original.pairs[i]!.update);
    }
    const before = encodeGraphDef(original.graph);
    for (const operation of copy.graph.operations()) copy.graph.setDevice(operation, '/job:a');
    t.deepEqual(encodeGraphDef(original.graph), before);
  });

  if (fixture.collection.length > 0 && (fixture.clipNorm !== null || fixture.name.startsWith('words'))) {
    test(`${fixture.name}: without pairs, discovery asks for them instead of training something else`, (t) => {
      const meta = without(open(fixture), GRADIENTS_COLLECTION);
      const parts = [
        '--gradient',
        GRADIENTS_COLLECTION,
        fixture.name.startsWith('words') ? 'embedding' : 'clip_by_global_norm',
      ];
      throwsTyped(t, () => readTrainingGraph(meta), 'INVALID_ARGUMENT', ...parts);
      t.deepEqual(
        gradientsOf(readTrainingGraph(meta, { gradients: fixture.collection })),
        expectedGradients(fixture),
      );
    });
  }
}

const unlisted = (fixture: Fixture): MetaGraph => ({ ...open(fixture), collections: new Map() });

for (const kind of ['resource', 'reference']) {
  test(`without a list of trainable variables, one of a composed optimizer is asked for and not left out (${kind})`, (t) => {
    const fixture = fixtureNamed(`words-adam.${kind}`);
    const parts = ['"embedding"', '--gradient', 'trainable_variables'];
    throwsTyped(t, () => readTrainingGraph(unlisted(fixture)), 'INVALID_ARGUMENT', ...parts);
    const { pairs } = readTrainingGraph(unlisted(fixture), { gradients: fixture.collection });
    t.deepEqual(pairs.map(({ variable }) => variable.name).sort(), Object.keys(fixture.gradients).sort());
  });

  test(`without a list of trainable variables, moving averages are none of them (${kind})`, (t) => {
    const fixture = fixtureNamed(`batch-norm.${kind}`);
    t.deepEqual(gradientsOf(readTrainingGraph(unlisted(fixture))), expectedGradients(fixture));
  });
}

const linear = fixtureNamed('linear-regression.resource');

test("the caller's pairs come first and in the caller's order", (t) => {
  const gradients = fixtureNamed('linear-regression-clipped.resource').collection;
  const pairs = [...gradients].reverse();
  const { pairs: read } = readTrainingGraph(open(linear), { gradients: pairs });
  t.deepEqual(
    read.map(({ variable }) => variable.name),
    ['b', 'W'],
  );
});

test('the saver of a graph is read', (t) => {
  const { saver } = readTrainingGraph(open(fixtureNamed('spam.resource')));
  t.is(saver?.restore.type, 'NoOp');
  t.is(saver?.filename.index, 0);
  t.true(saver!.restore.controlInputs.length > 0);
});

const BAD_PAIRS: readonly (readonly [string, 'INVALID_ARGUMENT' | 'NOT_FOUND', string])[] = [
  ['W', 'INVALID_ARGUMENT', 'variable|gradient'],
  ['|x:0', 'INVALID_ARGUMENT', 'variable|gradient'],
  ['W|a|b', 'INVALID_ARGUMENT', 'variable|gradient'],
  ['W|a;', 'INVALID_ARGUMENT', 'variable|gradient'],
  ['W|a;b;c;d', 'INVALID_ARGUMENT', 'variable|gradient'],
  ['W|nowhere:0', 'NOT_FOUND', '"nowhere:0"'],
  ['W|x:1', 'NOT_FOUND', '1 output'],
  ['V|x:0', 'NOT_FOUND', 'W, b'],
  ['W|W/Initializer/zeros:0', 'NOT_FOUND', 'W/Initializer'],
  ['W|init:0', 'NOT_FOUND', '0 outputs'],
  ['W|accuracy not here', 'INVALID_ARGUMENT', 'Tensor name'],
  ['W|y:0', 'INVALID_ARGUMENT', 'y'],
  ['W|W', 'INVALID_ARGUMENT', '"W" (VarHandleOp), which leads to none or is no gradient'],
];
for (const [text, code, part] of BAD_PAIRS) {
  test(`the pair "${text}" is refused`, (t) => {
    throwsTyped(t, () => readTrainingGraph(open(linear), { gradients: [text] }), code, part);
  });
}

test('two pairs of one variable are refused', (t) => {
  const [pair] = fixtureNamed('linear-regression-clipped.resource').collection as [string];
  throwsTyped(
    t,
    () => readTrainingGraph(open(linear), { gradients: [pair, pair] }),
    'INVALID_ARGUMENT',
    'one pair',
  );
});

test('a damaged graph is read, or refused with a typed error: never a crash', (t) => {
  const bytes = [linear, fixtureNamed('words-adam.reference'), fixtureNamed('spam.resource')].map((fixture) =>
    readFileSync(graphPath(fixture)),
  );
  const flip = fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 }));
  const damage = fc.tuple(fc.nat({ max: 2 }), fc.array(flip, { minLength: 1, maxLength: 6 }));
  fc.assert(
    fc.property(damage, ([which, flips]) => {
      const damaged = Uint8Array.from(bytes[which]!);
      for (const [at, mask] of flips) damaged[at % damaged.length]! ^= mask;
      try {
        const meta = decodeGraphFile(damaged);
        verifyGraph(meta.graph);
        copyTrainingGraph(readTrainingGraph(meta));
        printGraph(meta.graph);
      } catch (error) {
        if (!(error instanceof GradsyncError)) throw error;
      }
    }),
    { numRuns: 600 },
  );
  t.pass();
});
