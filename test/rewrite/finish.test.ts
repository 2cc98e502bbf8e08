import test from 'ava';
import { inputNames, rewrittenFor, typesRunBy } from '../helpers/rewritten.js';
import { trainingOfText } from '../helpers/text-graph.js';
import { throwsTyped } from '../helpers/throws.js';

/** Adam as TensorFlow writes it: beta powers are assigned after the updates, the global step after everything. */
const ADAM = `
  zeros = Const()
  x = Placeholder()
  a = Variable()
  a/Assign = AssignVariableOp(a, zeros)
  m = Variable() ~a
  m/Assign = AssignVariableOp(m, zeros)
  v = Variable() ~a
  v/Assign = AssignVariableOp(v, zeros)
  power = Variable() ~a
  power/Assign = AssignVariableOp(power, zeros)
  step = Counter()
  step/Assign = AssignVariableOp(step, zeros)
  init = NoOp(^a/Assign, ^m/Assign, ^v/Assign, ^power/Assign, ^step/Assign)
  g = Neg(x)
  read_power = ReadVariableOp(power)
  rate = Const()
  update_a = ResourceApplyAdam(a, m, v, read_power, rate, rate, rate, rate, rate, g)
  read_again = ReadVariableOp(power, ^update_a)
  next_power = Mul(read_again, rate)
  assign_power = AssignVariableOp(power, next_power)
  after_power = ReadVariableOp(power, ^assign_power, ^update_a)
  update = NoOp(^update_a, ^assign_power)
  one = Const(^update)
  train_op = AssignAddVariableOp(step, one)
`;
const PAIRS = { a: 'g -> update_a' };

test('beta powers belong to the chief-only closure, the global step and its increment do not', (t) => {
  const { graph, plan } = rewrittenFor(trainingOfText(ADAM, PAIRS), 2, 1);
  for (const name of ['update_a', 'read_again', 'next_power', 'assign_power']) {
    t.true(name in plan.notFetchable, name);
  }
  for (const name of ['update', 'one', 'train_op', 'after_power']) t.false(name in plan.notFetchable, name);
  t.deepEqual(plan.fetches, { train_op: { operations: ['train_op'] } });
  t.deepEqual(inputNames(graph.get('update')), ['^gradsync/finish']);
  t.deepEqual(inputNames(graph.get('after_power')), ['^gradsync/finish', 'power']);
});

test('on a worker the training operation hands over the gradient and takes a token, and runs no update', (t) => {
  const { graph } = rewrittenFor(trainingOfText(ADAM, PAIRS), 3, 2);
  const types = typesRunBy(graph, 'train_op');
  for (const type of ['ResourceAccumulatorApplyGradient', 'QueueDequeueV2', 'AssignAddVariableOp']) {
    t.true(types.has(type), type);
  }
  for (const type of ['ResourceAccumulatorTakeGradient', 'ResourceApplyAdam', 'AssignVariableOp']) {
    t.false(types.has(type), type);
  }
});

test('on the chief the training operation takes the mean, updates, and gives every worker a token', (t) => {
  const { graph } = rewrittenFor(trainingOfText(ADAM, PAIRS), 3, 0);
  const types = typesRunBy(graph, 'train_op');
  for (const type of [
    'ResourceAccumulatorTakeGradient',
    'ResourceApplyAdam',
    'AssignVariableOp',
    'QueueEnqueueV2',
  ]) {
    t.true(types.has(type), type);
  }
  t.deepEqual(inputNames(graph.get('gradsync/finish')), ['^gradsync/give_token/1', '^gradsync/give_token/2']);
  t.deepEqual(inputNames(graph.get('gradsync/updated')), ['^assign_power']);
});

test('with one task nothing waits and everything can be fetched', (t) => {
  const { graph, plan } = rewrittenFor(trainingOfText(ADAM, PAIRS), 1, 0);
  t.deepEqual(inputNames(graph.get('update')), ['^assign_power', '^update_a']);
  t.deepEqual(plan.notFetchable, {});
  t.is(graph.find('gradsync/finish'), undefined);
  t.deepEqual(inputNames(graph.get('gradsync/a/take_gradient')), [
    '^gradsync/a/apply_gradient',
    'gradsync/a/grad_accum',
    'gradsync/a/required',
  ]);
});

const TWO_OPTIMIZERS = `
  zeros = Const()
  rate = Const()
  x = Placeholder()
  d = Variable()
  d/Assign = AssignVariableOp(d, zeros)
  e = Variable()
  e/Assign = AssignVariableOp(e, zeros)
  g_d = Neg(x)
  g_e = Square(x)
  update_d = ResourceApplyGradientDescent(d, rate, g_d)
  update_e = ResourceApplyGradientDescent(e, rate, g_e)
  train_d = NoOp(^update_d)
  train_e = NoOp(^update_e)
`;

