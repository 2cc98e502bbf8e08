/**
 * Sessions whose tasks run out of data: workers that run ahead, asynchronous ones, compressed gradients, a learning rate that is fed, saving and
 * resuming while a task has none; and what is refused.
 */
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import {
  openSession,
  type RunRequest,
  type RunResult,
  type Session,
  type SessionOptions,
} from '../../src/index.js';
import { openEmbeddedSession } from '../../src/runtime/index.js';
import { rewriteFixture } from '../helpers/embedded.js';
import { differencesFromOracle } from '../helpers/equivalence.js';
import { fixtureNamed, graphPath, readFeeds, readOracle } from '../helpers/fixtures.js';
import { temporaryFolder } from '../helpers/folder.js';
import { handBuiltTasks } from '../helpers/hand-built.js';
import { PATIENT_MS } from '../helpers/patience.js';
import { afterSteady } from '../helpers/steady.js';

const steady = fixtureNamed('steady-sgd.resource');
const linear = fixtureNamed('linear-regression.resource');

async function open(
  t: ExecutionContext,
  fixture: typeof steady,
  tasks: number,
  options: Pick<SessionOptions, 'strategy' | 'uneven'>,
): Promise<Session> {
  const session = await openSession({
    graph: graphPath(fixture),
    resources: { nodes: [{ address: 'localhost', tasks }] },
    deadlineMs: PATIENT_MS,
    ...options,
  });
  t.teardown(() => session.close());
  await session.initialize();
  return session;
}

function batchesOf(fixture: typeof steady, lengths: readonly number[]): RunRequest['feeds'][][] {
  const shareOf = readFeeds(fixture);
  return lengths.map((length, task) =>
    Array.from({ length }, (_, step) => Object.fromEntries(shareOf(task, step))),
  );
}

/** What the updates of `lengths[task]` steps of each task come to, were each applied by itself. */
function afterAll(lengths: readonly number[]): ReturnType<typeof afterSteady> {
  const shareOf = readFeeds(steady);
  return afterSteady(
    lengths.flatMap((length, task) => Array.from({ length }, (_, step) => shareOf(task, step))),
  );
}

async function valuesOf(session: Session, task = 0): Promise<Record<string, Float32Array>> {
  const variables = await session.readVariables(task);
  return Object.fromEntries([...variables].map(([name, { data }]) => [name, data as Float32Array]));
}

test.serial(
  'stop, whatever the strategy: the variables are those after the steps that all tasks have data for',
  async (t) => {
    for (const strategy of ['all-reduce', '{"builder": "ps-lb", "staleness": 1}']) {
      const session = await open(t, linear, 2, { strategy, uneven: 'stop' });
      const end = await session.train({ batches: batchesOf(linear, [1, 3]), fetches: ['train_op'] });
      t.deepEqual(end, { steps: [1, 1], ended: [{ task: 0, step: 1 }] }, strategy);
      t.deepEqual(
        differencesFromOracle(readOracle(linear, 2), 1, await session.readVariables()),
        [],
        strategy,
      );
    }
  },
);

test.serial(
  'workers that run ahead: rounds are the means over those that have data, and lags are those of own steps',
  async (t) => {
    const session = await open(t, steady, 2, {
      strategy: '{"builder": "ps-lb", "staleness": 2}',
      uneven: 'join',
    });
    const lengths = [3, 8];
    const end = await session.train({ batches: batchesOf(steady, lengths), fetches: ['train_op'] });
    t.deepEqual(end, {
      steps: lengths,
      ended: [
        { task: 0, step: 3 },
        { task: 1, step: 8 },
      ],
    });
    const { kernel, table } = await valuesOf(session);
    // Gradients do not depend on the variables: three rounds with half of two tasks' updates, five with all of one's.
    const [both, early] = [afterAll(lengths), afterAll([3, 3])];
    t.deepEqual(
      kernel,
      both.kernel.map((value, i) => value - (early.kernel[i]! - 0.5) / 2),
    );
    t.deepEqual(
      table,
      both.table.map((value, i) => value - (early.table[i]! - 0.25) / 2),
    );
    for (const [task, reads] of lengths.entries()) {
      t.is(session.lags(task).reads, reads);
      t.true(session.lags(task).max <= 2);
    }
  },
);

test.serial(
  'tasks that never wait for each other train on all of their data, or until the first has none',
  async (t) => {
    const strategy = '{"builder": "ps-lb", "sync": false}';
    const all = await open(t, steady, 3, { strategy, uneven: 'join' });
    const seen: RunResult[] = [];
    const end = await all.train({
      batches: batchesOf(steady, [2, 0, 5]),
      fetches: [steady.loss, 'train_op'],
      onStep: (_, results) => void seen.push(...results),
    });
    t.deepEqual(end.steps, [2, 0, 5]);
    t.deepEqual(
      end.ended,
      [1, 0, 2].map((task) => ({ task, step: [2, 0, 5][task]! })),
    );
    t.is(seen.filter((result) => steady.loss in result).length, 7);
    const { kernel: k, table: rows } = await valuesOf(all);
    t.deepEqual({ kernel: k, table: rows }, afterAll([2, 0, 5]));
    const session = await open(t, steady, 2, { strategy, uneven: 'stop' });
    const shareOf = readFeeds(steady);
    function* endless() {
      for (let step = 0; ; step++) yield Object.fromEntries(shareOf(0, step));
    }
    const { steps, ended } = await session.train({
      batches: [endless(), batchesOf(steady, [0, 2])[1]!],
      fetches: ['train_op'],
    });
    t.deepEqual(ended, [{ task: 1, step: 2 }]);
    t.is(steps[1], 2);
    const { kernel, table } = await valuesOf(session);
    t.deepEqual({ kernel, table }, afterAll(steps));
  },
);

