/** Communicators: what each collective gives through the addon, ranks in worker threads, and how their failures reach JavaScript. */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import test, { type ExecutionContext } from 'ava';
import type { NativeCommunicator, NativeSession, NativeTensor } from '../../src/addon/native.js';
import { narrow } from '../../src/runtime/embedded/kernels/half.js';
import { addon, floats, PATIENT, sessionOf } from '../helpers/addon.js';
import { codeOf } from '../helpers/addon-thread.js';
import { floatsOf, type RankData, type RankJob } from '../helpers/communicator-worker.js';
import { unevenValues } from '../helpers/fed-gradients.js';

/** All ranks in this thread: calls never block, so one thread can be all of them. */
function ranksOf(session: NativeSession, size: number, key = 'c'): NativeCommunicator[] {
  return Array.from({ length: size }, (_, rank) => session.communicator(key, { size, rank }));
}

const rowsOf = (...values: number[]): NativeTensor => ({
  dtype: 'float32',
  shape: [values.length / 2, 2],
  data: floats(...values),
});
const UNDER_G = { key: 'g', ...PATIENT };

for (const shared of [false, true]) {
  test(`an all-reduce works in place on ${shared ? 'shared memory' : 'arrays of its own thread'}`, async (t) => {
    const ranks = ranksOf(sessionOf(t), 3);
    for (const [reduction, expected] of [
      ['sum', [6, 12]],
      ['mean', [2, 4]],
      ['min', [1, 2]],
      ['max', [3, 6]],
      ['product', [6, 48]],
    ] as const) {
      const tensors = ranks.map((_, rank) => floatsOf([rank + 1, 2 * (rank + 1)], shared));
      await Promise.all(
        ranks.map((rank, i) => rank.allReduce(tensors[i]!, { ...UNDER_G, reduction }).promise),
      );
      for (const { data } of tensors) t.deepEqual([...data], [...expected]);
    }
  });
}

type GradientDType = 'float16' | 'bfloat16' | 'float32' | 'float64';

/** `values` in that type, rounded to it. */
function tensorOf(dtype: GradientDType, values: readonly number[]): NativeTensor {
  const shape = [values.length];
  if (dtype === 'float32') return { dtype, shape, data: Float32Array.from(values) };
  if (dtype === 'float64') return { dtype, shape, data: Float64Array.from(values) };
  const data = new Uint16Array(values.length);
  narrow(Float32Array.from(values), dtype, data);
  return { dtype, shape, data };
}

const LENGTHS = [1, 7, 64, 4099, 2];

for (const dtype of ['float16', 'bfloat16', 'float32', 'float64'] as const) {
  test(`${dtype}: gradients that are summed as one vector have the bits of each summed by itself`, async (t) => {
    const ranks = ranksOf(sessionOf(t), 3);
    const given = ranks.map((_, rank) =>
      LENGTHS.map((length, i) => tensorOf(dtype, unevenValues(100 * rank + i, length))),
    );
    const joined = given.map((tensors) => {
      const data = tensors.flatMap((tensor) => [...(tensor.data as Float64Array)]);
      const Elements = tensors[0]!.data.constructor as Float64ArrayConstructor;
      return { dtype, shape: [data.length], data: Elements.from(data) };
    });
    const sum = async (key: string, tensors: readonly NativeTensor[]): Promise<void> => {
      const options = { ...PATIENT, key, reduction: 'sum' } as const;
      await Promise.all(tensors.map((tensor, rank) => ranks[rank]!.allReduce(tensor, options).promise));
    };
    const before = [...joined[0]!.data];
    await sum('joined', joined);
    await Promise.all(
      LENGTHS.map((_, i) =>
        sum(
          `alone ${i}`,
          given.map((tensors) => tensors[i]!),
        ),
      ),
    );
    t.notDeepEqual([...joined[0]!.data], before);
    for (const [rank, tensors] of given.entries()) {
      const alone = tensors.flatMap(({ data }) => [...(data as Float64Array)]);
      t.deepEqual([...joined[rank]!.data], alone);
    }
  });
}

