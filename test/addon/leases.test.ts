/** Memory of session.allocate: lent without a copy, written by takes, refused where loans overlap, and safe whatever JavaScript does. */
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import test from 'ava';
import type { NativeSession } from '../../src/addon/native.js';
import { addon, floats, PATIENT, sessionOf } from '../helpers/addon.js';
import { projectPath } from '../helpers/paths.js';
import { PATIENT_MS } from '../helpers/patience.js';
import { runText } from '../helpers/processes.js';

const SUM = { dtype: 'float32', shape: null, reduction: 'sum' } as const;
const SPARSE = { ...SUM, form: 'combined' } as const;
const COUNT = 5000;

const denseOf = (session: NativeSession, key = 'd') => session.denseAccumulator(key, SUM);
const lendable = (session: NativeSession, value: number, count = COUNT): Float32Array<ArrayBuffer> =>
  session.allocate('float32', [count]).fill(value);
const isFilled = (data: unknown, value: number): boolean => (data as Float32Array).every((x) => x === value);

test('what is allocated is zero, has the dtype and shape asked for, and is counted until it is collected', async (t) => {
  const session = sessionOf(t);
  const elements = [
    ['float32', Float32Array],
    ['float64', Float64Array],
    ['int64', BigInt64Array],
    ['bfloat16', Uint16Array],
    ['bool', Uint8Array],
  ] as const;
  const arrays = elements.map(([dtype, Kind]) => {
    const array = session.allocate(dtype, [3, 7]);
    t.true(array instanceof Kind);
    t.is(array.length, 21);
    t.true([...array].every((x) => Number(x) === 0));
    return array;
  });
  const bytes = arrays.reduce((sum, array) => sum + array.byteLength, 0);
  t.deepEqual({ ...session.memory }, { inUse: bytes, peak: bytes });
  t.is(session.allocate('float32', [0, 4]).length, 0);
  t.throws(() => session.allocate('float32', [2 ** 31, 2 ** 31]), { code: 'RESOURCE_EXHAUSTED' });
  t.throws(() => session.allocate('float32', [-1]), { code: 'INVALID_ARGUMENT' });
  session.close('done');
  t.throws(() => session.allocate('float32', [1]), { code: 'FAILED_PRECONDITION' });
  t.is(arrays[0]!.length, 21);
});

test('a leased gradient is not copied, and its memory is free again when the round is taken', async (t) => {
  const session = sessionOf(t);
  const dense = denseOf(session);
  const gradients = [lendable(session, 1), lendable(session, 2)];
  for (let step = 0; step < 3; step++) {
    for (const [contributor, gradient] of gradients.entries()) {
      t.is(dense.applyLeased(step, contributor, gradient, [COUNT]).status, 'accepted');
    }
    // No copy: what is written now is what is summed. (Programs should not; that they cannot do harm is what is tested.)
    gradients[1]!.fill(10 + step);
    t.true(isFilled((await dense.take(2, PATIENT).promise).data, 11 + step));
  }
});

test('sparse values are leased, indices copied', async (t) => {
  const session = sessionOf(t);
  const sparse = session.sparseAccumulator('s', SPARSE);
  const values = lendable(session, 3, 4);
  const indices = new Int32Array([1, 0]);
  sparse.applyLeased(0, 0, indices, values, [2, 2], [4, 2]);
  indices.fill(99);
  t.throws(() => sparse.applyLeased(0, 1, new Int32Array([1, 0]), values, [2, 2], [4, 2]), {
    code: 'FAILED_PRECONDITION',
  });
  const taken = await sparse.take(1, PATIENT).promise;
  t.deepEqual([...taken.indices], [0n, 1n]);
  t.true(isFilled(taken.values.data, 3));
});

test('rounds with members lease, too', async (t) => {
  const session = sessionOf(t);
  const rule = { kind: 'bounded-staleness', staleness: 0 } as const;
  const rounds = session.denseRounds('r', { ...SUM, members: [0], rule });
  const gradient = lendable(session, 4);
  for (let step = 0; step < 3; step++) {
    await rounds.begin(0, PATIENT).promise;
    rounds.applyLeased(step, 0, gradient, [COUNT]);
    t.true(isFilled((await rounds.take(PATIENT).promise).result.data, 4));
    rounds.applied(step);
  }
});

test('overlapping leases are refused, and the error names both sides', (t) => {
  const session = sessionOf(t);
  const memory = lendable(session, 1);
  denseOf(session, 'one').applyLeased(7, 3, memory.subarray(0, 100), [100]);
  const lease = (from: number, to: number) => () =>
    denseOf(session, 'two').applyLeased(8, 4, memory.subarray(from, to), [to - from]);
  for (const [from, to] of [
    [0, 100],
    [99, 200],
    [50, 51],
  ] as const) {
    t.throws(lease(from, to), {
      code: 'FAILED_PRECONDITION',
      message:
        /lend bytes .* to accumulator 'two' \(contributor 4, step 8\): .* accumulator 'one' \(contributor 3, step 7\)/,
    });
  }
  t.is(lease(100, 200)().status, 'accepted');
  t.is(denseOf(session, 'two').numAccumulated, 1);
});

