/** What waits: deadlines, cancelling, AbortSignal, and the end of a session. */
import test from 'ava';
import { withSignal } from '../../src/addon/index.js';
import { GradsyncError } from '../../src/errors.js';
import { addon, floats, PATIENT, sessionOf } from '../helpers/addon.js';

const DENSE = { dtype: 'float32', shape: null, reduction: 'mean' } as const;
const QUEUE = { dtypes: ['int64'], shapes: null, capacity: 1 } as const;
const token = [{ dtype: 'int64', shape: [], data: new BigInt64Array(1) }] as const;

test('a wait ends at its deadline and says what was missing', async (t) => {
  const session = sessionOf(t);
  const accumulator = session.denseAccumulator('g', DENSE);
  accumulator.apply(0, 4, floats(1), [1]);
  await t.throwsAsync(accumulator.take(3, { deadlineMs: 20 }).promise, {
    code: 'DEADLINE_EXCEEDED',
    message: /'g'.*expected 3 gradients but received 1 .*contributors present: 4/,
  });
  const queue = session.tokenQueue('q', QUEUE);
  await t.throwsAsync(queue.dequeue({ deadlineMs: 0 }).promise, { code: 'DEADLINE_EXCEEDED' });
  await queue.enqueue(token, PATIENT).promise;
  await t.throwsAsync(queue.enqueue(token, { deadlineMs: 20 }).promise, { code: 'DEADLINE_EXCEEDED' });
  accumulator.apply(0, 0, floats(3), [1]);
  t.deepEqual(
    (await accumulator.take(2, PATIENT).promise).data,
    floats(2),
    'the round outlived the deadline',
  );
});

test('cancelling ends one wait, lets the next go on, and may be repeated', async (t) => {
  const accumulator = sessionOf(t).denseAccumulator('g', DENSE);
  const large = accumulator.take(9, PATIENT);
  const small = accumulator.take(1, { deadlineMs: Number.POSITIVE_INFINITY });
  accumulator.apply(0, 0, floats(1), [1]);
  large.cancel();
  large.cancel();
  await t.throwsAsync(large.promise, { code: 'CANCELLED' });
  t.deepEqual((await small.promise).data, floats(1));
  small.cancel();
});

test('a cancelled enqueue leaves no element', async (t) => {
  const queue = sessionOf(t).tokenQueue('q', QUEUE);
  await queue.enqueue(token, PATIENT).promise;
  const waiting = queue.enqueue(token, PATIENT);
  waiting.cancel();
  await t.throwsAsync(waiting.promise, { code: 'CANCELLED' });
  await queue.dequeue(PATIENT).promise;
  t.is(queue.size, 0);
});

test('an abort cancels the wait; its reason is the cause', async (t) => {
  const accumulator = sessionOf(t).denseAccumulator('g', DENSE);
  const controller = new AbortController();
  const waiting = withSignal(accumulator.take(1, PATIENT), controller.signal);
  const reason = new Error('enough');
  controller.abort(reason);
  const error = await t.throwsAsync(waiting, { instanceOf: GradsyncError, code: 'CANCELLED' });
  t.is(error?.cause, reason);
  await t.throwsAsync(withSignal(accumulator.take(1, PATIENT), AbortSignal.abort()), { code: 'CANCELLED' });
  accumulator.apply(0, 0, floats(2), [1]);
  const taken = await withSignal(accumulator.take(1, PATIENT), new AbortController().signal);
  t.deepEqual(taken.data, floats(2));
});

test('an abort does not hide another error, and none is left listening', async (t) => {
  const accumulator = sessionOf(t).denseAccumulator('g', DENSE);
  const controller = new AbortController();
  await t.throwsAsync(withSignal(accumulator.take(0, PATIENT), controller.signal), {
    code: 'INVALID_ARGUMENT',
  });
  controller.abort();
  await t.throwsAsync(withSignal(accumulator.take(1, { deadlineMs: 1 }), undefined), {
    code: 'DEADLINE_EXCEEDED',
  });
});

test('closing ends every wait with the reason, and every object refuses from then on', async (t) => {
  const session = addon.createSession({ name: 'closing' });
  const accumulator = session.denseAccumulator('g', DENSE);
  const sparse = session.sparseAccumulator('s', { ...DENSE, form: 'combined' });
  const queue = session.tokenQueue('q', QUEUE);
  const variable = session.variable('w', { dtype: 'float32', shape: null });
  variable.assign(floats(1), [1]);
  const waits = [accumulator.take(1, PATIENT), sparse.take(1, PATIENT), queue.dequeue(PATIENT)];
  session.close('task 1 died');
  session.close('again');
  for (const { promise } of waits)
    await t.throwsAsync(promise, { code: 'CANCELLED', message: /task 1 died/ });
  const refused = { code: 'FAILED_PRECONDITION', message: /task 1 died/ };
  t.throws(() => accumulator.apply(0, 0, floats(1), [1]), refused);
  t.throws(() => variable.assign(floats(1), [1]), refused);
  t.throws(() => variable.read(), refused);
  t.throws(() => variable.applyDense({ kind: 'gradientDescent', alpha: 1 }, [], floats(1)), refused);
  t.throws(() => session.variable('x', { dtype: 'float32', shape: null }), refused);
  await t.throwsAsync(accumulator.take(1, PATIENT).promise, refused);
  await t.throwsAsync(queue.enqueue(token, PATIENT).promise, refused);
});

test('promises settle while the thread is busy with others: a thousand waits, each once', async (t) => {
  const accumulator = sessionOf(t).denseAccumulator('g', DENSE);
  const waits = Array.from({ length: 1000 }, () => accumulator.take(1, PATIENT).promise);
  for (let step = 0; step < 1000; step++) accumulator.apply(step, 0, floats(step), [1]);
  const taken = await Promise.all(waits);
  t.deepEqual(
    taken.map(({ data }) => data[0]),
    Array.from({ length: 1000 }, (_, step) => step),
  );
});

test('a thread that awaits a settlement has the result when it returns, without a turn of the event loop', async (t) => {
  const accumulator = sessionOf(t).denseAccumulator('g', DENSE);
  const { promise } = accumulator.take(1, PATIENT);
  accumulator.apply(0, 0, floats(3), [1]);
  let turned = false;
  setImmediate(() => {
    turned = true;
  });
  addon.awaitSettlement(1, PATIENT);
  t.deepEqual((await promise).data, floats(3));
  t.false(turned);
});

test('awaiting a settlement ends at its deadline, and at once when fewer are pending than it waits for', async (t) => {
  addon.awaitSettlement(1, PATIENT);
  const accumulator = sessionOf(t).denseAccumulator('g', DENSE);
  const waiting = accumulator.take(1, PATIENT);
  addon.awaitSettlement(2, PATIENT);
  const begin = performance.now();
  addon.awaitSettlement(1, { deadlineMs: 5 });
  t.true(performance.now() - begin >= 4.9);
  accumulator.apply(0, 0, floats(1), [1]);
  t.deepEqual((await waiting.promise).data, floats(1), 'the event loop delivers what comes later');
});
