import test from 'ava';
import { resolveCluster } from '../../src/cluster/cluster-spec.js';
import { parseResourceSpec } from '../../src/cluster/resource-spec.js';
import { findBuilder } from '../../src/strategy/find-builder.js';
import { allReduce, decodeStrategy, encodeStrategy, resolveStrategy } from '../../src/strategy/index.js';
import { summarize } from '../../src/strategy/model-summary.js';
import { throwsTyped } from '../helpers/throws.js';
import { trainingOf } from '../helpers/training.js';

const cluster = resolveCluster(parseResourceSpec('nodes: [{address: localhost, tasks: 2}]'));
const training = trainingOf([
  { name: 'wide', shape: [8] },
  { name: 'table', shape: [10, 4], gradient: 'sparse' },
  { name: 'bias', shape: [2] },
  { name: 'small', shape: [6, 2], gradient: 'sparse' },
]);
const summary = summarize(training);

function plansOf(text: string): Readonly<Record<string, object>> {
  const { variables } = findBuilder(text).build(summary, cluster);
  return Object.fromEntries(variables.map(({ variable, synchronizer }) => [variable, synchronizer]));
}

test('all-reduce gives every variable a collective plan, all in one group', (t) => {
  const plan = { kind: 'collective', algorithm: 'auto', compressor: 'none', group: 0 };
  t.deepEqual(plansOf('all-reduce'), { bias: plan, small: plan, table: plan, wide: plan });
});

test('a group has as many neighbours by name as is asked for', (t) => {
  const groups = Object.values(plansOf('{"builder": "all-reduce", "group": 3}'));
  t.deepEqual(
    groups.map((plan) => (plan as { group: number }).group),
    [0, 0, 0, 1],
  );
});

test('a compressor is for dense gradients', (t) => {
  const plans = plansOf('{"builder": "all-reduce", "compressor": "bfloat16", "algorithm": "ring"}');
  t.like(plans['bias'], { compressor: 'bfloat16', algorithm: 'ring' });
  t.like(plans['table'], { compressor: 'none', algorithm: 'ring' });
});

test('what becomes of rows is for sparse gradients, and left out where each step decides', (t) => {
  const plans = plansOf('{"builder": "all-reduce", "sparse": "dense"}');
  t.like(plans['table'], { sparse: 'dense' });
  t.false('sparse' in plans['bias']!);
  t.false('sparse' in plansOf('{"builder": "all-reduce", "sparse": "auto"}')['table']!);
});

test('top-k sends a thousandth unless told how many', (t) => {
  const compressor = 'top-k-error-feedback';
  t.like(plansOf(JSON.stringify({ builder: 'all-reduce', compressor }))['bias'], { compressor, k: 0.001 });
  const plans = plansOf(JSON.stringify({ builder: 'parallax', compressor, k: 3 }));
  t.like(plans['bias'], { compressor, k: 3 });
  const { variables } = allReduce({ compressor, k: 3 }).build(summary, cluster);
  t.deepEqual(variables.find(({ variable }) => variable === 'table')?.synchronizer, {
    kind: 'collective',
    algorithm: 'auto',
    compressor: 'none',
    group: 0,
  });
});

test('parallax keeps variables with sparse gradients on servers, spread by bytes, without proxies', (t) => {
  const plans = plansOf('{"builder": "parallax", "compressor": "float16"}');
  t.like(plans['wide'], { kind: 'collective', compressor: 'float16', group: 0 });
  t.like(plans['bias'], { kind: 'collective', group: 0 });
  const server = { kind: 'parameter-server', staleness: 0, sync: true, proxy: false };
  t.deepEqual(plans['table'], { ...server, device: 'localhost:15000:CPU:0' });
  t.like(plans['small'], { kind: 'parameter-server' });
  t.notDeepEqual(plans['small'], plans['table']);
});

test('a strategy with collectives is the same after writing and reading', (t) => {
  for (const name of ['all-reduce', 'parallax']) {
    const strategy = findBuilder(name).build(summary, cluster);
    t.deepEqual(decodeStrategy(JSON.parse(JSON.stringify(encodeStrategy(strategy)))), strategy);
  }
});

test('a plan that compresses slices is refused', (t) => {
  const strategy = findBuilder('all-reduce').build(summary, cluster);
  const variables = strategy.variables.map((plan) => ({
    ...plan,
    synchronizer: { ...plan.synchronizer, compressor: 'float16' } as typeof plan.synchronizer,
  }));
  throwsTyped(
    t,
    () => resolveStrategy({ ...strategy, variables }, training, cluster),
    'INVALID_ARGUMENT',
    '"small"',
    'sparse',
    '"float16"',
  );
});

test('a plan with a k that it cannot have is refused, whoever made it', (t) => {
  const strategy = findBuilder('all-reduce').build(summary, cluster);
  const refused = (change: object, ...parts: string[]) => {
    const variables = strategy.variables.map((plan) => ({
      ...plan,
      synchronizer: { ...plan.synchronizer, ...change } as typeof plan.synchronizer,
    }));
    const resolve = () => resolveStrategy({ ...strategy, variables }, training, cluster);
    throwsTyped(t, resolve, 'INVALID_ARGUMENT', ...parts);
  };
  refused({ k: 3 }, 'top-k-error-feedback', '"none"');
  refused({ compressor: 'top-k-error-feedback', k: -1 }, 'between 0 and 1', '-1');
  throwsTyped(t, () => allReduce({ k: 2 }).build(summary, cluster), 'INVALID_ARGUMENT', '"k"', '"none"');
  const half = () => allReduce({ compressor: 'top-k-error-feedback', k: 1.5 }).build(summary, cluster);
  throwsTyped(t, half, 'INVALID_ARGUMENT', '"k"', '1.5');
});

test('options of other builders and impossible values are refused', (t) => {
  const refused = (text: string, ...parts: string[]) =>
    throwsTyped(t, () => findBuilder(text).build(summary, cluster), 'INVALID_ARGUMENT', ...parts);
  refused('{"builder": "parallax", "sparse": "dense"}', 'group, compressor, k, algorithm', '"sparse"');
  refused('{"builder": "all-reduce", "proxy": true}', 'group, compressor, k, algorithm', '"proxy"');
  refused('{"builder": "ps", "group": 1}', 'staleness, sync, proxy', '"group"');
  refused('{"builder": "all-reduce", "group": 0}', 'at least 1', '0');
  refused('{"builder": "all-reduce", "compressor": "gzip"}', 'strategy.compressor', '"gzip"');
  refused('{"builder": "all-reduce", "compressor": "top-k-error-feedback", "k": 2.5}', 'strategy.k', '2.5');
  refused('{"builder": "parallax", "algorithm": "tree"}', 'strategy.algorithm', '"tree"');
  refused('{"staleness": 1}', '"builder"');
});
