import { readFileSync } from 'node:fs';
import test from 'ava';
import { decodeGraphFile, encodeGraphDef, printGraph } from '../../src/graph/index.js';
import { readTrainingGraph } from '../../src/graph/read-training-graph.js';
import type { TrainingGraph } from '../../src/graph/training-graph.js';
import { ancestors } from '../../src/graph/traverse.js';
import { PassLog, rewrite } from '../../src/rewrite/index.js';
import type { ParameterServerPlan, SynchronizerPlan } from '../../src/strategy/index.js';
import { allFixtures, fixtureNamed, graphPath } from '../helpers/fixtures.js';
import { clusterOf, rewrittenFor, strategyFor } from '../helpers/rewritten.js';
import { throwsTyped } from '../helpers/throws.js';

function trainingOf(name: string): TrainingGraph {
  return readTrainingGraph(decodeGraphFile(readFileSync(graphPath(fixtureNamed(name)))));
}

for (const fixture of allFixtures()) {
  test(`${fixture.name}: on a worker no training runs what only the chief may, on the chief it updates everything`, (t) => {
    const training = trainingOf(fixture.name);
    const runBy = (task: number): ReadonlySet<string> => {
      const { graph } = rewrittenFor(training, 3, task);
      return new Set([...ancestors([graph.get(fixture.trainOp)])].map(({ name }) => name));
    };
    const chief = runBy(0);
    const worker = runBy(1);
    const { notFetchable } = rewrittenFor(training, 3, 1).plan;
    for (const { variable, update } of training.pairs) {
      t.true(chief.has(update.name), update.name);
      t.false(worker.has(update.name), update.name);
      t.true(update.name in notFetchable, update.name);
      t.true(
        worker.has(`gradsync/${variable.name}/gradient`) ||
          worker.has(`gradsync/${variable.name}/gradient_values`),
      );
    }
    t.false(fixture.trainOp in notFetchable);
    t.false(fixture.loss.replace(':0', '') in notFetchable);
  });

  test(`${fixture.name}: the same arguments give the same bytes, and the training graph is left as it was`, (t) => {
    const training = trainingOf(fixture.name);
    const before = printGraph(training.graph);
    const write = (): [string, Uint8Array] => {
      const { graph, plan } = rewrittenFor(trainingOf(fixture.name), 2, 1);
      return [JSON.stringify(plan), encodeGraphDef(graph)];
    };
    t.deepEqual(write(), write());
    rewrittenFor(training, 2, 0);
    t.is(printGraph(training.graph), before);
  });
}

test('the digest is the same on all tasks and tells apart graphs, strategies, clusters', (t) => {
  const training = trainingOf('spam.resource');
  const input = new Uint8Array([1, 2, 3]);
  const digest = (tasks: number, task: number, strategy: string, bytes = input): string =>
    rewrittenFor(training, tasks, task, { strategy, input: bytes }).plan.digest;
  t.is(digest(2, 0, 'ps'), digest(2, 1, 'ps'));
  const others = [
    digest(2, 0, 'ps'),
    digest(3, 0, 'ps'),
    digest(2, 0, 'ps-lb'),
    digest(2, 0, 'ps', new Uint8Array(3)),
  ];
  t.is(new Set(others).size, 4);
  t.regex(others[0]!, /^[0-9a-f]{64}$/);
});

test('clipping by global norm keeps repeated rows apart, the plan says which operation asks for it', (t) => {
  const clipped = rewrittenFor(trainingOf('spam-clipped.resource'), 2, 0).plan.variables['embedding'];
  t.is(clipped?.sparseForm, 'concatenated');
  t.regex(clipped?.sparseFormReason ?? '', /L2Loss/);
  t.is(rewrittenFor(trainingOf('spam.resource'), 2, 0).plan.variables['embedding']?.sparseForm, 'combined');
});

test('tasks send a row once where repeated rows may be combined: to servers, in collectives, with staleness; not where there is one task', (t) => {
  const sendsDistinct = (fixture: string, tasks: number, strategy: string): boolean => {
    const { graph, plan } = rewrittenFor(trainingOf(fixture), tasks, 0, { strategy });
    const isThere = graph.find('gradsync/embedding/distinct_values') !== undefined;
    t.is(plan.variables['embedding']?.distinctRows === true, isThere);
    return isThere;
  };
  for (const strategy of ['parallax', 'all-reduce', '{"builder": "ps-lb", "staleness": 1}']) {
    t.true(sendsDistinct('spam.resource', 2, strategy), strategy);
  }
  for (const strategy of ['parallax', 'all-reduce'])
    t.false(sendsDistinct('spam-clipped.resource', 2, strategy));
  t.false(sendsDistinct('spam.resource', 1, 'ps-lb'));
});

test("checkpoints are the chief's", (t) => {
  const training = trainingOf('spam.resource');
  t.is(rewrittenFor(training, 2, 0).plan.saver?.restore, 'save/restore_all');
  const worker = rewrittenFor(training, 2, 1).plan;
  t.is(worker.saver, null);
  t.true('save/restore_all' in worker.notFetchable);
});

test('every pass is logged', (t) => {
  const log = new PassLog();
  rewrittenFor(trainingOf('words-adam.resource'), 2, 0, { log });
  t.deepEqual(
    log.entries.map(({ pass }) => pass),
    ['gradient-edge', 'place', 'colocation', 'container', 'parameter-server', 'finish', 'initialize', 'task'],
  );
});

const refusesPlan = test.macro({
  exec: (t, change: Partial<ParameterServerPlan> | SynchronizerPlan, expected: string) => {
    const training = trainingOf('linear-regression.resource');
    const strategy = strategyFor(training, 2);
    const variables = strategy.variables.map((plan) => ({
      ...plan,
      synchronizer: { ...plan.synchronizer, ...change } as SynchronizerPlan,
    }));
    throwsTyped(
      t,
      () => rewrite(training, { ...strategy, variables }, clusterOf(2), 0),
      'UNIMPLEMENTED',
      '"W"',
      expected,
    );
  },
  title: (_, change) => `refused, with what to do: ${JSON.stringify(change)}`,
});

test(refusesPlan, { staleness: 2, proxy: true }, '"proxy": false');

test('a task the cluster has not is refused', (t) => {
  const training = trainingOf('linear-regression.resource');
  const strategy = strategyFor(training, 2);
  throwsTyped(t, () => rewrite(training, strategy, clusterOf(2), 2), 'OUT_OF_RANGE', 'from 0 to 1');
});

test('feeds map to themselves, with the axis along which they may be split', (t) => {
  const training = trainingOf('linear-regression.resource');
  const { feeds } = rewrittenFor(training, 2, 0, { feeds: { 'y:0': 'all' } }).plan;
  t.deepEqual(feeds['x:0'], { tensors: ['x:0'], split: 0 });
  t.deepEqual(feeds['y:0'], { tensors: ['y:0'], split: null });
  const feed = (name: string, split: number): unknown =>
    rewrittenFor(training, 2, 0, { feeds: { [name]: { split } } });
  throwsTyped(t, () => feed('nothing:0', 0), 'NOT_FOUND', '"nothing:0"', '--feed');
  throwsTyped(t, () => feed('x:1', 0), 'NOT_FOUND', '"x:1", but Placeholder has 1 output');
  throwsTyped(t, () => feed('x:0', 1), 'INVALID_ARGUMENT', '"x:0"', 'from 0 to 0');
});
