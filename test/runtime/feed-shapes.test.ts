/** Batches that do not belong together are found out before the step: a typed error that names them, and the session goes on. */
import test, { type ExecutionContext } from 'ava';
import { openSession, type Session, type TensorData } from '../../src/index.js';
import { type Fixture, fixtureNamed, graphPath, readFeeds } from '../helpers/fixtures.js';
import { PATIENT_MS } from '../helpers/patience.js';

async function open(t: ExecutionContext, fixture: Fixture, cpus: readonly number[]): Promise<Session> {
  const session = await openSession({
    graph: graphPath(fixture),
    resources: { nodes: [{ address: 'localhost', cpus, tasks: 2 }] },
    strategy: 'ps-lb',
    deadlineMs: PATIENT_MS,
  });
  t.teardown(() => session.close());
  await session.initialize();
  return session;
}

/** Without its last row. */
function shorter({ dtype, shape, data }: TensorData): TensorData {
  const [rows, ...row] = shape as [number, ...number[]];
  const size = row.reduce((product, dim) => product * dim, 1);
  return { dtype, shape: [rows - 1, ...row], data: data.slice(0, (rows - 1) * size) as TensorData['data'] };
}

const FIXTURES = [
  'linear-regression.resource',
  'linear-regression.reference',
  'mnist-cnn.resource',
  'mnist-cnn-clipped.reference',
  'spam.resource',
  'spam-clipped.reference',
  'words-adam.resource',
];

for (const name of FIXTURES) {
  test.serial(`${name}: labels of fewer examples than there are inputs`, async (t) => {
    const fixture = fixtureNamed(name);
    const session = await open(t, fixture, [0]);
    const feeds = readFeeds(fixture);
    const request = (task: number, change = (feed: TensorData) => feed) => {
      const fed = Object.fromEntries(feeds(task, 0)) as Record<string, TensorData>;
      const labels = Object.keys(fed).find((key) => key.startsWith('y'))!;
      return { feeds: { ...fed, [labels]: change(fed[labels]!) }, fetches: [fixture.loss, fixture.trainOp] };
    };
    const misfit = {
      code: 'INVALID_ARGUMENT',
      message: /^Feeds of task 1: expected shapes that fit .*y:0 \[\d+\b.*with which .* would have/,
    };
    await t.throwsAsync(session.run([request(0), request(1, shorter)]), misfit);
    await t.throwsAsync(session.runTask(1, request(1, shorter)), misfit);
    t.is((await session.run([request(0), request(1)])).length, 2);
    await t.throwsAsync(session.run([request(0), request(1, shorter)]), misfit);
  });
}

test('the shares of replicas are looked at as they will be', async (t) => {
  const fixture = fixtureNamed('linear-regression.resource');
  const session = await open(t, fixture, [0, 1]);
  const column = (rows: number): TensorData => ({
    dtype: 'float32',
    shape: [rows],
    data: new Float32Array(rows),
  });
  const request = (x: number, y: number) => ({
    feeds: { 'x:0': column(x), 'y:0': column(y) },
    fetches: ['loss:0'],
  });
  await t.throwsAsync(session.run([request(4, 4), request(6, 4)]), {
    message: /^Feeds of task 1: .*\[3\].*\[2\]/,
  });
  t.is((await session.run([request(4, 4), request(5, 5)])).length, 2);
});

test('one row may stand for all where the model lets it', async (t) => {
  const fixture = fixtureNamed('linear-regression.resource');
  const session = await open(t, fixture, [0]);
  const column = (rows: number): TensorData => ({
    dtype: 'float32',
    shape: [rows],
    data: new Float32Array(rows),
  });
  const request = { feeds: { 'x:0': column(4), 'y:0': column(1) }, fetches: [fixture.loss, fixture.trainOp] };
  t.is((await session.run([request, request])).length, 2);
});
