/** Accumulators and token queues through JavaScript. Their semantics are tested natively; here it is the way in and out. */
import test from 'ava';
import { floats, PATIENT, sessionOf } from '../helpers/addon.js';

test('a dense mean comes back with dtype and shape, and ends the round', async (t) => {
  const accumulator = sessionOf(t).denseAccumulator('g', {
    dtype: 'float32',
    shape: [-1, 2],
    reduction: 'mean',
  });
  const { promise } = accumulator.take(2, PATIENT);
  t.deepEqual(accumulator.apply(0, 0, floats(1, 2), [1, 2]), { status: 'accepted' });
  t.is(accumulator.numAccumulated, 1);
  accumulator.apply(0n, 1, floats(3, 6), [1, 2]);
  t.deepEqual(await promise, { dtype: 'float32', shape: [1, 2], data: floats(2, 4) });
  t.is(accumulator.numAccumulated, 0);
  t.deepEqual(accumulator.apply(0, 0, floats(1, 1), [1, 2]), {
    status: 'stale',
    localStep: 0n,
    globalStep: 1n,
  });
  accumulator.setGlobalStep(2n ** 40n);
  t.like(accumulator.apply(2 ** 40 - 1, 0, floats(1, 1), [1, 2]), { status: 'stale', globalStep: 2n ** 40n });
  t.throws(() => accumulator.apply(2 ** 40, 0, floats(1, 1, 1), [3]), {
    code: 'INVALID_ARGUMENT',
    message: /Shape mismatch/,
  });
});

test('what was applied may be overwritten at once', async (t) => {
  const accumulator = sessionOf(t).denseAccumulator('g', { dtype: 'float32', shape: null, reduction: 'sum' });
  const gradient = new Float32Array(10_000).fill(1);
  for (const contributor of [0, 1, 2]) {
    accumulator.apply(0, contributor, gradient.fill(contributor), [100, 100]);
  }
  gradient.fill(99);
  t.deepEqual((await accumulator.take(3, PATIENT).promise).data, new Float32Array(10_000).fill(3));
});

test('a sparse aggregate is sorted and unique, and its mean is the dense mean', async (t) => {
  const accumulator = sessionOf(t).sparseAccumulator('g', {
    dtype: 'float32',
    shape: [4, 2],
    reduction: 'mean',
    form: 'combined',
  });
  accumulator.apply(0, 0, new BigInt64Array([3n, 1n, 3n]), floats(1, 1, 2, 2, 3, 3), [3, 2], [4, 2]);
  accumulator.apply(0, 1, new Int32Array([0]), floats(8, 8), [1, 2], null);
  t.deepEqual(await accumulator.take(2, PATIENT).promise, {
    indices: new BigInt64Array([0n, 1n, 3n]),
    values: { dtype: 'float32', shape: [3, 2], data: floats(4, 4, 1, 1, 2, 2) },
    shape: new BigInt64Array([4n, 2n]),
  });
  t.throws(() => accumulator.apply(1, 0, new Int32Array([4]), floats(1, 1), [1, 2], null), {
    code: 'INVALID_ARGUMENT',
  });
  t.throws(() => accumulator.apply(1, 0, new Int32Array([1]), floats(1, 1), [1, 2], [5, 2]), {
    code: 'INVALID_ARGUMENT',
  });
});

test('the other forms and means of a sparse accumulator reach it', async (t) => {
  const session = sessionOf(t);
  const spec = { dtype: 'float32', shape: null, reduction: 'mean' } as const;
  const apply = async (
    key: string,
    options: { form: 'combined' | 'concatenated' | 'tensorflow'; mean?: 'touched' },
  ) => {
    const accumulator = session.sparseAccumulator(key, { ...spec, ...options });
    session.sparseAccumulator(key, { ...spec, ...options });
    accumulator.apply(0, 0, new Int32Array([1, 2]), floats(1, 2), [2], null);
    accumulator.apply(0, 1, new Int32Array([1, 0]), floats(3, 4), [2], null);
    const { indices, values } = await accumulator.take(2, PATIENT).promise;
    return [[...indices].map(Number), [...values.data].map(Number)];
  };
  t.deepEqual(await apply('a', { form: 'combined', mean: 'touched' }), [
    [0, 1, 2],
    [4, 2, 2],
  ]);
  t.deepEqual(await apply('b', { form: 'concatenated' }), [
    [1, 2, 1, 0],
    [0.5, 1, 1.5, 2],
  ]);
  t.deepEqual(await apply('c', { form: 'tensorflow' }), [
    [1, 0, 2],
    [2, 4, 2],
  ]);
});

test('tokens leave a queue in the order they came', async (t) => {
  const queue = sessionOf(t).tokenQueue('q', {
    dtypes: ['int64', 'float32'],
    shapes: [[], [2]],
    capacity: 2,
    name: 'tokens',
  });
  const token = (step: bigint) => [
    { dtype: 'int64', shape: [], data: new BigInt64Array([step]) } as const,
    { dtype: 'float32', shape: [2], data: floats(Number(step), 0) } as const,
  ];
  const waiting = [1n, 2n, 3n].map((step) => queue.enqueue(token(step), PATIENT).promise);
  t.is(queue.size, 2);
  t.deepEqual(await queue.dequeue(PATIENT).promise, token(1n));
  await Promise.all(waiting);
  await queue.close(false, PATIENT).promise;
  t.true(queue.isClosed);
  t.deepEqual(await queue.dequeue(PATIENT).promise, token(2n));
  t.deepEqual(await queue.dequeue(PATIENT).promise, token(3n));
  await t.throwsAsync(queue.dequeue(PATIENT).promise, {
    code: 'OUT_OF_RANGE',
    message: /FIFOQueue 'tokens' is closed/,
  });
  await t.throwsAsync(queue.enqueue(token(4n), PATIENT).promise, { code: 'CANCELLED' });
});
