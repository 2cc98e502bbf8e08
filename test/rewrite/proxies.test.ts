import test from 'ava';
import { ancestors } from '../../src/graph/traverse.js';
import type { Rewritten } from '../../src/rewrite/index.js';
import { stepTransfers } from '../../src/rewrite/transfers.js';
import { inputNames, rewrittenFor } from '../helpers/rewritten.js';
import { type PairTexts, trainingOfText } from '../helpers/text-graph.js';
import { throwsTyped } from '../helpers/throws.js';

/** Two reads of `d` in the forward computation, one by the optimizer, one after the update, one by the saver. */
const TEXT = `
  zeros = Const()
  rate = Const()
  x = Placeholder()
  d = Variable()
  d/Assign = AssignVariableOp(d, zeros)
  e = Variable()
  e/Assign = AssignVariableOp(e, zeros)
  read_1 = ReadVariableOp(d)
  read_2 = ReadVariableOp(d)
  product_1 = Mul(x, read_1)
  product_2 = Mul(x, read_2)
  sum = Add(product_1, product_2)
  penalty = Square(read_1)
  g_d = Neg(sum)
  g_e = Square(sum)
  read_for_decay = ReadVariableOp(d)
  decay = Mul(read_for_decay, rate)
  decayed = AssignSubVariableOp(d, decay)
  update_d = ResourceApplyGradientDescent(d, rate, g_d, ^decayed)
  update_e = ResourceApplyGradientDescent(e, rate, g_e)
  train_op = NoOp(^update_d, ^update_e)
  read_after = ReadVariableOp(d, ^train_op)
  after = Square(read_after)
`;
const PAIRS: PairTexts = { d: 'g_d -> update_d', e: 'g_e -> update_e' };
const READS = ['read_1', 'read_2', 'read_for_decay', 'read_after'];

const strategyOf = (changes: object, device = 'localhost:15000:CPU:0'): string => {
  const synchronizer = {
    kind: 'parameter-server',
    device,
    staleness: 0,
    sync: true,
    proxy: false,
    ...changes,
  };
  const replicas = ['localhost:15000:CPU:0', 'localhost:15001:CPU:0'];
  const variables = ['d', 'e'].map((variable) => ({ variable, synchronizer }));
  return JSON.stringify({ format: 1, builder: 'mine', replicas, variables });
};

function rewritten(task: number, strategy = strategyOf({ proxy: true })): Rewritten {
  const training = trainingOfText(TEXT, PAIRS);
  const variables = training.variables.map((variable) => ({
    ...variable,
    reads: variable.name === 'd' ? READS.map((name) => training.graph.get(name)) : [],
  }));
  const byName = new Map(variables.map((variable) => [variable.name, variable]));
  const pairs = training.pairs.map((pair) => ({ ...pair, variable: byName.get(pair.variable.name)! }));
  return rewrittenFor({ ...training, variables, pairs }, 2, task, { strategy });
}

/** How often a step reads the shared variable `d`. */
function readsOf({ graph }: Rewritten): number {
  const run = [...ancestors([graph.get('train_op')])];
  return run.filter(({ type, inputs }) => type === 'ReadVariableOp' && inputs[0]?.operation.name === 'd')
    .length;
}

test('the forward computation of a worker reads its proxy, once', (t) => {
  const { graph } = rewritten(1);
  for (const name of ['product_1', 'product_2', 'penalty']) {
    t.true(inputNames(graph.get(name)).includes('gradsync/d/proxy_value'), name);
  }
  t.is(graph.get('gradsync/d/proxy').device, '/job:worker/task:1/device:CPU:0');
  t.deepEqual(inputNames(graph.get('gradsync/d/proxy_value')), ['gradsync/d/proxy']);
});

test('a worker reads the variable itself once per step instead of at every use', (t) => {
  t.is(readsOf(rewritten(1, strategyOf({ proxy: false }))), 2);
  t.is(readsOf(rewritten(1)), 1);
  const bytes = (strategy: string): number =>
    stepTransfers(rewritten(1, strategy))
      .filter(({ variable, way }) => variable === 'd' && way === 'read')
      .reduce((sum, { size }) => sum + (size !== null && 'bytes' in size ? size.bytes : 0), 0);
  t.is(bytes(strategyOf({ proxy: false })), 2 * 8);
  t.is(bytes(strategyOf({ proxy: true })), 8);
});

test('the proxy begins as the variable, and takes its value over when the round has ended', (t) => {
  const { graph, plan } = rewritten(1);
  t.is(plan.initializers.at(-1), 'gradsync/start_proxies');
  t.deepEqual(inputNames(graph.get('gradsync/start_proxies')), ['^gradsync/d/start']);
  t.deepEqual(inputNames(graph.get('gradsync/d/start/read')), ['d']);
  t.deepEqual(inputNames(graph.get('gradsync/d/refresh/read')), ['^gradsync/take_token', 'd']);
  t.deepEqual(inputNames(graph.get('gradsync/d/refresh')), [
    '^gradsync/d/proxy_value',
    'gradsync/d/proxy',
    'gradsync/d/refresh/read',
  ]);
  t.true(inputNames(graph.get('gradsync/finish')).includes('^gradsync/d/refresh'));
  t.true('gradsync/d/refresh' in plan.notFetchable);
});

test('optimizers, what reads after the update, and fetches of the reads have the variable itself', (t) => {
  const { graph } = rewritten(1);
  t.deepEqual(inputNames(graph.get('decay')), ['rate', 'read_for_decay']);
  t.deepEqual(inputNames(graph.get('after')), ['read_after']);
  for (const name of READS) t.true(inputNames(graph.get(name)).includes('d'), name);
});

test('the server of a variable has no proxy of it', (t) => {
  const { graph, plan } = rewritten(0);
  t.is(graph.find('gradsync/d/proxy'), undefined);
  t.false(plan.initializers.includes('gradsync/start_proxies'));
});

test('a chief that is not the server has one, and refreshes it after the update', (t) => {
  const { graph } = rewritten(0, strategyOf({ proxy: true }, 'localhost:15001:CPU:0'));
  t.true(inputNames(graph.get('product_1')).includes('gradsync/d/proxy_value'));
  t.deepEqual(inputNames(graph.get('decay')), ['rate', 'read_for_decay']);
  t.deepEqual(inputNames(graph.get('gradsync/d/refresh/read')), ['^gradsync/give_token/1', 'd']);
});

test('the plan says which variables have proxies', (t) => {
  t.is(rewritten(1).plan.variables['d']?.proxy, true);
  t.is(rewritten(1, strategyOf({})).plan.variables['d']?.proxy, undefined);
});

test('a proxy without sync is refused', (t) => {
  throwsTyped(
    t,
    () => rewritten(0, strategyOf({ proxy: true, sync: false })),
    'INVALID_ARGUMENT',
    '"d"',
    'a proxy without sync',
  );
});
