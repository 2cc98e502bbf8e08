/** Training steps whose tasks do not fit each other: refused before anything begins, and the session goes on. */
import test, { type ExecutionContext } from 'ava';
import { openSession, type Session, type SessionOptions, type TensorData } from '../../src/index.js';
import { fixtureNamed, graphPath, readFeeds } from '../helpers/fixtures.js';
import { PATIENT_MS } from '../helpers/patience.js';

async function open(
  t: ExecutionContext,
  fixture: string,
  tasks: number,
  more: Partial<SessionOptions> = {},
): Promise<Session> {
  const session = await openSession({
    graph: graphPath(fixtureNamed(fixture)),
    resources: { nodes: [{ address: 'localhost', tasks }] },
    strategy: 'ps-lb',
    deadlineMs: PATIENT_MS,
    ...more,
  });
  t.teardown(() => session.close());
  await session.initialize();
  return session;
}

const column = (rows: number): TensorData => ({
  dtype: 'float32',
  shape: [rows],
  data: Float32Array.from({ length: rows }, (_, i) => i + 1),
});
const share = (rows: number, fetches: readonly string[] = ['train_op']) => ({
  feeds: { 'x:0': column(rows), 'y:0': column(rows) },
  fetches,
});

async function readOne(session: Session, name: string): Promise<number> {
  return Number((await session.readVariables()).get(name)!.data[0]);
}

test.serial(
  'shares of different sizes are refused: the error says that tasks weigh the same, and how to allow it',
  async (t) => {
    const session = await open(t, 'linear-regression.resource', 2);
    const before = await readOne(session, 'W');
    const error = await t.throwsAsync(session.run([share(2), share(1)]), { code: 'INVALID_ARGUMENT' });
    t.regex(
      error?.message ?? '',
      /Feed "x:0": expected as many rows \(axis 0\) on every task .*counts each task the same/,
    );
    t.regex(error?.message ?? '', /2 on task 0 and 1 on task 1.*unevenBatches: "allow"/);
    t.is(await readOne(session, 'W'), before);
    await session.run([share(2), share(2)]);
    t.not(await readOne(session, 'W'), before);
  },
);

test.serial('the shares of tasks that are asked one by one are compared too', async (t) => {
  const session = await open(t, 'linear-regression.resource', 3);
  for (const sizes of [2, 4]) {
    const runs = [session.runTask(2, share(sizes))];
    await t.throwsAsync(session.runTask(0, share(sizes + 1)), { message: /task 2 and \d on task 0/ });
    runs.push(session.runTask(0, share(sizes)), session.runTask(1, share(sizes)));
    await Promise.all(runs);
  }
});

test.serial(
  'shares of different sizes train where they are allowed, each task with the same weight',
  async (t) => {
    const session = await open(t, 'linear-regression.resource', 2, { unevenBatches: 'allow' });
    const at = async () => [await readOne(session, 'W'), await readOne(session, 'b')] as const;
    const [w, b] = await at();
    await session.run([share(2), share(1)]);
    const gradient = (rows: number): number =>
      Array.from({ length: rows }, (_, i) => 2 * (w * (i + 1) + b - (i + 1))).reduce((sum, g) => sum + g) /
      rows;
    const expected = b - 0.01 * ((gradient(2) + gradient(1)) / 2);
    t.true(Math.abs((await at())[1] - expected) < 1e-6, `${(await at())[1]}, not ${expected}`);
  },
);

test.serial(
  'what does not train may have any number of rows, and so may tasks that train asynchronously',
  async (t) => {
    const session = await open(t, 'linear-regression.resource', 2);
    await session.run([share(2, ['loss:0']), share(1, ['loss:0'])]);
    const own = await open(t, 'linear-regression.resource', 2, { strategy: { builder: 'ps', sync: false } });
    await own.run([share(2), share(1)]);
    t.is((await own.run([share(2), share(1, ['loss:0'])])).length, 2);
  },
);

test.serial('a feed that is said to be no batch may differ between tasks', async (t) => {
  const session = await open(t, 'linear-regression.resource', 2, { feeds: { 'x:0': 'all', 'y:0': 'all' } });
  t.is((await session.run([share(2), share(1)])).length, 2);
});

test.serial('replicas of a task that would get unequal shares are refused', async (t) => {
  const resources = { nodes: [{ address: 'localhost', cpus: [0, 1] }] };
  const session = await open(t, 'linear-regression.resource', 1, { resources });
  await t.throwsAsync(session.run([share(3)]), {
    code: 'INVALID_ARGUMENT',
    message: /Feed "x:0": expected a multiple of 2 rows.*received 3 on task 0.*unevenBatches/,
  });
  await session.run([share(3, ['loss:0'])]);
  await session.run([share(4)]);
  const allowing = await open(t, 'linear-regression.resource', 1, { resources, unevenBatches: 'allow' });
  await allowing.run([share(3)]);
});

test.serial('anything but refuse and allow is refused at open', async (t) => {
  const opening = open(t, 'linear-regression.resource', 2, { unevenBatches: 'warn' as 'allow' });
  await t.throwsAsync(opening, {
    message: /"unevenBatches": expected one of refuse, allow but received "warn"/,
  });
});

for (const name of ['linear-regression.resource', 'spam-clipped.resource']) {
  for (const tasks of [2, 3]) {
    test.serial(
      `${name}, ${tasks} tasks: one that does not train while others do is refused at once, whichever it is`,
      async (t) => {
        const session = await open(t, name, tasks);
        const { loss, trainOp } = fixtureNamed(name);
        const feeds = readFeeds(fixtureNamed(name));
        const requests = (fetches: (task: number) => readonly string[]) =>
          Array.from({ length: tasks }, (_, task) => ({
            feeds: Object.fromEntries(feeds(task, 0)),
            fetches: fetches(task),
          }));
        for (let idle = 0; idle < tasks; idle++) {
          const error = {
            code: 'INVALID_ARGUMENT',
            message: new RegExp(
              `"${trainOp}" for task \\d.*task ${idle}, that is asked for "${loss}"; fetch`,
            ),
          };
          const some = requests((task) => (task === idle ? [loss] : [loss, trainOp]));
          await t.throwsAsync(session.run(some), error);
          const one = requests((task) => (task === idle ? [trainOp] : []));
          await t.throwsAsync(session.run(one), {
            code: 'INVALID_ARGUMENT',
            message: /is asked for nothing/,
          });
        }
        await session.run(requests(() => [loss, trainOp]));
        await session.run(requests(() => [loss]));
      },
    );
  }
}
