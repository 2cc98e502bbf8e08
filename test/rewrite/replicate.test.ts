import test from 'ava';
import { attr } from '../../src/graph/attributes.js';
import { decodeGraphDef, encodeGraphDef, verifyGraph } from '../../src/graph/index.js';
import { inputNames, rewrittenFor } from '../helpers/rewritten.js';
import { trainingOfText } from '../helpers/text-graph.js';

const TWO = { devices: 'cpus: [0, 1]' };
const COPY = 'gradsync/replica_1';

/** Batch normalization's way: a moving average that the update waits for, beside a gradient that passes a group. */
const MODEL = `
  zeros = Const()
  rate = Const()
  x = Placeholder()
  d = Variable()
  d/Assign = AssignVariableOp(d, zeros)
  d/Read = ReadVariableOp(d)
  mean = Variable()
  mean/Assign = AssignVariableOp(mean, zeros)
  mean/Read = ReadVariableOp(mean)
  step = Counter()
  step/Assign = AssignVariableOp(step, zeros)
  scale = Const()
  y = Mul(x, d/Read)
  half = Mul(y, scale)
  moved = AssignSubVariableOp(mean, half)
  g = Neg(half)
  all = NoOp(^g, ^half)
  passed = Identity(g, ^all)
  decay = Mul(d/Read, rate)
  update = ResourceApplyGradientDescent(d, rate, passed, ^moved)
  one = Const(^update)
  train_op = AssignAddVariableOp(step, one)
  init = NoOp(^d/Assign, ^mean/Assign, ^step/Assign)`;
const PAIRS = { d: 'passed -> update' };
const rewritten = (tasks: number, task: number, devices = TWO) =>
  rewrittenFor(trainingOfText(MODEL, PAIRS), tasks, task, devices);

test('what depends on the data is copied, with its constants; variables, their reads and updates are there once', (t) => {
  const { graph } = rewritten(1, 0);
  for (const name of ['x', 'y', 'half', 'g', 'passed', 'scale', 'all']) {
    t.not(graph.find(`${COPY}/${name}`), undefined, name);
  }
  for (const name of ['d', 'd/Read', 'd/Assign', 'decay', 'update', 'step', 'train_op', 'init', 'rate']) {
    t.is(graph.find(`${COPY}/${name}`), undefined, name);
  }
  t.deepEqual(inputNames(graph.get(`${COPY}/y`)), ['d/Read', `${COPY}/x`]);
  t.deepEqual(inputNames(graph.get(`${COPY}/half`)), [`${COPY}/scale`, `${COPY}/y`]);
});

test('replicas do not wait for each other in backpropagation', (t) => {
  const { graph } = rewritten(1, 0);
  t.deepEqual(inputNames(graph.get(`${COPY}/passed`)), [`^${COPY}/all`, `${COPY}/g`]);
  t.deepEqual(inputNames(graph.get(`${COPY}/all`)), [`^${COPY}/g`, `^${COPY}/half`]);
  t.deepEqual(inputNames(graph.get('all')), ['^g', '^half']);
});

test('copies are on the device of their replica, the mean is taken on the CPU of the task', (t) => {
  const { graph } = rewritten(2, 1);
  t.is(graph.get('y').device, '/job:worker/task:1/device:CPU:0');
  t.is(graph.get(`${COPY}/y`).device, '/job:worker/task:1/device:CPU:1');
  t.is(graph.get('gradsync/d/replica_mean').device, '/job:worker/task:1/device:CPU:0');
  t.deepEqual(inputNames(graph.get('gradsync/d/replica_sum')), [`${COPY}/passed`, 'passed']);
  t.deepEqual(inputNames(graph.get('gradsync/d/gradient')), ['gradsync/d/replica_mean']);
});

test('on GPUs everything of a replica is on its own, whatever GPU the program named', (t) => {
  const training = trainingOfText(MODEL, PAIRS);
  training.graph.setDevice(training.graph.get('half'), '/gpu:0');
  training.graph.setDevice(training.graph.get('g'), '/cpu:0');
  const { graph, plan } = rewrittenFor(training, 1, 0, { devices: 'cpus: [0], gpus: [0, 1]' });
  const chief = '/job:worker/task:0';
  t.deepEqual(plan.replicas, [`${chief}/device:GPU:0`, `${chief}/device:GPU:1`]);
  for (const name of ['y', 'half']) t.is(graph.get(`${COPY}/${name}`).device, `${chief}/device:GPU:1`, name);
  t.is(graph.get('half').device, `${chief}/device:GPU:0`);
  t.is(graph.get(`${COPY}/g`).device, `${chief}/device:CPU:0`);
  t.like(plan.sessionConfig, { allowSoftPlacement: true });
});

