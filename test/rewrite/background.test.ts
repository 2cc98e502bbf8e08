import test from 'ava';
import type { Graph } from '../../src/graph/graph.js';
import type { Operation } from '../../src/graph/operation.js';
import { ancestors } from '../../src/graph/traverse.js';
import { inputNames, rewrittenFor, typesRunBy } from '../helpers/rewritten.js';
import { type PairTexts, trainingOfText } from '../helpers/text-graph.js';
import { throwsTyped } from '../helpers/throws.js';

const STALE = '{"builder": "ps-lb", "staleness": 2}';

/** A fed learning rate, divided by one that follows the global step; decay of a variable; an optimizer's power; an average of the task's own. */
const PROGRAM = `
  zeros = Const()
  x = Placeholder()
  rate = Placeholder()
  d = Variable()
  d/Assign = AssignVariableOp(d, zeros)
  power = Variable() ~d
  power/Assign = AssignVariableOp(power, zeros)
  average = Variable()
  average/Assign = AssignVariableOp(average, zeros)
  step = Counter()
  step/Assign = AssignVariableOp(step, zeros)
  read = ReadVariableOp(d)
  product = Mul(read, x)
  loss = Square(product)
  g = Neg(product)
  moved = AssignSubVariableOp(average, loss)
  read_step = ReadVariableOp(step)
  schedule = Cast(read_step)
  scheduled = Mul(rate, schedule)
  read_power = ReadVariableOp(power)
  corrected = Mul(scheduled, read_power)
  decay = Mul(read, zeros)
  sum = Add(g, decay)
  update = ResourceApplyGradientDescent(d, corrected, sum, ^moved)
  next_power = Mul(read_power, zeros)
  assign_power = AssignVariableOp(power, next_power, ^update)
  done = NoOp(^update, ^assign_power)
  one = Const(^done)
  train_op = AssignAddVariableOp(step, one)
`;
const PAIRS: PairTexts = { d: 'g -> update' };

const training = () => trainingOfText(PROGRAM, PAIRS);
const [chief, worker] = [0, 1].map((task) => rewrittenFor(training(), 2, task, { strategy: STALE }));

function runBy(graph: Graph, name: string): readonly Operation[] {
  return [...ancestors([graph.get(name)])];
}

test('the plan names the run in the background, on the chief alone, and what counts', (t) => {
  t.deepEqual(chief!.plan.background, ['gradsync/round']);
  t.deepEqual(worker!.plan.background, []);
  const rounds = {
    applied: 'gradsync/rounds',
    steps: 'gradsync/steps',
    lag: 'gradsync/lag:0',
    trains: ['train_op'],
  };
  // A run computes these anew: what a step is fed in their place would not reach the updates.
  const anew = ['zeros', 'read', 'read_power', 'corrected', 'decay', 'next_power'];
  t.deepEqual(chief!.plan.rounds, [{ ...rounds, anew }]);
  t.deepEqual(worker!.plan.rounds, [{ ...rounds, anew: [] }]);
  for (const { plan } of [chief!, worker!]) {
    t.deepEqual(plan.close, ['gradsync/close']);
    t.is(plan.variables['d']?.staleness, 2);
  }
});

test("a step, the chief's too, hands over its gradient, takes a token, and changes nothing that is shared", (t) => {
  for (const { graph } of [chief!, worker!]) {
    const names = runBy(graph, 'train_op').map(({ name }) => name);
    for (const name of [
      'gradsync/d/enqueue_gradient',
      'gradsync/take_token',
      'moved',
      'gradsync/steps/count',
    ]) {
      t.true(names.includes(name), name);
    }
    for (const name of ['update', 'assign_power', 'gradsync/rounds/count'])
      t.false(names.includes(name), name);
  }
});

test('the background runs the updates, and nothing of a step', (t) => {
  const { graph } = chief!;
  const run = runBy(graph, 'gradsync/round');
  const names = run.map(({ name }) => name);
  for (const name of ['update', 'assign_power', 'gradsync/rounds/count']) t.true(names.includes(name), name);
  for (const name of ['x', 'rate', 'read_step', 'schedule', 'moved', 'g', 'read'])
    t.false(names.includes(name), name);
  t.is(
    run.filter(({ type }) => type === 'QueueDequeueV2').length,
    3,
    'a gradient of each, and values of the step',
  );
  t.is(run.filter(({ type }) => type === 'QueueEnqueueV2').length, 2, 'a token for each');
});

