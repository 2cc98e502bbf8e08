import test from 'ava';
import { attr } from '../../src/graph/attributes.js';
import { inputNames, rewrittenFor } from '../helpers/rewritten.js';
import { trainingOfText } from '../helpers/text-graph.js';
import { throwsTyped } from '../helpers/throws.js';

const TEXT = `
  zeros = Const()
  rate = Const()
  x = Placeholder()
  slot = Variable()
  read_a = ReadVariableOp(a)
  slot/Assign = AssignVariableOp(slot, read_a)
  a = Variable()
  a/Assign = AssignVariableOp(a, zeros)
  third = Variable()
  read_slot = ReadVariableOp(slot)
  third/Assign = AssignVariableOp(third, read_slot)
  count = Counter()
  count/Assign = AssignVariableOp(count, zeros)
  init = NoOp(^a/Assign, ^slot/Assign, ^third/Assign, ^count/Assign)
  g = Neg(x)
  update = ResourceApplyMomentum(a, slot, rate, g, rate)
  train_op = NoOp(^update)
  user = AssignVariableOp(a, x)
  user_group = NoOp(^user)
`;
const PAIRS = { a: 'g -> update' };

test('the chief initializes in levels, a slot after the variable it starts from, and writes the digest last', (t) => {
  const { graph, plan } = rewrittenFor(trainingOfText(TEXT, PAIRS), 2, 0);
  t.deepEqual(plan.initializers, [
    'gradsync/digest/clear',
    'gradsync/initialize/0',
    'slot/Assign',
    'third/Assign',
    'gradsync/digest/write',
  ]);
  t.deepEqual(inputNames(graph.get('gradsync/initialize/0')), ['^a/Assign', '^count/Assign']);
  t.is(plan.ready, 'gradsync/digest/ready:0');
});

test('a worker checks the digest, then initializes only what is its own', (t) => {
  const { graph, plan } = rewrittenFor(trainingOfText(TEXT, PAIRS), 2, 1);
  t.deepEqual(plan.initializers, ['gradsync/digest/check', 'gradsync/initialize/0']);
  t.deepEqual(inputNames(graph.get('gradsync/initialize/0')), ['^count/Assign', '^third/Assign']);
  t.is(graph.get('gradsync/digest/read').device, '/job:worker/task:0/device:CPU:0');
});

test("on a worker the program's own init leaves shared variables alone, and what writes them is listed", (t) => {
  const { graph, plan } = rewrittenFor(trainingOfText(TEXT, PAIRS), 2, 1);
  t.deepEqual(inputNames(graph.get('init')), ['^count/Assign', '^third/Assign']);
  for (const name of ['a/Assign', 'slot/Assign', 'user', 'user_group'])
    t.true(name in plan.notFetchable, name);
  t.false('init' in plan.notFetchable);
  const chief = rewrittenFor(trainingOfText(TEXT, PAIRS), 2, 0).plan;
  t.false('user' in chief.notFetchable);
});

test("shared variables live in the run's container, others do not", (t) => {
  const { graph, plan } = rewrittenFor(trainingOfText(TEXT, PAIRS), 2, 1);
  const container = (name: string): string => {
    const value = graph.get(name).attributes.get('container');
    return value?.kind === 'string' ? new TextDecoder().decode(value.value) : '';
  };
  t.is(container('a'), plan.digest);
  t.is(container('slot'), plan.digest);
  t.is(container('gradsync/a/grad_accum'), plan.digest);
  t.is(container('third'), '');
  t.is(container('gradsync/digest/handle'), '');
  t.deepEqual(plan.containers, [plan.digest]);
});

test('an initializer that waits for another runs with it, and none runs twice', (t) => {
  const text = `
    zeros = Const()
    rate = Const()
    x = Placeholder()
    a = Variable()
    a/Assign = AssignVariableOp(a, zeros)
    start = Variable()
    waits = ReadVariableOp(a, ^a/Assign)
    start/Assign = AssignVariableOp(start, waits)
    both = Variable()
    reads_start = ReadVariableOp(start)
    held = Identity(reads_start, ^a/Assign)
    both/Assign = AssignVariableOp(both, held)
    g = Neg(x)
    update = ResourceApplyGradientDescent(a, rate, g)
    train_op = NoOp(^update)`;
  const { graph, plan } = rewrittenFor(trainingOfText(text, PAIRS), 2, 0);
  t.deepEqual(plan.initializers.slice(1, -1), ['gradsync/initialize/0', 'both/Assign']);
  t.deepEqual(inputNames(graph.get('gradsync/initialize/0')), ['^a/Assign', '^start/Assign']);
  t.deepEqual(inputNames(graph.get('held')), ['reads_start']);
});

test('a shared variable without an initializer is refused', (t) => {
  const text = `
    rate = Const()
    x = Placeholder()
    a = Variable()
    g = Neg(x)
    update = ResourceApplyGradientDescent(a, rate, g)
    train_op = NoOp(^update)`;
  throwsTyped(
    t,
    () => rewrittenFor(trainingOfText(text, PAIRS), 2, 0),
    'INVALID_ARGUMENT',
    '"a"',
    'initializer',
  );
});

test("a variable that every task keeps for itself takes over the chief's value where the initial one is drawn without a seed", (t) => {
  const text = `${TEXT}
    noise = RandomStandardNormal(zeros)
    frozen = Variable()
    frozen/Assign = AssignVariableOp(frozen, noise)
  `;
  const { graph } = rewrittenFor(trainingOfText(text, PAIRS), 2, 1);
  const [, value] = graph.get('frozen/Assign').inputs;
  t.is(value?.operation.type, 'ReadVariableOp');
  const chiefs = value?.operation.inputs[0]?.operation;
  t.is(chiefs?.device, '/job:worker/task:0/device:CPU:0');
  t.deepEqual(chiefs?.attributes.get('shared_name'), attr.string('frozen'));
  t.is(graph.get('third/Assign').inputs[1]?.operation.name, 'read_slot');
  const chief = rewrittenFor(trainingOfText(text, PAIRS), 2, 0).graph;
  t.is(chief.get('frozen/Assign').inputs[1]?.operation.name, 'noise');
});