test('calls that would write to what is lent are refused; reading it is allowed', async (t) => {
  const session = sessionOf(t);
  const memory = lendable(session, 1, 4);
  const variable = session.variable('w', { dtype: 'float32', shape: [4] });
  variable.assign(memory, [4]);
  denseOf(session).applyLeased(0, 0, memory, [4]);
  const refused = (call: () => unknown) =>
    t.throws(call, { code: 'FAILED_PRECONDITION', message: /lent to accumulator 'd' \(contributor 0/ });
  refused(() => variable.copyTo(memory, 0));
  refused(() => variable.gather(new Int32Array([0]), memory.subarray(3)));
  refused(() => denseOf(session, 'other').take(1, { ...PATIENT, into: memory }));
  const rank = session.communicator('c', { size: 1, rank: 0 });
  const tensor = { dtype: 'float32', shape: [4], data: memory } as const;
  refused(() => rank.allReduce(tensor, { key: 'k', reduction: 'sum', ...PATIENT }));
  variable.assignAdd(memory);
  denseOf(session, 'other').apply(0, 0, memory, [4]);
  await denseOf(session).take(1, PATIENT).promise;
  t.is(variable.copyTo(memory, 0), 2);
  t.true(isFilled(memory, 2));
});

for (const [title, end] of [
  ['stale', (session: NativeSession, m: Float32Array) => denseOf(session).applyLeased(-1, 0, m, [COUNT])],
  [
    'refused',
    (session: NativeSession, m: Float32Array) => {
      denseOf(session).apply(0, 0, floats(1), [1]);
      try {
        denseOf(session).applyLeased(0, 1, m, [COUNT]);
      } catch {}
    },
  ],
  [
    'of an accumulator that closes',
    (session: NativeSession, m: Float32Array) => {
      denseOf(session).applyLeased(0, 0, m, [COUNT]);
      session.close('done');
    },
  ],
] as const) {
  test(`a lease that is ${title} ends at once`, (t) => {
    const session = sessionOf(t);
    const other = sessionOf(t);
    const memory = lendable(session, 1);
    end(session, memory);
    t.is(denseOf(other).applyLeased(0, 0, memory, [COUNT]).status, 'accepted');
  });
}

test('only what was allocated can be lent', (t) => {
  const session = sessionOf(t);
  for (const array of [floats(1, 2), new Float32Array(new SharedArrayBuffer(8))]) {
    t.throws(() => denseOf(session).applyLeased(0, 0, array, [2]), {
      code: 'INVALID_ARGUMENT',
      message: /expected an array that session.allocate made .*; use apply/,
    });
  }
  t.is(denseOf(session).applyLeased(0, 0, floats(), [0]).status, 'accepted');
});

test('a take writes into the array it is given, whatever memory that is', async (t) => {
  const session = sessionOf(t);
  const places = [
    lendable(session, 9),
    new Float32Array(COUNT),
    new Float32Array(new SharedArrayBuffer(4 * COUNT)),
    new Float32Array(new ArrayBuffer(4 * COUNT + 4), 4),
  ];
  for (const [step, into] of places.entries()) {
    const dense = denseOf(session);
    const { promise } = dense.take(2, { ...PATIENT, into });
    dense.apply(step, 0, new Float32Array(COUNT).fill(1), [COUNT]);
    dense.applyLeased(step, 1, lendable(session, step), [COUNT]);
    const taken = await promise;
    t.is(taken.data, into);
    t.deepEqual(taken.shape, [COUNT]);
    t.true(isFilled(into, 1 + step));
  }
});

test('a take into an array that does not fit leaves the round where it is', async (t) => {
  const session = sessionOf(t);
  const dense = denseOf(session);
  dense.apply(0, 0, floats(1, 2), [2]);
  for (const into of [floats(1), lendable(session, 0, 3)]) {
    await t.throwsAsync(dense.take(1, { ...PATIENT, into }).promise, {
      code: 'INVALID_ARGUMENT',
      message: /expected a place for float32 \[2\], 8 bytes, but received one of/,
    });
  }
  t.throws(() => dense.take(1, { ...PATIENT, into: new Float64Array(2) }), { code: 'INVALID_ARGUMENT' });
  t.is(dense.numAccumulated, 1);
  const into = lendable(session, 0, 2);
  t.deepEqual([...(await dense.take(1, { ...PATIENT, into }).promise).data], [1, 2]);
});

test('the place of a waiting take is lent to it, and free once that ends', async (t) => {
  const session = sessionOf(t);
  const into = lendable(session, 1, 2);
  const waiting = denseOf(session, 'one').take(1, { ...PATIENT, into });
  t.throws(() => denseOf(session, 'two').apply(0, 0, into, [2]), {
    code: 'FAILED_PRECONDITION',
    message: /free to be read .* a take of accumulator 'one'/,
  });
  t.throws(() => denseOf(session, 'two').applyLeased(0, 5, into, [2]), {
    code: 'FAILED_PRECONDITION',
    message:
      /accumulator 'two' \(contributor 5, step 0\).* a take of accumulator 'one'|a take of accumulator 'one'/,
  });
  waiting.cancel();
  await t.throwsAsync(waiting.promise, { code: 'CANCELLED' });
  t.is(denseOf(session, 'two').applyLeased(0, 5, into, [2]).status, 'accepted');
});

test('an array that is transferred, detached or resized away while it is lent does no harm', async (t) => {
  const session = sessionOf(t);
  const dense = denseOf(session);
  const memory = lendable(session, 6);
  dense.applyLeased(0, 0, memory, [COUNT]);
  try {
    structuredClone(memory.buffer, { transfer: [memory.buffer] });
    // Of newer runtimes.
    (memory.buffer as { transfer?: () => ArrayBuffer }).transfer?.();
  } catch {}
  t.true(isFilled((await dense.take(1, PATIENT).promise).data, 6));
  // An ordinary array that goes away before the result comes is an error of the promise.
  const into = new Float32Array(COUNT);
  const { promise } = dense.take(1, { ...PATIENT, into });
  structuredClone(into.buffer, { transfer: [into.buffer] });
  dense.apply(1, 0, new Float32Array(COUNT), [COUNT]);
  await t.throwsAsync(promise, { message: /detached|expected an array of/ });
});

test('indices that another thread changes meanwhile are checked as they were copied', async (t) => {
  const session = sessionOf(t);
  const sparse = session.sparseAccumulator('s', { ...SPARSE, shape: [64, 1] });
  const rows = 4096;
  const indices = new Int32Array(new SharedArrayBuffer(4 * rows));
  const source = `
    const { workerData, parentPort } = require('node:worker_threads');
    const indices = new Int32Array(workerData);
    parentPort.postMessage('ready');
    for (;;) { indices.fill(1 << 30, 4000); indices.fill(7, 4000); }`;
  const worker = new Worker(source, { eval: true, workerData: indices.buffer });
  await new Promise((resolve) => worker.once('message', resolve));
  const counts = { accepted: 0, refused: 0 };
  const deadline = performance.now() + PATIENT_MS;
  while ((counts.accepted < 20 || counts.refused < 20) && performance.now() < deadline) {
    try {
      sparse.apply(counts.accepted, 0, indices, new Float32Array(rows).fill(1), [rows, 1], null);
      counts.accepted++;
      const taken = await sparse.take(1, PATIENT).promise;
      t.true(taken.indices.every((index) => index === 0n || index === 7n));
    } catch (error) {
      t.regex((error as Error).message, /index is 1073741824 exceeded 64/);
      counts.refused++;
    }
  }
  await worker.terminate();
  t.true(counts.accepted > 0 && counts.refused > 0, JSON.stringify(counts));
});

/** What a program prints in a process of its own. */
async function outputOf(program: string, env: Record<string, string> = {}): Promise<string> {
  const load = JSON.stringify(pathToFileURL(projectPath('dist', 'src', 'addon', 'load.js')).href);
  const source = `
    import { loadAddon } from ${load};
    const addon = loadAddon();
    const session = addon.createSession({ name: 'x' });
    const dense = session.denseAccumulator('d', { dtype: 'float32', shape: null, reduction: 'sum' });
    const FOREVER = { deadlineMs: Infinity };
    const collect = async () => { for (let i = 0; i < 5; i++) { gc(); await new Promise(setImmediate); } };
    ${program}`;
  const { stdout, stderr, code } = await runText(source, env);
  return `${stdout}${stderr}${code}`;
}

test('arrays that are collected give their memory back, unless it is lent', async (t) => {
  const program = `
    (() => {
      session.allocate('float32', [1000]);
      dense.applyLeased(0, 0, session.allocate('float32', [2000]).fill(5), [2000]);
    })();
    await collect();
    console.log(session.memory.inUse);
    const { data } = await dense.take(1, FOREVER).promise;
    await collect();
    console.log(data.every((x) => x === 5), session.memory.inUse);`;
  t.is(await outputOf(program), '8000\ntrue 0\n0');
});

test('the process can exit while memory is lent and a take waits for its place', async (t) => {
  const program = `
    dense.applyLeased(0, 0, session.allocate('float32', [1000]), [1000]);
    dense.take(2, { ...FOREVER, into: session.allocate('float32', [1000]) }).promise.catch(() => {});
    setTimeout(() => process.exit(7), 10);`;
  t.is(await outputOf(program), '7');
});

test('where the runtime forbids external memory everything is copied, and the capabilities say so', async (t) => {
  t.true(addon.capabilities().externalMemory);
  const program = `
    const memory = session.allocate('float32', [2000]).fill(5);
    dense.applyLeased(0, 0, memory, [2000]);
    memory.fill(9);
    const into = session.allocate('float32', [2000]);
    const { data } = await dense.take(1, { ...FOREVER, into }).promise;
    console.log(addon.capabilities().externalMemory, data === into, data.every((x) => x === 5), session.memory.inUse);`;
  t.is(await outputOf(program, { GRADSYNC_EXTERNAL_MEMORY: 'off' }), 'false true true 0\n0');
});