test('what belongs to a step comes along with the gradient; what is read of variables is read anew', (t) => {
  const { graph } = chief!;
  t.deepEqual(inputNames(graph.get('gradsync/give_step_values')), ['gradsync/step_values', 'scheduled']);
  t.deepEqual(inputNames(graph.get('gradsync/background/corrected')), [
    'gradsync/background/read_power',
    'gradsync/take_step_values',
  ]);
  t.true(runBy(graph, 'train_op').includes(graph.get('gradsync/give_step_values')));
  t.deepEqual(inputNames(graph.get('corrected')), ['read_power', 'scheduled'], "the original is the step's");
});

test('nothing is read or changed in a round before all gradients are there', (t) => {
  const { graph } = chief!;
  const early = runBy(graph, 'gradsync/round').filter(
    (operation) =>
      /^(ReadVariableOp|Assign.*VariableOp|ResourceApply.*)$/.test(operation.type) &&
      !ancestors([operation]).has(graph.get('gradsync/taken')),
  );
  t.deepEqual(
    early.map(({ name }) => name),
    [],
  );
});

test('a step counts the applied rounds before it reads a variable', (t) => {
  for (const { graph } of [chief!, worker!]) {
    t.true(inputNames(graph.get('read')).includes('^gradsync/rounds/read'));
    t.deepEqual(inputNames(graph.get('gradsync/lag')), ['gradsync/rounds/read', 'gradsync/steps/read']);
  }
});

test('token queues begin with as many tokens as a worker may be ahead; queues of gradients hold one more', (t) => {
  const { graph, plan } = chief!;
  t.true(typesRunBy(graph, 'gradsync/start_rounds').has('QueueEnqueueManyV2'));
  t.is(plan.initializers.at(-1), 'gradsync/digest/write', 'the others begin when there are tokens');
  for (const name of ['gradsync/d/grad_queue/1', 'gradsync/token_queue/1', 'gradsync/step_values']) {
    t.deepEqual(graph.get(name).attributes.get('capacity'), { kind: 'int', value: 3n }, name);
  }
});

test('what the background runs cannot be fetched', (t) => {
  for (const name of ['update', 'gradsync/round', 'gradsync/taken']) {
    t.regex(chief!.plan.notFetchable[name] ?? '', /in the background/, name);
  }
  t.regex(worker!.plan.notFetchable['update'] ?? '', /only the chief/);
  t.true('gradsync/d/enqueue_gradient' in chief!.plan.notFetchable);
});

test('a worker alone is never late: its rounds are its steps', (t) => {
  const { plan } = rewrittenFor(training(), 1, 0, { strategy: STALE });
  t.deepEqual(plan.background, []);
  t.false('rounds' in plan);
});

test('variables of one training operation have the same staleness', (t) => {
  const text = PROGRAM.replace(
    'done = NoOp(^update,',
    'e = Variable()\n e/Assign = AssignVariableOp(e, zeros)\n h = Square(product)\n update_e = ResourceApplyGradientDescent(e, zeros, h)\n done = NoOp(^update, ^update_e,',
  );
  const strategy = {
    format: 1,
    builder: 'mine',
    replicas: ['localhost:15000:CPU:0', 'localhost:15001:CPU:0'],
    variables: ['d', 'e'].map((variable, staleness) => ({
      variable,
      synchronizer: {
        kind: 'parameter-server',
        device: 'localhost:15000:CPU:0',
        staleness,
        sync: true,
        proxy: false,
      },
    })),
  };
  const two = trainingOfText(text, { ...PAIRS, e: 'h -> update_e' });
  const rewriting = () => rewrittenFor(two, 2, 0, { strategy: JSON.stringify(strategy) });
  throwsTyped(t, rewriting, 'UNIMPLEMENTED', '"d" and "e"', 'the same "staleness"', '0 and 1');
});

test('a reference variable, whose readers share its memory, may not be stale', (t) => {
  const text = `
    zeros = Const()
    x = Placeholder()
    d = Reference()
    d/Assign = Assign(d, zeros)
    g = Neg(x)
    update = ApplyGradientDescent(d, zeros, g)`;
  const rewriting = () => rewrittenFor(trainingOfText(text, PAIRS), 2, 0, { strategy: STALE });
  throwsTyped(t, rewriting, 'UNIMPLEMENTED', '"d"', '"staleness": 0', 'resource variables');
});
