/**
 * The bytes that a run counts while it trains are those that the plan told beforehand: fixed numbers as they are, bytes per row times the rows
 * that the fed data touch.
 */
import test from 'ava';
import { openSession, planTraining } from '../../src/engine.js';
import type { Session } from '../../src/runtime/index.js';
import { type Fixture, fixtureNamed, graphPath, type Layout } from '../helpers/fixtures.js';
import { nodesOf, taskFeeds } from '../helpers/layouts.js';
import { lookupProgram, wordIds } from '../helpers/lookup-program.js';
import { PATIENT_MS } from '../helpers/patience.js';
import { throwsTyped } from '../helpers/throws.js';
import { type Lookups, plannedBytes } from '../helpers/touched-rows.js';

const STEPS = 3;

/** Every fixture that looks rows up does so in one variable, all that it is fed as ids. */
const TABLE = 'embedding';

async function train(
  session: Session,
  fixture: Fixture,
  layout: Layout,
): Promise<readonly Lookups['rows'][]> {
  const feedsOf = taskFeeds(fixture, layout);
  const looked: number[][][] = [];
  await session.initialize();
  for (let step = 0; step < STEPS; step++) {
    const feeds = layout.map((_, task) => Object.fromEntries(feedsOf(task, step)));
    looked.push(feeds.map((each) => Array.from((each['ids:0']?.data ?? []) as ArrayLike<number>, Number)));
    await session.run(feeds.map((each) => ({ feeds: each, fetches: [fixture.loss, fixture.trainOp] })));
  }
  return looked;
}

const countsWhatIsPlanned = test.macro({
  exec: async (t, name: string, strategy: string, layout: Layout) => {
    const fixture = fixtureNamed(name);
    const options = { graph: graphPath(fixture), resources: { nodes: nodesOf(layout) }, strategy };
    const overview = planTraining(options);
    t.deepEqual(overview.unmeasured, []);
    const session = await openSession({ ...options, deadlineMs: PATIENT_MS });
    t.teardown(() => session.close());
    const looked = await train(session, fixture, layout);
    // Rounds in the background have ended by then.
    const count = (await session.readVariables()).get(TABLE)?.shape[0] ?? 0;
    for (const task of layout.keys()) {
      const planned = looked.map((rows) => plannedBytes(overview, task, { [TABLE]: { count, rows } }));
      const sum = (way: 'sent' | 'received'): number => planned.reduce((all, each) => all + each[way], 0);
      t.deepEqual(session.traffic(task), { steps: STEPS, sent: sum('sent'), received: sum('received') });
      t.true(sum('sent') > 0 && sum('received') > 0);
    }
  },
  title: (_, name: string, strategy: string, layout: Layout) =>
    `${name}, ${strategy}, ${layout.length} tasks: the bytes that the run counts are the plan's`,
});

const STRATEGIES: readonly string[] = [
  'ps-lb',
  '{"builder": "ps-lb", "proxy": true}',
  '{"builder": "ps-lb", "staleness": 1}',
  '{"builder": "ps-lb", "sync": false}',
  'all-reduce',
  'parallax',
  '{"builder": "partitioned-ps", "minShardBytes": 64}',
];
const FIXTURES: readonly string[] = [
  'mnist-cnn.resource',
  'words-sgd.resource',
  'words-adam.resource',
  'spam.resource',
];

FIXTURES.forEach((name, i) => {
  STRATEGIES.forEach((strategy, j) => {
    test.serial(countsWhatIsPlanned, name, strategy, (i + j) % 2 === 0 ? [1, 1] : [1, 1, 1]);
  });
});
test.serial(countsWhatIsPlanned, 'words-sgd.reference', 'ps-lb', [1, 1]);
// Rows of a variable whose gradient is dense.
test.serial(
  countsWhatIsPlanned,
  'tied.resource',
  '{"builder": "partitioned-ps", "minShardBytes": 64}',
  [1, 1],
);
test.serial(countsWhatIsPlanned, 'words-adam-clipped.resource', 'parallax', [1, 1, 1]);
test.serial(
  countsWhatIsPlanned,
  'words-prime.resource',
  '{"builder": "partitioned-ps", "minShardBytes": 64}',
  [1, 1],
);
test.serial(
  countsWhatIsPlanned,
  'mnist-cnn.resource',
  '{"builder": "all-reduce", "compressor": "top-k-error-feedback"}',
  [1, 1, 1],
);
test.serial(
  countsWhatIsPlanned,
  'mnist-cnn.resource',
  '{"builder": "all-reduce", "compressor": "bfloat16"}',
  [1, 1],
);

