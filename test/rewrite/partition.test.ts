import { readFileSync } from 'node:fs';
import test from 'ava';
import { attr, attributes } from '../../src/graph/attributes.js';
import { decodeGraphFile, encodeGraphDef } from '../../src/graph/index.js';
import { inputCount } from '../../src/graph/input-counts.js';
import type { Operation, Tensor } from '../../src/graph/operation.js';
import { readTrainingGraph } from '../../src/graph/read-training-graph.js';
import type { TrainingGraph } from '../../src/graph/training-graph.js';
import { ancestors } from '../../src/graph/traverse.js';
import { overviewOfRun, overviewOfTask, rewriteEach } from '../../src/rewrite/index.js';
import { fixtureNamed, graphPath } from '../helpers/fixtures.js';
import { clusterOf, rewrittenFor, strategyFor } from '../helpers/rewritten.js';
import { throwsTyped } from '../helpers/throws.js';
import { trainingOf } from '../helpers/training.js';

const split = (shards: number, builder = 'partitioned-ps'): string =>
  `{"builder": "${builder}", "shards": ${shards}, "minShardBytes": 1}`;

const read = (fixture: string): TrainingGraph =>
  readTrainingGraph(decodeGraphFile(readFileSync(graphPath(fixtureNamed(fixture)))));

const rewritten = (fixture: string, tasks = 2, shards = 3, task = 0) =>
  rewrittenFor(read(fixture), tasks, task, { strategy: split(shards) });

/** The strings of a constant. */
function strings({ attributes: values }: Operation): readonly string[] {
  const value = values.get('value');
  if (value?.kind !== 'tensor') throw new Error('not a constant');
  return (value.value.strings ?? []).map((bytes) => Buffer.from(bytes).toString());
}

test('a variable and its slots become shards of their own, the larger first, each on its server', (t) => {
  const { graph, plan } = rewritten('spam.resource');
  t.is(graph.find('embedding'), undefined);
  t.is(graph.find('embedding/Adagrad'), undefined);
  const shapes = [0, 1, 2].map((i) => graph.get(`embedding/part_${i}`).attributes.get('shape'));
  t.deepEqual(shapes, [attr.shape([167, 8]), attr.shape([167, 8]), attr.shape([166, 8])]);
  const { devices, shards, bytes, sparseForm } = plan.variables['embedding']!;
  t.deepEqual(
    devices,
    [0, 1, 2].map((i) => graph.get(`embedding/part_${i}`).device),
  );
  t.deepEqual(
    devices,
    [0, 1, 2].map((i) => graph.get(`embedding/Adagrad/part_${i}`).device),
  );
  t.is(new Set(devices).size, 2);
  t.deepEqual([shards, bytes, sparseForm], [3, 500 * 8 * 4, 'combined']);
  t.deepEqual(plan.partitions?.['embedding/Adagrad'], {
    axis: 0,
    shards: ['embedding/Adagrad/part_0', 'embedding/Adagrad/part_1', 'embedding/Adagrad/part_2'],
  });
});

for (const fixture of ['words-adam.resource', 'words-adam.reference', 'spam-clipped.reference']) {
  test(`${fixture}: a step reads rows of the table, never all of it`, (t) => {
    for (const task of [0, 1]) {
      const { graph } = rewritten(fixture, 2, 3, task);
      const whole = fixture.endsWith('resource') ? 'embedding/Read/ReadVariableOp' : 'embedding/read';
      const step = ancestors([graph.get('train_op'), graph.get('loss')]);
      t.is(graph.get(whole).type, 'ConcatV2');
      t.false(step.has(graph.get(whole)));
      const isGather = ({ type }: Operation): boolean => /Gather/.test(type);
      const isMade = ({ origin }: Operation): boolean => /partition|lookup/.test(origin?.pass ?? '');
      const gathers = [...step].filter((each) => isGather(each) && isMade(each));
      // What is gathered on another task is put together on this one.
      const fromShards = gathers.filter(({ inputs }) => !isGather(inputs[0]!.operation));
      t.is(fromShards.length, 3);
      const shards = graph.get('gradsync/embedding/rows').inputs.length / 2;
      t.is(shards, 3);
      t.is(new Set(fromShards.map(({ device }) => device)).size, 2);
    }
  });
}