for (const plan of [
  '"compressor": "float16-error-feedback"',
  '"compressor": "top-k-error-feedback", "k": 2',
]) {
  test.serial(
    `${plan}: a task without data sends nothing of what it has kept back, and its copies are those of the others`,
    async (t) => {
      const strategy = `{"builder": "all-reduce", ${plan}}`;
      const session = await open(t, steady, 2, { strategy, uneven: 'join' });
      const [first, own] = batchesOf(steady, [1, 3]);
      await session.run([first![0]!, own![0]!].map((feeds) => ({ feeds, fetches: ['train_op'] })));
      const residual = Object.keys(await valuesOf(session)).find((name) => /residual/.test(name))!;
      const before = await valuesOf(session);
      const start = await valuesOf(session, 1);
      for (const feeds of own!.slice(1)) await session.run([null, { feeds, fetches: ['train_op'] }]);
      const [ended, trained] = [await valuesOf(session), await valuesOf(session, 1)];
      t.deepEqual(ended[residual], before[residual]);
      t.deepEqual([ended['kernel'], ended['table']], [trained['kernel'], trained['table']]);
      // What was not sent is what is kept now and was not before; the rate is 1/2.
      const shareOf = readFeeds(steady);
      const all = afterSteady([1, 2].map((step) => shareOf(1, step))).kernel;
      t.deepEqual(
        trained['kernel'],
        start['kernel']!.map(
          (value, i) => value + all[i]! - 0.5 + (trained[residual]![i]! - start[residual]![i]!) / 2,
        ),
      );
    },
  );
}

test.serial(
  'what is fed to updates, as a learning rate, a task without data takes of one that has some',
  async (t) => {
    const rate = { dtype: 'float32', shape: [], data: Float32Array.of(0.25) } as const;
    const [, own] = batchesOf(linear, [0, 2]);
    const batches = own!.map((feeds) => ({ ...feeds, 'train_op/learning_rate:0': rate }));
    for (const strategy of ['ps', 'all-reduce']) {
      const session = await open(t, linear, 2, { strategy, uneven: 'join' });
      await session.train({ batches: [[], batches], fetches: ['train_op'] });
      const alone = await open(t, linear, 1, { strategy: 'ps' });
      await alone.train({ batches: [batches], fetches: ['train_op'] });
      const [{ W, b }, expected] = [await valuesOf(session), await valuesOf(alone)];
      t.deepEqual({ W, b }, { W: expected['W'], b: expected['b'] }, strategy);
    }
  },
);

test.serial('saved while a task has no data, and resumed: the same bits', async (t) => {
  const fixture = fixtureNamed('words-adam-clipped.resource');
  const path = join(temporaryFolder(t), 'checkpoint.safetensors');
  const options = { strategy: 'ps-lb', uneven: 'join' } as const;
  const steps = batchesOf(fixture, [3, 3]).map((batches) =>
    batches.map((feeds) => ({ feeds, fetches: ['train_op'] })),
  );
  const whole = await open(t, fixture, 2, options);
  await whole.run([steps[0]![0]!, steps[1]![0]!]);
  await whole.run([null, steps[1]![1]!]);
  await whole.save(path);
  const resumed = await open(t, fixture, 2, options);
  await resumed.restore(path);
  for (const session of [whole, resumed]) await session.run([null, steps[1]![2]!]);
  t.deepEqual(await resumed.readVariables(), await whole.readVariables());
});

test.serial(
  'tasks are asked for the same steps again and again, with data or without: nobody is left behind',
  async (t) => {
    const session = await open(t, steady, 3, { strategy: 'ps-lb', uneven: 'join' });
    const [one, two, three] = batchesOf(steady, [1, 1, 1]).map(([feeds]) => ({
      feeds: feeds!,
      fetches: ['train_op'],
    }));
    const patterns = [
      [one!, null, null],
      [null, two!, null],
      [null, null, three!],
      [one!, two!, null],
      [null, null, null],
    ];
    await Promise.all(patterns.map((requests) => session.run(requests)));
    const { kernel } = await valuesOf(session);
    const [all, pair] = [afterAll([1, 1, 1]).kernel, afterAll([1, 1, 0]).kernel];
    t.deepEqual(
      kernel,
      all.map((value, i) => value + (pair[i]! - 0.5) / 2),
    );
    await session.run([one!, two!, three!]);
  },
);

test.serial('join needs a graph that was rewritten for it, where tasks wait for each other', async (t) => {
  const options = { uneven: 'join' } as const;
  await t.throwsAsync(openEmbeddedSession({ tasks: handBuiltTasks(2), ...options }), {
    code: 'FAILED_PRECONDITION',
    message: /Plan of task 0: .*openSession/,
  });
  const tasks = rewriteFixture(linear, 2, '{"builder": "ps", "sync": false}');
  for (const each of [handBuiltTasks(1), tasks])
    await (await openEmbeddedSession({ tasks: each, ...options })).close();
});
