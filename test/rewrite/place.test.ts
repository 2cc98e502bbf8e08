import { readFileSync } from 'node:fs';
import test from 'ava';
import { isFullDevice, parseDevice } from '../../src/graph/device.js';
import { decodeGraphFile } from '../../src/graph/index.js';
import { readTrainingGraph } from '../../src/graph/read-training-graph.js';
import { colocationTargets } from '../../src/graph/verify.js';
import { allFixtures, fixtureNamed, graphPath } from '../helpers/fixtures.js';
import { rewrittenFor } from '../helpers/rewritten.js';
import { trainingOfText } from '../helpers/text-graph.js';

/** Operations that run functions of the graph. */
const FUNCTIONS = /^(Stateless)?(While|If)$|PartitionedCall$/;

const DEVICE = (task: number): string => `/job:worker/task:${task}/device:CPU:0`;

const CLIPPED = `
  zeros = Const()
  x = Placeholder()
  a = Variable()
  a/Assign = AssignVariableOp(a, zeros)
  b = Variable()
  b/zeros = Const() ~b
  b/Assign = AssignVariableOp(b, b/zeros)
  read_b = ReadVariableOp(b)
  own = Variable() @/device:GPU:1 ~b
  own/Assign = AssignVariableOp(own, zeros)
  g_a = Neg(x)
  g_b = Square(x)
  l2_a = L2Loss(g_a)
  l2_b = L2Loss(g_b) ~g_b
  norm = AddN(l2_a, l2_b)
  scale = Sqrt(norm)
  clip_a = Mul(g_a, scale)
  clip_b = Mul(g_b, scale)
  half = Const()
  rate_b = Sqrt(half)
  update_a = ResourceApplyGradientDescent(a, zeros, clip_a)
  update_b = ResourceApplyGradientDescent(b, rate_b, clip_b)
  train_op = NoOp(^update_a, ^update_b) @/job:ps/device:CPU:0
`;
const PAIRS = { a: 'g_a -> update_a', b: 'g_b -> update_b' };

test('the closure lies beside the variable it works for, what several servers feed beside one of them', (t) => {
  const { graph, plan } = rewrittenFor(trainingOfText(CLIPPED, PAIRS), 2, 1);
  const deviceOf = (name: string): string => graph.get(name).device;
  t.not(deviceOf('a'), deviceOf('b'));
  for (const name of ['l2_a', 'clip_a', 'update_a', 'gradsync/a/take_gradient'])
    t.is(deviceOf(name), deviceOf('a'), name);
  for (const name of ['l2_b', 'clip_b', 'update_b', 'gradsync/b/take_gradient'])
    t.is(deviceOf(name), deviceOf('b'), name);
  t.deepEqual(Object.keys(plan.placement), ['norm', 'scale']);
  t.is(plan.placement['norm']?.device, DEVICE(0));
  t.is(deviceOf('norm'), DEVICE(0));
  t.regex(plan.placement['norm']!.why, /task:0.*task:1.*only the chief runs it/);
});

test('what several servers feed lies where most of its bytes are; of equals, each server bears its part', (t) => {
  const more = `
    uneven = Concat(l2_a, g_b)
    second = AddN(l2_b, l2_a)
    third = Sqrt(second)
    end = Mul(uneven, third)
  `;
  const text = CLIPPED.replace('scale = Sqrt(norm)', `${more}\nscale = AddN(norm, end)`);
  const { graph, plan } = rewrittenFor(trainingOfText(text, PAIRS), 2, 0);
  const deviceOf = (name: string): string => graph.get(name).device;
  // 4 bytes of a scalar against 8 of a gradient.
  t.is(deviceOf('uneven'), deviceOf('b'));
  t.not(deviceOf('uneven'), deviceOf('norm'));
  t.is(deviceOf('third'), deviceOf('second'));
  t.deepEqual(Object.keys(plan.placement).sort(), ['end', 'norm', 'scale', 'second', 'third', 'uneven']);
});

test('readers and initial values follow their variable, arithmetic that feeds one update goes along', (t) => {
  const { graph } = rewrittenFor(trainingOfText(CLIPPED, PAIRS), 2, 0);
  const b = graph.get('b').device;
  for (const name of ['read_b', 'b/zeros', 'b/Assign', 'half', 'rate_b'])
    t.is(graph.get(name).device, b, name);
});

test('variables of a task stay there whatever their group names, on the kind of device the user wrote', (t) => {
  const { graph } = rewrittenFor(trainingOfText(CLIPPED, PAIRS), 2, 1);
  t.is(graph.get('own').device, '/job:worker/task:1/device:GPU:1');
  t.is(graph.get('own/Assign').device, '/job:worker/task:1/device:GPU:1');
  t.deepEqual(colocationTargets(graph.get('own')), []);
  t.is(graph.get('train_op').device, DEVICE(1));
});

test('every operation of every fixture has a full device and lies with its group, and handles stay together', (t) => {
  for (const fixture of allFixtures()) {
    const training = readTrainingGraph(decodeGraphFile(readFileSync(graphPath(fixture))));
    for (const task of [0, 1]) {
      const { graph } = rewrittenFor(training, 2, task);
      for (const operation of graph.operations()) {
        const device = parseDevice(operation.device);
        t.true(
          isFullDevice({ ...device, replica: 0 }),
          `${fixture.name}: ${operation.name} on ${operation.device}`,
        );
        for (const target of colocationTargets(operation)) t.is(graph.get(target).device, operation.device);
        if (operation.type !== 'VarHandleOp') continue;
        for (const user of operation.output().consumers) {
          // A loop or function may take handles of several servers: it lies beside one of them.
          const handles = user.inputs
            .map((input) => input.operation)
            .filter(({ type }) => type === 'VarHandleOp');
          t.true(new Set(handles.map(({ device }) => device)).has(user.device), user.name);
          if (handles.length === 1 || !FUNCTIONS.test(user.type))
            t.is(user.device, operation.device, user.name);
        }
      }
    }
  }
});

test('one server holds everything under ps, two share under ps-lb', (t) => {
  const training = readTrainingGraph(decodeGraphFile(readFileSync(graphPath(fixtureNamed('spam.resource')))));
  const devicesUnder = (strategy: string): number => {
    const { variables } = rewrittenFor(training, 2, 0, { strategy }).plan;
    return new Set(Object.values(variables).flatMap((variable) => variable.devices)).size;
  };
  t.is(devicesUnder('ps'), 1);
  t.is(devicesUnder('ps-lb'), 2);
});