test('of a composed update nothing is left that works on the whole', (t) => {
  for (const kind of ['resource', 'reference']) {
    const { graph, plan } = rewritten(`words-adam.${kind}`);
    t.is(graph.find('train_op/update_embedding/Unique'), undefined);
    const step = ancestors([graph.get('train_op')]);
    const updates = [...step].filter(({ origin }) => origin?.pass === 'partition');
    t.is(updates.filter(({ type }) => type === 'Unique').length, 3);
    t.is(
      [...step].filter(({ type }) => type === (kind === 'resource' ? 'ResourceScatterAdd' : 'ScatterAdd'))
        .length,
      6,
    );
    t.deepEqual(Object.keys(plan.placement), []);
    t.is(plan.variables['embedding']?.sparseForm, 'combined');
  }
});

test('the norm that clips is the sum of the norms of shards', (t) => {
  const { graph } = rewritten('spam-clipped.resource');
  const norms = [...graph.operations()].filter(({ type }) => type === 'L2Loss');
  t.is(norms.length, 3 + 3 + 2);
  const sums = [...graph.operations()].filter(({ name, type }) => /L2Loss/.test(name) && type === 'AddN');
  t.is(sums.length, 3);
});

test('what initializes and restores is there under its name, and what a step runs waits for the shards themselves', (t) => {
  const { graph } = rewritten('spam.resource', 1);
  t.is(graph.get('embedding/Assign').type, 'NoOp');
  t.is(graph.get('embedding/Assign').controlInputs.length, 3);
  t.true(graph.get('init').controlInputs.includes(graph.get('embedding/Assign')));
  t.is(graph.find('train_op/update_embedding/ResourceSparseApplyAdagrad'), undefined);
  const updates = graph
    .get('train_op')
    .controlInputs.filter(({ type }) => type === 'ResourceSparseApplyAdagrad');
  t.is(updates.length, 3);
});

test('the initial value is made once, and each shard takes its part of it', (t) => {
  const { graph } = rewritten('spam.resource');
  const assigns = graph.get('embedding/Assign').controlInputs;
  const [source] = assigns.map(({ inputs }) => inputs[1]!.operation);
  t.is(source?.type, 'SplitV');
  t.deepEqual(
    assigns.map(({ inputs }) => inputs[1]),
    [0, 1, 2].map((i) => source!.output(i)),
  );
  t.is(source!.inputs[0]!.operation.name, 'embedding/Initializer/random_uniform');
});

test('a checkpoint has the shards under the name of the whole, with the slices they are', (t) => {
  const { graph, plan } = rewritten('spam.resource');
  const save = graph.get('save/SaveV2');
  const [, names, slices, ...tensors] = save.inputs;
  const rows = strings(names!.operation).map((name, i) => [name, strings(slices!.operation)[i]]);
  t.is(rows.length, tensors.length);
  t.deepEqual(
    rows.filter(([name]) => name === 'embedding'),
    [
      ['embedding', '500 8 0,167:0,8'],
      ['embedding', '500 8 167,167:0,8'],
      ['embedding', '500 8 334,166:0,8'],
    ],
  );
  t.deepEqual(
    rows.filter(([name]) => name === 'dense/bias'),
    [
      ['dense/bias', '2 0,1'],
      ['dense/bias', '2 1,1'],
    ],
  );
  const restored = [...ancestors([graph.get(plan.saver!.restore)])].filter(
    ({ type }) => type === 'RestoreV2',
  );
  const read = restored.flatMap(({ inputs }) =>
    strings(inputs[1]!.operation).map((name, i) => [name, strings(inputs[2]!.operation)[i]]),
  );
  t.deepEqual(read.map(String).sort(), rows.map(String).sort());
});

test('the same rewriting gives the same bytes, and takes back all that it edited', (t) => {
  const training = read('words-adam.resource');
  const before = encodeGraphDef(training.graph);
  const cluster = clusterOf(2);
  const strategy = strategyFor(training, 2, split(3), cluster);
  const rewrite = () =>
    rewriteEach(training, strategy, cluster, [0, 1], {}, ({ graph, plan }) => ({
      bytes: encodeGraphDef(graph),
      plan,
    }));
  const first = rewrite();
  t.deepEqual(rewrite(), first);
  t.deepEqual(encodeGraphDef(training.graph), before);
});