test("a variable that the batch changes is each replica's own, and every replica changes it in a step", (t) => {
  for (const task of [0, 1]) {
    const { graph, plan } = rewritten(2, task);
    t.deepEqual(inputNames(graph.get(`${COPY}/moved`)), [`${COPY}/half`, `${COPY}/mean`]);
    const handle = graph.get(`${COPY}/mean`).attributes.get('shared_name');
    t.deepEqual(handle, attr.string(`${COPY}/mean`));
    t.true(inputNames(graph.get('update')).includes(`^${COPY}/moved`));
    t.true(inputNames(graph.get('init')).includes(`^${COPY}/mean/Assign`));
    t.true(runs(graph, plan.initializers).has(`${COPY}/mean/Assign`));
    t.true(runs(graph, ['train_op']).has(`${COPY}/moved`));
    t.true(runs(graph, ['train_op']).has('moved'));
  }
});

function runs(graph: ReturnType<typeof rewritten>['graph'], names: readonly string[]): ReadonlySet<string> {
  const found = new Set(names);
  for (const name of found) {
    const { inputs, controlInputs } = graph.get(name);
    for (const { operation } of inputs) found.add(operation.name);
    for (const control of controlInputs) found.add(control.name);
  }
  return found;
}

test('a loop is copied whole, under a frame of its own', (t) => {
  const text = `
    zeros = Const()
    rate = Const()
    x = Placeholder()
    limit = Const()
    d = Variable()
    d/Assign = AssignVariableOp(d, zeros)
    count/enter = Enter(zeros)
    count/merge = Merge(count/enter)
    less = Less(count/merge, limit)
    cond = LoopCond(less)
    count/switch = Switch(count/merge, cond)
    step = Const(^count/switch)
    count/next = AddV2(count/switch:1, step)
    count/back = NextIteration(count/next)
    sum/enter = Enter(x)
    out = Exit(count/switch)
    y = AddV2(x, out)
    g = Neg(y)
    update = ResourceApplyGradientDescent(d, rate, g)
    train_op = NoOp(^update)`;
  const training = trainingOfText(text, { d: 'g -> update' });
  for (const name of ['count/enter', 'sum/enter']) {
    training.graph.setAttributes(training.graph.get(name), { frame_name: attr.string('while') });
  }
  const merge = training.graph.get('count/merge');
  training.graph.setInputs(merge, [...merge.inputs, training.graph.get('count/back').output()]);
  const { graph } = rewrittenFor(training, 1, 0, TWO);
  for (const name of [
    'count/enter',
    'count/merge',
    'less',
    'cond',
    'step',
    'count/back',
    'sum/enter',
    'out',
  ]) {
    t.not(graph.find(`${COPY}/${name}`), undefined, name);
  }
  t.deepEqual(graph.get('count/enter').attributes.get('frame_name'), attr.string('while'));
  t.deepEqual(graph.get(`${COPY}/count/enter`).attributes.get('frame_name'), attr.string(`${COPY}/while`));
  t.deepEqual(inputNames(graph.get(`${COPY}/step`)), [`^${COPY}/count/switch`]);
  verifyGraph(decodeGraphDef(encodeGraphDef(graph)));
});

test('every replica of the run draws numbers of its own', (t) => {
  const text = `
    zeros = Const()
    rate = Const()
    x = Placeholder()
    d = Variable()
    d/Assign = AssignVariableOp(d, zeros)
    mask = RandomUniform(x)
    g = Neg(mask)
    update = ResourceApplyGradientDescent(d, rate, g)
    train_op = NoOp(^update)`;
  const seeds = (task: number): readonly unknown[] => {
    const training = trainingOfText(text, { d: 'g -> update' });
    training.graph.setAttributes(training.graph.get('mask'), { seed: attr.int(7), seed2: attr.int(40) });
    const { graph } = rewrittenFor(training, 2, task, TWO);
    return ['mask', `${COPY}/mask`].map((name) => graph.get(name).attributes.get('seed2'));
  };
  t.deepEqual(seeds(0), [attr.int(40), attr.int(41)]);
  t.deepEqual(seeds(1), [attr.int(42), attr.int(43)]);
});

test('copies are found by name, survive being written, and avoid names that are taken', (t) => {
  const text = MODEL.replaceAll('half', `${COPY}/half`);
  const { graph } = rewrittenFor(trainingOfText(text, PAIRS), 1, 0, TWO);
  t.not(graph.find('gradsync/replica___1/y'), undefined);
  const read = decodeGraphDef(encodeGraphDef(graph));
  t.is(read.size, graph.size);
  verifyGraph(read);
});

