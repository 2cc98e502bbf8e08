/** One session in several worker threads: contributions meet, whatever the order of arrival; a thread that ends harms nobody. */
import test from 'ava';
import { addon, floats, PATIENT, sessionOf } from '../helpers/addon.js';
import { codeOf, startThread } from '../helpers/addon-thread.js';
import { DENSE, type Job, TOKENS, tokenKey } from '../helpers/addon-worker-jobs.js';

const ORDERS = [
  [0, 1, 2],
  [0, 2, 1],
  [1, 0, 2],
  [1, 2, 0],
  [2, 0, 1],
  [2, 1, 0],
] as const;
/** Summed in any other order these give other bits. */
const VALUES = [
  [1e8, 0.1],
  [-1e8, 0.2],
  [1.25, 0.3],
] as const;

test('contributions of three threads give the same bits in every order of arrival', async (t) => {
  const session = sessionOf(t);
  const threads = [0, 1, 2].map(() => startThread(t, session));
  const sum = (column: 0 | 1) =>
    VALUES.reduce((total, row) => Math.fround(total + Math.fround(row[column])), 0);
  const expected = floats(sum(0) / 3, sum(1) / 3);
  for (const [round, order] of ORDERS.entries()) {
    const key = `g${round}`;
    const { promise } = session.denseAccumulator(key, DENSE).take(3, PATIENT);
    for (const contributor of order) {
      const job: Job = { kind: 'apply', key, contributor, values: VALUES[contributor]! };
      t.is(await threads[contributor]!.ask(job), 'accepted');
    }
    t.deepEqual((await promise).data, expected, `order ${order.join(' ')}`);
  }
});

test('a hundred rounds of three threads, each answered with tokens, lose nothing', async (t) => {
  const session = sessionOf(t);
  const done = [0, 1, 2].map((contributor) =>
    startThread(t, session).ask({ kind: 'apply-many', key: 'g', contributor, steps: 100 }),
  );
  const accumulator = session.denseAccumulator('g', DENSE);
  const queues = [0, 1, 2].map((contributor) => session.tokenQueue(tokenKey('g', contributor), TOKENS));
  for (let step = 0; step < 100; step++) {
    t.deepEqual((await accumulator.take(3, PATIENT).promise).data, floats(step, 1));
    for (const tokens of queues) {
      const data = new BigInt64Array([BigInt(step + 1)]);
      await tokens.enqueue([{ dtype: 'int64', shape: [], data }], PATIENT).promise;
    }
  }
  t.deepEqual(await Promise.all(done), ['done', 'done', 'done']);
});

test('updates of one variable by three threads all count, and no read is torn', async (t) => {
  const session = sessionOf(t);
  const variable = session.variable('w', { dtype: 'float32', shape: null });
  variable.assign(new Float32Array(1000), [1000]);
  let isRunning = true;
  const done = Promise.all(
    [0, 1, 2].map(() => startThread(t, session).ask({ kind: 'add-ones', key: 'w', times: 200 })),
  ).finally(() => {
    isRunning = false;
  });
  const out = new Float32Array(1000);
  while (isRunning) {
    const version = variable.copyTo(out, 0);
    t.is(new Set(out).size, 1, 'every element has the same age');
    t.is(version, out[0]! + 1);
    await new Promise(setImmediate);
  }
  await done;
  t.deepEqual(variable.read().data, new Float32Array(1000).fill(600));
});

for (const how of ['terminate', 'exit'] as const) {
  test(`a thread that ends by ${how} while it waits takes no round with it`, async (t) => {
    const session = sessionOf(t);
    const thread = startThread(t, session);
    const accumulator = session.denseAccumulator('g', DENSE);
    const waiting = thread.ask({ kind: 'take', key: 'g', required: 1 }).catch(() => 'gone');
    // An answer to a later message proves that the take has begun.
    t.is(await thread.ask({ kind: 'apply', key: 'other', contributor: 0, values: [1] }), 'accepted');
    if (how === 'terminate') await thread.terminate();
    else thread.send({ kind: 'exit' });
    await thread.exited();
    accumulator.apply(0, 0, floats(5), [1]);
    t.deepEqual((await accumulator.take(1, PATIENT).promise).data, floats(5));
    void waiting;
  });
}

test('a thread that is terminated while its answer is on the way does no harm', async (t) => {
  const session = sessionOf(t);
  for (let i = 0; i < 5; i++) {
    const thread = startThread(t, session);
    thread.send({ kind: 'take-and-spin', key: `g${i}` });
    await thread.signal();
    session.denseAccumulator(`g${i}`, DENSE).apply(0, 0, floats(1), [1]);
    await thread.terminate();
  }
  t.pass();
});

test('closing a session in one thread ends the waits of all', async (t) => {
  const session = addon.createSession({ name: 'closing', threads: 1 });
  const thread = startThread(t, session);
  const waiting = thread.ask({ kind: 'take', key: 'g', required: 1 });
  t.is(await thread.ask({ kind: 'apply', key: 'other', contributor: 0, values: [1] }), 'accepted');
  const own = session.denseAccumulator('h', DENSE).take(1, PATIENT);
  session.close('the test says so');
  t.deepEqual(await waiting, { code: 'CANCELLED' });
  await t.throwsAsync(own.promise, { code: 'CANCELLED', message: /the test says so/ });
  const refused = await thread.ask({ kind: 'apply', key: 'g', contributor: 0, values: [1] });
  t.deepEqual(refused, { code: 'FAILED_PRECONDITION' });
  t.is(codeOf(t.throws(() => session.denseAccumulator('h', DENSE))), 'FAILED_PRECONDITION');
});