test('what one task sends for shards another receives, counted for the variable of the program', (t) => {
  const training = read('spam-clipped.resource');
  const cluster = clusterOf(3);
  const strategy = strategyFor(training, 3, split(4), cluster);
  const tasks = rewriteEach(training, strategy, cluster, [0, 1, 2], {}, overviewOfTask);
  const { variables, traffic, unmeasured } = overviewOfRun(tasks);
  t.deepEqual(unmeasured, []);
  t.deepEqual(Object.keys(variables).sort(), ['dense/bias', 'dense/kernel', 'embedding']);
  const total = (way: 'sent' | 'received'): number => traffic.reduce((sum, task) => sum + task[way].bytes, 0);
  t.is(total('sent'), total('received'));
  t.is(variables['embedding']?.shards, 4);
  t.is(variables['embedding']?.traffic[1]?.sent.perRowGradient, 8 * 4 + 4);
});

test('a graph that is not sound is refused before anything of it is split', (t) => {
  const training = read('spam-clipped.resource');
  const initializer = training.variables.find(({ name }) => name === 'embedding')!.initializer!;
  training.graph.setInputs(initializer, initializer.inputs.slice(0, 1));
  const split2 = () => rewrittenFor(training, 2, 0, { strategy: split(2) });
  throwsTyped(t, split2, 'INVALID_ARGUMENT', initializer.name, '2 inputs');
});

/** A training graph in which an operation takes the handle of variable `W`. */
function withUser(type: string, extra: (handle: Operation) => object = () => ({})): TrainingGraph {
  const training = trainingOf([{ name: 'W', shape: [6, 2] }]);
  const { handle } = training.variables[0]!;
  const inputs = new Array<Tensor>(inputCount(type) ?? 1).fill(handle.output());
  training.graph.add({ name: 'user', type, inputs, ...extra(handle) });
  return training;
}

for (const type of ['Enter', 'StatefulPartitionedCall', 'While', 'If', 'Switch']) {
  test(`refused: a variable that ${type} takes`, (t) => {
    throwsTyped(
      t,
      () => rewrittenFor(withUser(type), 2, 0, { strategy: split(2) }),
      'UNIMPLEMENTED',
      '"W"',
      '"user"',
    );
  });
}

test('refused: uses that no shard can serve', (t) => {
  for (const type of ['ResourceGatherNd', 'ResourceStridedSliceAssign', 'ResourceCountUpTo']) {
    const refused = () => rewrittenFor(withUser(type), 2, 0, { strategy: split(2) });
    throwsTyped(t, refused, 'UNIMPLEMENTED', '"W"', type, 'without "partition"');
  }
  const batched = withUser('ResourceGather', (handle) => ({
    inputs: [handle.output(), handle.output()],
    attributes: attributes({ batch_dims: attr.int(1) }),
  }));
  throwsTyped(
    t,
    () => rewrittenFor(batched, 2, 0, { strategy: split(2) }),
    'UNIMPLEMENTED',
    'batch dimensions',
  );
});

test('refused: state of the optimizer that has another shape', (t) => {
  const training = trainingOf([
    { name: 'W', shape: [6, 2] },
    { name: 'slot', shape: [6], gradient: 'none' },
  ]);
  const [weights, slot] = training.variables;
  const { graph, pairs } = training;
  const update = graph.add({
    name: 'momentum',
    type: 'ResourceApplyMomentum',
    inputs: [weights!, slot!]
      .map(({ handle }) => handle.output())
      .concat(graph.get('W_rate').output(), graph.get('W_gradient').output(), graph.get('W_rate').output()),
  });
  const changed = { ...training, pairs: [{ ...pairs[0]!, update, source: update }] };
  throwsTyped(
    t,
    () => rewrittenFor(changed, 2, 0, { strategy: split(2) }),
    'UNIMPLEMENTED',
    '"slot" of shape [6]',
  );
});
