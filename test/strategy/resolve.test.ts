import test from 'ava';
import { resolveCluster } from '../../src/cluster/cluster-spec.js';
import { parseResourceSpec } from '../../src/cluster/resource-spec.js';
import { canonicalStrategy, decodeStrategy, printStrategy } from '../../src/strategy/codec.js';
import { resolveStrategy } from '../../src/strategy/resolve.js';
import type { Strategy, SynchronizerPlan, VariablePlan } from '../../src/strategy/strategy.js';
import { throwsTyped } from '../helpers/throws.js';
import { trainingOf } from '../helpers/training.js';

const cluster = resolveCluster(parseResourceSpec('nodes: [{address: a, tasks: 2}]'));
const training = trainingOf([
  { name: 'W', shape: [3, 2] },
  { name: 'table', shape: [5, 2], gradient: 'sparse' },
  { name: 'step', shape: [], gradient: 'none' },
]);

const ps: SynchronizerPlan = {
  kind: 'parameter-server',
  device: 'a:15001:CPU:0',
  staleness: 0,
  sync: true,
  proxy: false,
};
const table: VariablePlan = { variable: 'table', synchronizer: ps };

function strategyOf(
  variables: readonly VariablePlan[],
  replicas = ['a:15001:CPU:0', 'a:15000:CPU:0'],
): Strategy {
  return { format: 1, builder: 'mine', replicas, variables };
}

const resolve = (strategy: Strategy) => resolveStrategy(strategy, training, cluster);

test('devices become TensorFlow device names, sorted by task and variable', (t) => {
  const resolved = resolve(strategyOf([table, { variable: 'W', synchronizer: ps }]));
  t.deepEqual(resolved.replicas, ['/job:worker/task:0/device:CPU:0', '/job:worker/task:1/device:CPU:0']);
  t.deepEqual(
    resolved.variables.map((plan) => plan.variable),
    ['W', 'table'],
  );
  t.like(resolved.variables[0]?.synchronizer, { device: '/job:worker/task:1/device:CPU:0' });
});

test('a plan of a variable without gradient is dropped', (t) => {
  const resolved = resolve(
    strategyOf([
      { variable: 'step', synchronizer: { ...ps, device: 'nowhere' } },
      table,
      { variable: 'W', synchronizer: ps },
    ]),
  );
  t.is(resolved.variables.length, 2);
});

test('resolving again what was resolved and printed changes nothing', (t) => {
  const resolved = resolve(strategyOf([table, { variable: 'W', synchronizer: ps }]));
  const again = resolve(decodeStrategy(JSON.parse(printStrategy(resolved))));
  t.is(canonicalStrategy(again), canonicalStrategy(resolved));
});

test('each shard gets its own device', (t) => {
  const shards = [ps, { ...ps, device: 'a:15000:CPU:0' }];
  const resolved = resolve(
    strategyOf([table, { variable: 'W', synchronizer: ps, partition: { axis: 1, shards } }]),
  );
  t.deepEqual(
    resolved.variables[0]?.partition?.shards.map(
      (shard) => shard.kind === 'parameter-server' && shard.device,
    ),
    ['/job:worker/task:1/device:CPU:0', '/job:worker/task:0/device:CPU:0'],
  );
});

const withW = (synchronizer: SynchronizerPlan, more: Partial<VariablePlan> = {}): Strategy =>
  strategyOf([table, { variable: 'W', synchronizer, ...more }]);
const shards = (count: number): readonly SynchronizerPlan[] => Array.from({ length: count }, () => ps);

test('refused: an unknown variable', (t) => {
  const plans = [table, { variable: 'V', synchronizer: ps }, { variable: 'W', synchronizer: ps }];
  throwsTyped(t, () => resolve(strategyOf(plans)), 'NOT_FOUND', 'W, table', '"V"');
});

test('refused: a variable with a gradient but no plan', (t) => {
  throwsTyped(t, () => resolve(strategyOf([table])), 'INVALID_ARGUMENT', '"W"', 'a plan');
});

test('refused: two plans for one variable', (t) => {
  throwsTyped(t, () => resolve(strategyOf([table, table])), 'INVALID_ARGUMENT', '"table"', 'one plan');
});

test('refused: an unknown device', (t) => {
  throwsTyped(t, () => resolve(withW({ ...ps, device: 'b:CPU:0' })), 'NOT_FOUND', '"b:CPU:0"');
});

test('refused: staleness without sync', (t) => {
  throwsTyped(
    t,
    () => resolve(withW({ ...ps, staleness: 1, sync: false })),
    'INVALID_ARGUMENT',
    '"W"',
    'sync',
  );
});

test('refused: a proxy without sync, and one of a sparse variable', (t) => {
  const without = withW({ ...ps, sync: false, proxy: true } as SynchronizerPlan);
  throwsTyped(t, () => resolve(without), 'INVALID_ARGUMENT', '"W"', 'a proxy without sync');
  const plans = [
    { variable: 'table', synchronizer: { ...ps, proxy: true } as SynchronizerPlan },
    { variable: 'W', synchronizer: ps },
  ];
  throwsTyped(t, () => resolve(strategyOf(plans)), 'INVALID_ARGUMENT', '"table"', 'only rows');
});

test('refused: an axis that the variable has not', (t) => {
  const strategy = withW(ps, { partition: { axis: 2, shards: shards(2) } });
  throwsTyped(t, () => resolve(strategy), 'INVALID_ARGUMENT', 'rank 2', 'axis 2');
});

test('refused: more shards than the dimension has elements', (t) => {
  const strategy = withW(ps, { partition: { axis: 1, shards: shards(3) } });
  throwsTyped(t, () => resolve(strategy), 'INVALID_ARGUMENT', 'at most 2 shards');
});

test('refused: a choice about rows of a dense gradient', (t) => {
  const plan = {
    kind: 'collective',
    algorithm: 'auto',
    compressor: 'none',
    group: 0,
    sparse: 'gather',
  } as const;
  throwsTyped(t, () => resolve(withW(plan)), 'INVALID_ARGUMENT', '"W"', 'no "sparse"', '"gather"');
});

test('refused: a sparse variable partitioned along another axis than 0', (t) => {
  const plans = [
    { ...table, partition: { axis: 1, shards: shards(2) } },
    { variable: 'W', synchronizer: ps },
  ];
  throwsTyped(t, () => resolve(strategyOf(plans)), 'INVALID_ARGUMENT', '"table"', 'axis 0');
});

test('refused: a task without replica, and a replica twice', (t) => {
  const plans = [table, { variable: 'W', synchronizer: ps }];
  throwsTyped(t, () => resolve(strategyOf(plans, ['a:15000:CPU:0'])), 'INVALID_ARGUMENT', 'none of task 1');
  const twice = ['a:15000:CPU:0', '/job:worker/task:0/device:CPU:0', 'a:15001:CPU:0'];
  throwsTyped(t, () => resolve(strategyOf(plans, twice)), 'INVALID_ARGUMENT', 'a:15000:CPU:0 twice');
});
