/** Options of transform and openSession from programs without types: what cannot be used is INVALID_ARGUMENT naming the option. */
import test from 'ava';
import { planTraining } from '../src/engine.js';
import { GradsyncError } from '../src/errors.js';
import {
  openSession,
  type SessionOptions,
  type TransformOptions,
  transform,
  transformAll,
} from '../src/index.js';
import { fixtureNamed, graphPath } from './helpers/fixtures.js';

const good = {
  graph: graphPath(fixtureNamed('linear-regression.resource')),
  resources: { nodes: [{ address: 'localhost' }] },
  strategy: 'ps',
};

const BAD: readonly (readonly [title: string, options: unknown, part: string])[] = [
  ['no options', undefined, 'undefined'],
  ['options that are null', null, 'null'],
  ['no fields', {}, '"graph"'],
  ['graph null', { ...good, graph: null }, '"graph"'],
  ['graph 5', { ...good, graph: 5 }, '"graph"'],
  ['graph {}', { ...good, graph: {} }, '"graph"'],
  ['no resources', { ...good, resources: undefined }, '"resources"'],
  ['resources {}', { ...good, resources: {} }, '"nodes"'],
  ['no strategy', { ...good, strategy: undefined }, '"strategy"'],
  ['strategy null', { ...good, strategy: null }, '"strategy"'],
  ['strategy 3', { ...good, strategy: 3 }, '"strategy"'],
  ['strategy {}', { ...good, strategy: {} }, 'strategy: expected the field'],
  ['a builder that is none', { ...good, strategy: { build: 3 } }, '"build"'],
  ['fetches of one text', { ...good, fetches: 'loss:0' }, '"fetches"'],
  ['fetches of numbers', { ...good, fetches: [3] }, '"fetches"'],
  ['gradients of one text', { ...good, gradients: 'W|g' }, '"gradients"'],
  ['another word for uneven data', { ...good, uneven: 'wait' }, '"uneven": expected one of stop, join'],
  ['a feed null', { ...good, feeds: { 'x:0': null } }, 'feed "x:0"'],
  ['resources with a bigint', { ...good, resources: { nodes: [{ port: 1n }] } }, 'BigInt'],
  ['a builder of nothing', { ...good, strategy: { name: 'mine', build: () => 3 } }, '"mine"'],
  ['feeds null', { ...good, feeds: null }, '"feeds"'],
  ['a feed with another field', { ...good, feeds: { 'x:0': { split: 0, axis: 1 } } }, 'also "axis"'],
  ['a feed split along a text', { ...good, feeds: { 'x:0': { split: 'a' } } }, '"split": expected an axis'],
  ['an option that is misspelled', { ...good, strategy: undefined, stratgey: 'ps' }, 'also "stratgey"'],
  ['a field that no strategy has', { ...good, strategy: { builder: 'ps', synch: false } }, '"synch"'],
];
const ONLY_SESSION: typeof BAD = [
  ['signal {}', { ...good, signal: {} }, '"signal"'],
  ['deadline -1', { ...good, deadlineMs: -1 }, '"deadlineMs"'],
  ['deadline NaN', { ...good, deadlineMs: Number.NaN }, '"deadlineMs"'],
  ['deadline x', { ...good, deadlineMs: 'x' }, '"deadlineMs"'],
  [
    'another spelling of deadlineMs',
    { ...good, deadlineMS: 5 },
    'strategy, gradients, feeds, fetches, uneven, deadlineMs',
  ],
];

const isTyped = (error: unknown, part: string): boolean =>
  error instanceof GradsyncError && error.code === 'INVALID_ARGUMENT' && error.message.includes(part);

test('openSession refuses options it cannot use', async (t) => {
  for (const [title, options, part] of [...BAD, ...ONLY_SESSION]) {
    const error = await t.throwsAsync(openSession(options as SessionOptions), undefined, title);
    t.true(isTyped(error, part), `${title}: ${error?.stack}`);
  }
});

test('transform refuses options it cannot use', (t) => {
  for (const [title, options, part] of BAD) {
    const withTask = typeof options === 'object' && options !== null ? { task: 0, ...options } : options;
    const error = t.throws(() => transform(withTask as TransformOptions), undefined, title);
    t.true(isTyped(error, part), `${title}: ${error?.stack}`);
  }
  const error = t.throws(() => transform(good as unknown as TransformOptions));
  t.true(isTyped(error, '"task"'), error?.stack);
});

test('a strategy that was made by transform can be passed on', (t) => {
  const { strategy, plan } = transform({ ...good, strategy: 'ps', task: 0 });
  t.is(transform({ ...good, strategy, task: 0 }).plan.digest, plan.digest);
});

test('what has no task refuses an option for one, and names those there are', (t) => {
  for (const entry of [transformAll, planTraining] as const) {
    const error = t.throws(() => entry({ ...good, task: 0 } as TransformOptions));
    t.true(
      isTyped(
        error,
        'only graph, resources, strategy, gradients, feeds, fetches, uneven but received also "task"',
      ),
    );
  }
});