test('two optimizers that are fetched apart exchange gradients and tokens apart', (t) => {
  const pairs = { d: 'g_d -> update_d', e: 'g_e -> update_e' };
  const { graph, plan } = rewrittenFor(trainingOfText(TWO_OPTIMIZERS, pairs), 2, 1);
  const runBy = (name: string): readonly string[] => inputNames(graph.get(name));
  t.deepEqual(runBy('train_d'), ['^gradsync/0/finish']);
  t.deepEqual(runBy('train_e'), ['^gradsync/1/finish']);
  t.deepEqual(
    runBy('gradsync/0/take_token').filter((name) => name.startsWith('^')),
    ['^gradsync/d/apply_gradient'],
  );
  t.deepEqual(Object.keys(plan.fetches), ['train_d', 'train_e']);
});

test('an update that is itself the training operation stands for the end of the round', (t) => {
  const text = `
    zeros = Const()
    rate = Const()
    x = Placeholder()
    d = Variable()
    d/Assign = AssignVariableOp(d, zeros)
    g = Neg(x)
    train_op = ResourceApplyGradientDescent(d, rate, g)`;
  const training = trainingOfText(text, { d: 'g -> train_op' });
  t.deepEqual(rewrittenFor(training, 2, 0).plan.fetches['train_op'], {
    operations: ['train_op', 'gradsync/finish'],
  });
  t.deepEqual(rewrittenFor(training, 2, 1).plan.fetches['train_op'], { operations: ['gradsync/finish'] });
});

test('moving averages that the update waited for still run on every task', (t) => {
  const text = `
    zeros = Const()
    rate = Const()
    x = Placeholder()
    d = Variable()
    d/Assign = AssignVariableOp(d, zeros)
    mean = Variable()
    mean/Assign = AssignVariableOp(mean, zeros)
    moved = AssignSubVariableOp(mean, x)
    g = Neg(x)
    update = ResourceApplyGradientDescent(d, rate, g, ^moved)
    train_op = NoOp(^update)`;
  const { graph, plan } = rewrittenFor(trainingOfText(text, { d: 'g -> update' }), 2, 1);
  t.deepEqual(inputNames(graph.get('gradsync/finish')), ['^gradsync/take_token', '^moved']);
  t.is(graph.get('mean').device, '/job:worker/task:1/device:CPU:0');
  t.false('moved' in plan.notFetchable);
});

test('weight decay before the update waits until every task has handed over its gradient', (t) => {
  const text = `
    zeros = Const()
    rate = Const()
    x = Placeholder()
    d = Variable()
    d/Assign = AssignVariableOp(d, zeros)
    read = ReadVariableOp(d)
    decay = Mul(read, rate)
    decayed = AssignSubVariableOp(d, decay)
    g = Neg(x)
    update = ResourceApplyGradientDescent(d, rate, g, ^decayed)
    train_op = NoOp(^update)`;
  const { graph } = rewrittenFor(trainingOfText(text, { d: 'g -> update' }), 2, 0);
  t.deepEqual(inputNames(graph.get('decayed')), ['^gradsync/d/take_gradient', 'd', 'decay']);
});

test('a gradient that waits for an update of the same step is refused', (t) => {
  const text = `${TWO_OPTIMIZERS}
    late = Identity(x, ^train_d)
    g_late = Neg(late)
    f = Variable()
    f/Assign = AssignVariableOp(f, zeros)
    update_f = ResourceApplyGradientDescent(f, rate, g_late, ^train_d)
    train_f = NoOp(^update_f, ^train_d)`;
  const pairs = { d: 'g_d -> update_d', f: 'g_late -> update_f' };
  throwsTyped(t, () => rewrittenFor(trainingOfText(text, pairs), 2, 0), 'UNIMPLEMENTED', 'update_d');
});

test('a shared variable that the forward computation assigns is refused', (t) => {
  const text = `
    zeros = Const()
    rate = Const()
    x = Placeholder()
    d = Variable()
    d/Assign = AssignVariableOp(d, zeros)
    normal = AssignVariableOp(d, x)
    read = ReadVariableOp(d, ^normal)
    g = Neg(read)
    update = ResourceApplyGradientDescent(d, rate, g)
    train_op = NoOp(^update)`;
  throwsTyped(
    t,
    () => rewrittenFor(trainingOfText(text, { d: 'g -> update' }), 2, 0),
    'UNIMPLEMENTED',
    '"normal"',
  );
});
