import test from 'ava';
import { resolveCluster } from '../../src/cluster/cluster-spec.js';
import { parseResourceSpec } from '../../src/cluster/resource-spec.js';
import { canonicalStrategy, printStrategy } from '../../src/strategy/codec.js';
import { BUILDER_NAMES, findBuilder } from '../../src/strategy/find-builder.js';
import { summarize } from '../../src/strategy/model-summary.js';
import { throwsTyped } from '../helpers/throws.js';
import { trainingOf } from '../helpers/training.js';

const cluster = resolveCluster(parseResourceSpec('nodes: [{address: localhost, tasks: 2}]'));
const summary = summarize(trainingOf([{ name: 'W', shape: [2] }]));

test('each known name gives the builder of that name', (t) => {
  for (const name of BUILDER_NAMES) {
    t.is(findBuilder(name).name, name);
    t.is(findBuilder(name).build(summary, cluster).builder, name);
  }
});

test('a builder with options in JSON', (t) => {
  const strategy = findBuilder(' {"builder": "ps", "staleness": 2, "proxy": true}').build(summary, cluster);
  t.like(strategy.variables[0]?.synchronizer, { staleness: 2, sync: true, proxy: true });
});

test('options of a builder have types', (t) => {
  throwsTyped(t, () => findBuilder('{"builder": "ps", "sync": 0}'), 'INVALID_ARGUMENT', 'strategy.sync', '0');
  throwsTyped(
    t,
    () => findBuilder('{"builder": "ps-lb", "proxy": "yes"}'),
    'INVALID_ARGUMENT',
    'strategy.proxy',
  );
  const { variables } = findBuilder('{"builder": "ps-lb", "sync": false}').build(summary, cluster);
  t.like(variables[0]?.synchronizer, { staleness: 0, sync: false, proxy: false });
});

test('a whole strategy in JSON is used as it stands', (t) => {
  const strategy = findBuilder('ps-lb').build(summary, cluster);
  const again = findBuilder(printStrategy(strategy)).build(summary, cluster);
  t.is(canonicalStrategy(again), canonicalStrategy(strategy));
});

test('an unknown strategy lists the known ones', (t) => {
  throwsTyped(t, () => findBuilder('pss'), 'INVALID_ARGUMENT', 'one of ps, ps-lb', '"pss"');
  throwsTyped(t, () => findBuilder('{"builder": "pss"}'), 'INVALID_ARGUMENT', 'one of ps, ps-lb', '"pss"');
  throwsTyped(t, () => findBuilder('constructor'), 'INVALID_ARGUMENT', '"constructor"');
});

test('an unknown option of a builder is refused', (t) => {
  throwsTyped(t, () => findBuilder('{"builder": "ps", "stale": 1}'), 'INVALID_ARGUMENT', '"stale"');
});