/**
 * Counted is all that goes out of a task in a step: indices of the rows it looks up, rows of its gradient, its part of the dense gradient's
 * way around the ring; of the task that has the table, the rows that the other looks up. 12,800 words of a text, repeated about three times
 * each, and rows of 64 floats.
 */
test.serial(
  'under Parallax a worker sends at most 1.1 x (unique rows touched) x row bytes in a step, and the server for it; the run counts what the plan says',
  async (t) => {
    const shape = { vocabulary: 20_000, width: 64, classes: 2 };
    const [texts, words] = [128, 100];
    const options = {
      ...lookupProgram(shape),
      resources: { nodes: nodesOf([1, 1]) },
      strategy: 'parallax',
    };
    const overview = planTraining(options);
    t.deepEqual(overview.unmeasured, []);
    t.is(overview.variables['table']?.synchronizer, 'parameter-server');
    const session = await openSession({ ...options, deadlineMs: PATIENT_MS });
    t.teardown(() => session.close());
    await session.initialize();
    const rowBytes = shape.width * Float32Array.BYTES_PER_ELEMENT;
    let before = [0, 1].map((task) => session.traffic(task));
    for (let step = 0; step < STEPS; step++) {
      const ids = [0, 1].map((task) => wordIds(2 * step + task, texts * words, shape.vocabulary));
      const feeds = ids.map((data) => ({
        'ids:0': { dtype: 'int32' as const, shape: [texts, words], data },
      }));
      await session.run(feeds.map((each) => ({ feeds: each, fetches: ['train_op'] })));
      const touched = new Set(ids[1]).size;
      t.true(2.5 * touched < texts * words);
      const lookups = { table: { count: shape.vocabulary, rows: ids.map((each) => [...each]) } };
      const after = [0, 1].map((task) => session.traffic(task));
      for (const task of [0, 1]) {
        const sent = after[task]!.sent - before[task]!.sent;
        const received = after[task]!.received - before[task]!.received;
        t.deepEqual({ sent, received }, plannedBytes(overview, task, lookups));
        t.true(sent <= 1.1 * touched * rowBytes, `${sent} bytes for ${touched} rows`);
        t.true(sent >= touched * rowBytes);
      }
      before = after;
    }
  },
);

test.serial(
  'what a loop reads in every iteration is counted as often, and the plan says that it cannot tell',
  async (t) => {
    const fixture = fixtureNamed('recurrent-frames.resource');
    const layout = [1, 1];
    const options = { graph: graphPath(fixture), resources: { nodes: nodesOf(layout) }, strategy: 'ps' };
    const { unmeasured, traffic } = planTraining(options);
    const reads = ['while/MatMul/ReadVariableOp:0', 'while/add_2/ReadVariableOp:0'];
    t.deepEqual(
      unmeasured.filter((name) => name.endsWith('ReadVariableOp:0')),
      reads,
    );
    const session = await openSession({ ...options, deadlineMs: PATIENT_MS });
    t.teardown(() => session.close());
    await train(session, fixture, layout);
    // A kernel of 5 x 3 and a bias of 3, which the chief holds, in each of four iterations of the other task.
    const inLoop = 4 * (5 * 3 + 3) * Float32Array.BYTES_PER_ELEMENT;
    t.is(session.traffic(1).received, STEPS * (traffic[1]!.received.bytes + inLoop));
  },
);

test.serial(
  'only training steps count, from the first on, and a task that does not exist has none',
  async (t) => {
    const fixture = fixtureNamed('words-sgd.resource');
    const layout = [1, 1];
    const options = {
      graph: graphPath(fixture),
      resources: { nodes: nodesOf(layout) },
      strategy: 'all-reduce',
    };
    const session = await openSession({ ...options, deadlineMs: PATIENT_MS });
    t.teardown(() => session.close());
    const nothing = { steps: 0, sent: 0, received: 0 };
    // Copies begin with the chief's values, which the other task reads.
    await session.initialize();
    t.deepEqual([session.traffic(), session.traffic(1)], [nothing, nothing]);
    const feeds = Object.fromEntries(taskFeeds(fixture, layout)(1, 0));
    await session.runTask(1, { feeds, fetches: [fixture.loss] });
    t.deepEqual(session.traffic(1), nothing);
    await session.run([0, 1].map(() => ({ feeds, fetches: [fixture.trainOp] })));
    t.is(session.traffic(1).steps, 1);
    throwsTyped(t, () => session.traffic(2), 'INVALID_ARGUMENT', 'from 0 to 1');
  },
);
