/** The roll call, and the graph of a task without data: what is there, what is not, and that neither breaks the graph. */
import { readFileSync } from 'node:fs';
import test from 'ava';
import { encodeGraphDef } from '../../src/graph/codec/graph-def.js';
import { decodeGraphFile } from '../../src/graph/index.js';
import { readTrainingGraph } from '../../src/graph/read-training-graph.js';
import { verifyGraph } from '../../src/graph/verify.js';
import { leaveOutData } from '../../src/rewrite/index.js';
import { type Fixture, fixtureNamed, graphPath } from '../helpers/fixtures.js';
import { rewrittenFor } from '../helpers/rewritten.js';

const trainingOf = (fixture: Fixture) => readTrainingGraph(decodeGraphFile(readFileSync(graphPath(fixture))));
const LINE = trainingOf(fixtureNamed('linear-regression.resource'));

test('every task has a roll call, of queues that both ends name alike', (t) => {
  const [chief, first, second] = [0, 1, 2].map((task) => rewrittenFor(LINE, 3, task, { uneven: 'stop' }));
  const namesIn = ({ graph }: typeof first & {}): readonly string[] =>
    [...graph.operations()].flatMap(({ name, attributes }) => {
      const shared = attributes.get('shared_name');
      return name.includes('roll_queue') && shared?.kind === 'string'
        ? [Buffer.from(shared.value).toString()]
        : [];
    });
  t.deepEqual(namesIn(first!), ['gradsync/roll/answer/1', 'gradsync/roll/result/1']);
  t.deepEqual(namesIn(second!), ['gradsync/roll/answer/2', 'gradsync/roll/result/2']);
  t.deepEqual(namesIn(chief!).toSorted(), [...namesIn(first!), ...namesIn(second!)].toSorted());
  t.deepEqual(first!.plan.rollCall, {
    uneven: 'stop',
    hasData: 'gradsync/has_data:0',
    tasks: 'gradsync/take_roll:0',
    replicas: 'gradsync/take_roll:1',
  });
});

test('no roll is called where data are even, where one task is alone, and in the embedded runtime', (t) => {
  t.is(rewrittenFor(LINE, 2, 0).plan.rollCall, undefined);
  t.is(rewrittenFor(LINE, 1, 0, { uneven: 'stop' }).plan.rollCall, undefined);
  t.is(rewrittenFor(LINE, 2, 0, { uneven: 'join', runtime: 'embedded' }).plan.rollCall, undefined);
});

test('tasks that wait for nobody leave word when they end, and have nothing to do after that', (t) => {
  const strategy = '{"builder": "ps", "sync": false}';
  const { graph, plan } = rewrittenFor(LINE, 2, 1, { uneven: 'join', strategy });
  t.is(plan.rollCall!.withoutData, undefined);
  t.is(plan.rollCall!.replicas, null);
  t.is(graph.getTensor(plan.rollCall!.tasks).operation.type, 'Sub');
});

test('runs of another kind of uneven data do not meet: their digests differ', (t) => {
  const digests = [undefined, 'stop', 'join'] as const;
  const found = new Set(digests.map((uneven) => rewrittenFor(LINE, 2, 0, { uneven }).plan.digest));
  t.is(found.size, 3);
});

const CASES = [
  ['linear-regression.reference', 'ps-lb'],
  ['batch-norm.resource', 'ps-lb'],
  ['words-adam-clipped.resource', 'parallax'],
  ['words-adam-clipped.resource', '{"builder": "ps-lb", "staleness": 1}'],
  ['mnist-cnn.resource', '{"builder": "all-reduce", "compressor": "bfloat16"}'],
  ['recurrent-frames.resource', 'ps-lb'],
] as const;

for (const [name, strategy] of CASES) {
  for (const task of [0, 1]) {
    test(`${name}, ${strategy}, task ${task}: without data the graph has all it had, but for what the data decide`, (t) => {
      const { trainOp } = fixtureNamed(name);
      const { graph, plan } = rewrittenFor(trainingOf(fixtureNamed(name)), 2, task, {
        uneven: 'join',
        strategy,
      });
      const before = new Set([...graph.operations()].map((operation) => operation.name));
      leaveOutData(graph, plan);
      verifyGraph(graph);
      t.deepEqual(
        [...graph.operations()]
          .filter(({ type }) => type === 'Placeholder')
          .map((operation) => `${operation.name}:0`),
        Object.values(plan.withoutData!.counts).filter((tensor) => tensor !== null),
      );
      for (const each of plan.withoutData!.leftOut) t.is(graph.find(each), undefined, each);
      for (const each of [trainOp, ...plan.initializers]) {
        if (before.has(each)) t.not(graph.find(each), undefined, each);
      }
      t.notThrows(() => decodeGraphFile(encodeGraphDef(graph)));
    });
  }
}
