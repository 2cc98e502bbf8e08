import test from 'ava';
import { inputNames, rewrittenFor, typesRunBy } from '../helpers/rewritten.js';
import { type PairTexts, trainingOfText } from '../helpers/text-graph.js';
import { throwsTyped } from '../helpers/throws.js';

const TWO = `
  zeros = Const()
  rate = Const()
  x = Placeholder()
  d = Variable()
  d/Assign = AssignVariableOp(d, zeros)
  e = Variable()
  e/Assign = AssignVariableOp(e, zeros)
  read = ReadVariableOp(d)
  decay = Mul(read, rate)
  decayed = AssignSubVariableOp(d, decay)
  g_d = Neg(x)
  g_e = Square(x)
  norm = Add(g_d, g_e)
  clipped_d = Mul(g_d, norm)
  clipped_e = Mul(g_e, norm)
  update_d = ResourceApplyGradientDescent(d, rate, clipped_d, ^decayed)
  update_e = ResourceApplyGradientDescent(e, rate, clipped_e)
  step = Counter()
  step/Assign = AssignVariableOp(step, zeros)
  one = Const(^update_d, ^update_e)
  train_op = AssignAddVariableOp(step, one)
`;
const PAIRS: PairTexts = { d: 'g_d -> update_d', e: 'g_e -> update_e' };
const ASYNCHRONOUS = '{"builder": "ps-lb", "sync": false}';

for (const task of [0, 1]) {
  const { graph, plan } = rewrittenFor(trainingOfText(TWO, PAIRS), 2, task, { strategy: ASYNCHRONOUS });

  test(`task ${task} updates the shared variables itself, without accumulator or token`, (t) => {
    const types = typesRunBy(graph, 'train_op');
    t.true(types.has('ResourceApplyGradientDescent'));
    for (const type of types) t.notRegex(type, /Accumulator|Queue/);
    t.deepEqual(inputNames(graph.get('clipped_d')), ['gradsync/d/gradient', 'norm']);
    t.is(graph.get('d').device, '/job:worker/task:0/device:CPU:0');
    t.is(graph.get('update_e').device, '/job:worker/task:1/device:CPU:0');
    t.deepEqual(plan.fetches, { train_op: { operations: ['train_op'] } });
  });

  test(`task ${task} computes for itself what several servers share, and may fetch it`, (t) => {
    const own = `/job:worker/task:${task}/device:CPU:0`;
    t.is(graph.get('norm').device, own);
    t.is(plan.placement['norm']?.device, own);
    t.regex(plan.placement['norm']?.why ?? '', /every task runs it/);
    t.deepEqual(Object.keys(plan.notFetchable), task === 0 ? [] : ['d/Assign', 'e/Assign']);
  });

  test(`task ${task}: an update excludes other updates of its variable`, (t) => {
    t.deepEqual(graph.get('update_d').attributes.get('use_locking'), { kind: 'bool', value: true });
  });

  test(`task ${task}: weight decay waits until this task has its gradient`, (t) => {
    t.deepEqual(inputNames(graph.get('decayed')), ['^gradsync/d/gradient', 'd', 'decay']);
  });

  test(`task ${task}: the plan says which variables are asynchronous`, (t) => {
    t.is(plan.variables['d']?.sync, false);
    t.is(plan.variables['d']?.sparseForm, null);
  });
}

test('the chief alone initializes what is shared', (t) => {
  const initializers = [0, 1].map((task) => {
    const { graph, plan } = rewrittenFor(trainingOfText(TWO, PAIRS), 2, task, { strategy: ASYNCHRONOUS });
    return plan.initializers.flatMap((name) => [name, ...inputNames(graph.get(name))]);
  });
  t.true(initializers[0]!.includes('^d/Assign'));
  t.false(initializers[1]!.some((name) => name.includes('d/Assign')));
});

const split = (sync: readonly [boolean, boolean]): string =>
  JSON.stringify({
    format: 1,
    builder: 'mine',
    replicas: ['localhost:15000:CPU:0', 'localhost:15001:CPU:0'],
    variables: ['d', 'e'].map((variable, i) => ({
      variable,
      synchronizer: {
        kind: 'parameter-server',
        device: 'localhost:15000:CPU:0',
        staleness: 0,
        sync: sync[i],
        proxy: false,
      },
    })),
  });

test('variables of one training operation cannot be of both sorts', (t) => {
  const training = trainingOfText(TWO, PAIRS);
  throwsTyped(
    t,
    () => rewrittenFor(training, 2, 0, { strategy: split([true, false]) }),
    'UNIMPLEMENTED',
    '"d" and "e"',
    'the same "sync"',
  );
});

test('two training operations may be of different sorts', (t) => {
  const text = `
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
    train_e = NoOp(^update_e)`;
  const { graph, plan } = rewrittenFor(trainingOfText(text, PAIRS), 2, 1, { strategy: split([true, false]) });
  t.deepEqual(inputNames(graph.get('train_d')), ['^gradsync/finish']);
  t.deepEqual(inputNames(graph.get('train_e')), ['^update_e']);
  t.deepEqual(Object.keys(plan.fetches), ['train_d', 'train_e']);
  t.true('update_d' in plan.notFetchable);
  t.false('update_e' in plan.notFetchable);
});