test('gathering, scattering, broadcasting, exchanging and waiting', async (t) => {
  const [a, b] = ranksOf(sessionOf(t), 2) as [NativeCommunicator, NativeCommunicator];
  t.deepEqual([a.rank, a.size, b.rank], [0, 2, 1]);
  const both = <T>(one: { promise: Promise<T> }, other: { promise: Promise<T> }) =>
    Promise.all([one.promise, other.promise]);
  const gathered = await both(a.allGather(rowsOf(1, 2), UNDER_G), b.allGather(rowsOf(), UNDER_G));
  for (const { values, counts } of gathered) t.deepEqual([values, counts], [rowsOf(1, 2), [1, 0]]);
  const sum = { ...UNDER_G, reduction: 'sum' } as const;
  const scattered = await both(
    a.reduceScatter(rowsOf(1, 2, 3, 4, 5, 6), sum),
    b.reduceScatter(rowsOf(10, 20, 30, 40, 50, 60), sum),
  );
  t.deepEqual(scattered, [rowsOf(11, 22, 33, 44), rowsOf(55, 66)]);
  const [mine, theirs] = [rowsOf(1, 2), rowsOf(3, 4)];
  await both(a.broadcast(mine, { ...UNDER_G, root: 1 }), b.broadcast(theirs, { ...UNDER_G, root: 1 }));
  t.deepEqual(mine, rowsOf(3, 4));
  const exchanged = await both(
    a.allToAll(rowsOf(1, 2, 3, 4), { ...UNDER_G, splits: [0, 2] }),
    b.allToAll(rowsOf(5, 6, 7, 8), UNDER_G),
  );
  t.deepEqual(exchanged[0], { values: rowsOf(5, 6), counts: [0, 1] });
  t.deepEqual(exchanged[1], { values: rowsOf(1, 2, 3, 4, 7, 8), counts: [2, 1] });
  t.deepEqual(await both(a.barrier(UNDER_G), b.barrier(UNDER_G)), [undefined, undefined]);
});

test('a sparse all-reduce sums by index and reports what it chose and moved', async (t) => {
  const ranks = ranksOf(sessionOf(t), 2);
  const options = { ...UNDER_G, reduction: 'mean', tableRows: 10 } as const;
  const results = await Promise.all(
    ranks.map(
      (rank, i) =>
        rank.sparseAllReduce(Int32Array.of(7, i, 7), rowsOf(2, 4, 10, 20, 6, 8), {
          ...options,
          algorithm: 'row ranges',
        }).promise,
    ),
  );
  for (const { indices, values, report } of results) {
    t.deepEqual(indices, BigInt64Array.of(0n, 1n, 7n));
    t.deepEqual(values, rowsOf(5, 10, 5, 10, 8, 12));
    t.like(report, {
      algorithm: 'row ranges',
      rowsGiven: 6,
      rowsMoved: 4,
      rowsResult: 3,
      bytesMoved: 4 * (8 + 8),
    });
    t.regex(report.reason, /asked for: rows .* ms, row ranges .* ms, dense .* ms, for 4 distinct rows of 6/);
  }
});

test('failures name the ranks and are the same for all', async (t) => {
  const [a, b, c] = ranksOf(sessionOf(t), 3) as [NativeCommunicator, NativeCommunicator, NativeCommunicator];
  const codes = async (...pending: { promise: Promise<unknown> }[]) =>
    (await Promise.allSettled(pending.map(({ promise }) => promise))).map((result) => {
      const reason: unknown = result.status === 'rejected' ? result.reason : undefined;
      return [codeOf(reason), reason instanceof Error ? reason.message : 'it succeeded'] as const;
    });
  const sum = { ...UNDER_G, reduction: 'sum' } as const;
  const mismatched = await codes(
    a.allReduce(rowsOf(1, 2), sum),
    b.allReduce(floatsOf([1], false), sum),
    c.barrier(UNDER_G),
  );
  for (const [code, message] of mismatched) {
    t.is(code, 'INVALID_ARGUMENT');
    t.regex(message, /\[1,2\] from rank 0 and \[1\] from rank 1/);
  }
  // The patient one first: the other's deadline may have passed before the next call is made.
  const late = await codes(c.barrier({ key: 'b', ...PATIENT }), a.barrier({ key: 'b', deadlineMs: 10 }));
  for (const [code, message] of late) {
    t.is(code, 'DEADLINE_EXCEEDED');
    t.regex(message, /missing ranks: 1; present: 0, 2/);
  }
  const cancelled = a.barrier({ key: 'x', ...PATIENT });
  const other = b.barrier({ key: 'x', ...PATIENT });
  cancelled.cancel();
  t.deepEqual(
    (await codes(cancelled, other)).map(([code]) => code),
    ['CANCELLED', 'ABORTED'],
  );
  const waiting = a.subgroup([2, 0]).barrier(UNDER_G);
  c.leave('it has no more data');
  t.regex((await codes(waiting))[0]![1]!, /rank 0 has left: it has no more data/);
  t.is((await codes(b.barrier(UNDER_G)))[0]![0], 'UNAVAILABLE');
});