test('feeds are shared out, scalars fetched as means, batches one behind the other', (t) => {
  const training = trainingOfText(`${MODEL}\n  loss = Mean(half, zeros)\n  sum = AddV2(half, half)`, PAIRS);
  const { graph } = training;
  const shapes = (shape: readonly number[]) => ({ _output_shapes: attr.list([attr.shape(shape)]) });
  graph.setAttributes(graph.get('loss'), shapes([]));
  graph.setAttributes(graph.get('sum'), shapes([-1, 2]));
  graph.setAttributes(graph.get('half'), shapes([-1]));
  const { plan } = rewrittenFor(training, 1, 0, TWO);
  t.deepEqual(plan.feeds, { 'x:0': { tensors: ['x:0', `${COPY}/x:0`], split: 0 } });
  t.deepEqual(plan.fetches, {
    'loss:0': { tensors: ['loss:0', `${COPY}/loss:0`], combine: 'mean' },
    'sum:0': { tensors: ['sum:0', `${COPY}/sum:0`], combine: 'concat' },
  });
});

/** The model with what a program can do to its variables between steps: `trained` and `kept` to what is fed, `drawn` to what is drawn. */
const LOADED = `${MODEL}
  kept = Variable()
  kept/Assign = AssignVariableOp(kept, zeros)
  kept/Read = ReadVariableOp(kept)
  uses = AddV2(x, kept/Read)
  value = Placeholder()
  value/passed = Identity(value)
  load_d = AssignVariableOp(d, value)
  load_kept = AssignVariableOp(kept, value/passed)
  load_mean = AssignVariableOp(mean, value)
  mean/loaded = ReadVariableOp(mean, ^load_mean)
  noise = RandomUniform(scale)
  shake_d = AssignAddVariableOp(d, noise)
  shake_step = AssignAddVariableOp(step, noise)
  from_batch = AssignVariableOp(d, half)`;

for (const strategy of ['ps-lb', 'all-reduce']) {
  test(`${strategy}: whatever else changes it, what the update or the step changes is there once, and so is what changes it`, (t) => {
    const { graph } = rewrittenFor(trainingOfText(LOADED, PAIRS), 2, 1, { ...TWO, strategy });
    for (const name of ['d', 'step', 'd/Read', 'load_d', 'shake_d', 'shake_step', 'from_batch', 'train_op']) {
      t.is(graph.find(`${COPY}/${name}`), undefined, name);
    }
    for (const name of ['noise', 'y', 'mean', 'moved']) t.not(graph.find(`${COPY}/${name}`), undefined, name);
  });
}

test('a variable that all replicas would change alike is there once', (t) => {
  const { graph } = rewrittenFor(trainingOfText(LOADED, PAIRS), 1, 0, TWO);
  for (const name of ['kept', 'kept/Read', 'load_kept']) t.is(graph.find(`${COPY}/${name}`), undefined, name);
  t.deepEqual(inputNames(graph.get(`${COPY}/uses`)), [`${COPY}/x`, 'kept/Read']);
});

test("what is fed to the replicas in shares makes a variable each replica's own", (t) => {
  const feeds = { 'value:0': { split: 0 } };
  const { graph } = rewrittenFor(trainingOfText(LOADED, PAIRS), 1, 0, { ...TWO, feeds });
  t.deepEqual(inputNames(graph.get(`${COPY}/load_kept`)), [`${COPY}/kept`, `${COPY}/value/passed`]);
  t.is(graph.find(`${COPY}/load_d`), undefined);
});

test('a value that is only ever assigned is given whole, unless a user says otherwise', (t) => {
  const splitOf = (text: string, feeds = {}) =>
    rewrittenFor(trainingOfText(text, PAIRS), 1, 0, { ...TWO, feeds }).plan.feeds['value:0']?.split;
  t.is(splitOf(LOADED), null);
  t.is(splitOf(LOADED, { 'value:0': { split: 0 } }), 0);
  t.is(splitOf(`${LOADED}\n  other = AddV2(value, x)`), 0);
});

test("a change of each replica's own state is run by all of them when it is fetched", (t) => {
  for (const tasks of [1, 2]) {
    const { plan } = rewrittenFor(trainingOfText(LOADED, PAIRS), tasks, 0, TWO);
    t.deepEqual(plan.fetches['load_mean'], { operations: ['load_mean', `${COPY}/load_mean`] });
    for (const name of ['load_kept', 'moved', 'mean/Assign']) t.is(plan.fetches[name], undefined, name);
  }
});