test('arguments are checked where the call is made', (t) => {
  const session = sessionOf(t);
  const [rank] = ranksOf(session, 2) as [NativeCommunicator, NativeCommunicator];
  const sum = { ...UNDER_G, reduction: 'sum' } as const;
  for (const call of [
    () => session.communicator('c', { size: 3, rank: 0 }),
    () => session.communicator('d', { size: 2, rank: 2 }),
    () => session.communicator('d', { size: 0, rank: 0 }),
    () => rank.allReduce({ ...rowsOf(1, 2), shape: [3] }, sum),
    () => rank.allReduce({ ...rowsOf(1, 2), dtype: 'float64' }, sum),
    () => rank.allReduce(rowsOf(1, 2), { ...sum, reduction: 'median' as 'sum' }),
    () => rank.barrier({ key: 1 as unknown as string, ...PATIENT }),
    () => rank.subgroup([1]),
  ]) {
    t.is(codeOf(t.throws(call)), 'INVALID_ARGUMENT', call.toString());
  }
  t.is(codeOf(t.throws(() => session.communicator('c', { size: 2, rank: 0 }))), 'ALREADY_EXISTS');
});

test('an array that is detached while its call waits is neither read nor written', async (t) => {
  const [a, b] = ranksOf(sessionOf(t), 2) as [NativeCommunicator, NativeCommunicator];
  const tensor = floatsOf([1, 2], false);
  const options = { ...UNDER_G, reduction: 'sum' } as const;
  const waiting = a.allReduce(tensor, options);
  structuredClone(tensor.data.buffer, { transfer: [tensor.data.buffer as ArrayBuffer] });
  const other = floatsOf([10, 20], false);
  await b.allReduce(other, options).promise;
  t.deepEqual([...other.data], [11, 22]);
  await t.throwsAsync(waiting.promise, { message: /detached|array of 8 bytes/ });
});

/** A rank in a worker thread. */
async function startRank(t: ExecutionContext, workerData: RankData) {
  const worker = new Worker(new URL('../helpers/communicator-worker.js', import.meta.url), { workerData });
  t.teardown(async () => {
    await worker.terminate();
  });
  await once(worker, 'message');
  return {
    worker,
    ask: async (job: RankJob): Promise<{ value?: unknown; code?: unknown; message?: string }> => {
      worker.postMessage(job);
      return (await once(worker, 'message'))[0];
    },
  };
}

for (const shared of [false, true]) {
  test(`three worker threads reduce ${shared ? 'in shared memory' : 'copies'}, two calls in flight, and lose nothing`, async (t) => {
    const session = sessionOf(t);
    const ranks = await Promise.all(
      [0, 1, 2].map((rank) => startRank(t, { session: session.id, key: 'c', rank, size: 3 })),
    );
    for (const [rounds, elements] of [
      [100, 3],
      [5, 100_000],
    ] as const) {
      const answers = await Promise.all(
        ranks.map(({ ask }) => ask({ kind: 'many', rounds, elements, shared })),
      );
      t.deepEqual(answers, [{ value: 'right' }, { value: 'right' }, { value: 'right' }]);
    }
  });
}

for (const how of ['terminate', 'exit'] as const) {
  test(`a worker thread that ends by ${how} fails those who wait for it`, async (t) => {
    const session = sessionOf(t);
    const mine = session.communicator('c', { size: 2, rank: 0 });
    const { worker } = await startRank(t, { session: session.id, key: 'c', rank: 1, size: 2 });
    const waiting = mine.barrier({ key: 'g', ...PATIENT });
    // It waits too, elsewhere: its own wait ends with it.
    worker.postMessage({ kind: 'wait' } satisfies RankJob);
    if (how === 'terminate') await worker.terminate();
    else worker.postMessage({ kind: 'exit' } satisfies RankJob);
    const error = await t.throwsAsync(waiting.promise);
    t.is(codeOf(error), 'UNAVAILABLE');
    t.regex(error!.message, /rank 1 has left/);
  });
}

test('closing the session ends the waits of all ranks', async (t) => {
  const session = addon.createSession({ name: 'closing', threads: 1 });
  const [rank] = ranksOf(session, 2) as [NativeCommunicator, NativeCommunicator];
  const waiting = rank.barrier(UNDER_G);
  session.close('the test says so');
  await t.throwsAsync(waiting.promise, { code: 'CANCELLED', message: /the test says so/ });
  await t.throwsAsync(rank.barrier(UNDER_G).promise, { code: 'FAILED_PRECONDITION' });
});
