/** Every call that takes arrays, with arrays in every kind of memory JavaScript has; and with memory that is detached, shrunk or not aligned. */
import { randomUUID } from 'node:crypto';
import test from 'ava';
import type { NativeSession, NumericArray } from '../../src/addon/native.js';
import { addon, floats, PATIENT, sessionOf } from '../helpers/addon.js';
import { ENTRIES, type Entry } from '../helpers/entries.js';
import { misalign } from '../helpers/misaligned.js';
import { PLACEMENTS, resizableBuffer } from '../helpers/placements.js';

/** What the call gives in a session of its own. */
async function resultOf(entry: Entry, arrays: readonly NumericArray[]): Promise<unknown> {
  const session = addon.createSession({ name: randomUUID(), threads: 1 });
  const result = structuredClone(await entry.call(session, arrays));
  session.close('done');
  return result;
}

/** Copies in memory of their own. */
const copies = (entry: Entry): NumericArray[] => entry.arrays.map((array) => array.slice() as NumericArray);

for (const entry of ENTRIES) {
  test(`${entry.title} gives the same from and to every kind of memory`, async (t) => {
    const expected = await resultOf(entry, copies(entry));
    for (const { title, place } of PLACEMENTS) {
      // What comes back in shared memory is compared by its elements.
      const plain = (value: unknown): unknown =>
        JSON.parse(JSON.stringify(value, (_, x) => (typeof x === 'bigint' ? `${x}n` : x)));
      t.deepEqual(plain(await resultOf(entry, entry.arrays.map(place))), plain(expected), title);
    }
  });
}

const REFUSED: readonly [title: string, message: RegExp, spoil: (array: NumericArray) => NumericArray][] = [
  [
    'detached',
    /detached/,
    (array) => {
      structuredClone(array.buffer, { transfer: [array.buffer as ArrayBuffer] });
      return array;
    },
  ],
  [
    'shrunk away under the array',
    /./,
    (array) => {
      const buffer = resizableBuffer(array.byteLength);
      const view = new (
        array.constructor as new (
          buffer: ArrayBuffer,
          offset: number,
          length: number,
        ) => NumericArray
      )(buffer, 0, array.length);
      buffer.resize(array.byteLength - 1);
      return view;
    },
  ],
  ['not aligned to its elements', /aligned/, misalign],
];

/** The refusal, thrown or of the promise. */
async function refusalOf(
  session: NativeSession,
  entry: Entry,
  arrays: readonly NumericArray[],
): Promise<unknown> {
  try {
    await entry.call(session, arrays);
    return 'accepted';
  } catch (error) {
    return error;
  }
}

for (const [title, message, spoil] of REFUSED) {
  for (const entry of ENTRIES) {
    test(`${entry.title} refuses memory that is ${title}, and nothing has changed`, async (t) => {
      for (const spoiled of entry.arrays.keys()) {
        const session = sessionOf(t);
        const arrays = copies(entry).map((array, i) => (i === spoiled ? spoil(array) : array));
        const error = await refusalOf(session, entry, arrays);
        t.like(error, { code: 'INVALID_ARGUMENT' }, `array ${spoiled}`);
        t.regex((error as Error).message, message);
        // The same objects still work as if nothing had been.
        const result = structuredClone(await entry.call(session, copies(entry)));
        t.deepEqual(result, await resultOf(entry, copies(entry)));
      }
    });
  }
}

const detach = (array: Float32Array): void => {
  structuredClone(array.buffer, { transfer: [array.buffer as ArrayBuffer] });
};

test('what was given may be transferred away before it is used', async (t) => {
  const session = sessionOf(t);
  const [gradient, row, element] = [floats(1, 2), floats(3), floats(4)];
  const dense = session.denseAccumulator('d', { dtype: 'float32', shape: null, reduction: 'sum' });
  dense.apply(0, 0, gradient, [2]);
  const spec = { dtype: 'float32', shape: null, reduction: 'sum', form: 'combined' } as const;
  const sparse = session.sparseAccumulator('s', spec);
  sparse.apply(0, 0, new Int32Array([1]), row, [1], null);
  const queue = session.tokenQueue('q', { dtypes: ['float32'], shapes: null, capacity: 1 });
  await queue.enqueue([{ dtype: 'float32', shape: [], data: floats(0) }], PATIENT).promise;
  const waiting = queue.enqueue([{ dtype: 'float32', shape: [], data: element }], PATIENT);
  for (const array of [gradient, row, element]) detach(array);
  t.deepEqual((await dense.take(1, PATIENT).promise).data, floats(1, 2));
  t.deepEqual((await sparse.take(1, PATIENT).promise).values.data, floats(3));
  await queue.dequeue(PATIENT).promise;
  await waiting.promise;
  t.deepEqual((await queue.dequeue(PATIENT).promise)[0]!.data, floats(4));
});

for (const elements of [4, 10_000]) {
  test(`what is taken belongs to the taker: ${elements} elements may be changed, cloned and transferred`, async (t) => {
    const accumulator = sessionOf(t).denseAccumulator('d', {
      dtype: 'float32',
      shape: null,
      reduction: 'sum',
    });
    const round = async (step: number) => {
      accumulator.apply(step, 0, new Float32Array(elements).fill(step + 1), [elements]);
      return (await accumulator.take(1, PATIENT).promise).data as Float32Array;
    };
    const first = await round(0);
    first.fill(99);
    t.deepEqual(await round(1), new Float32Array(elements).fill(2));
    t.deepEqual(structuredClone(first), first);
    // Node clones instead where the memory is not its own.
    const moved = structuredClone(first, { transfer: [first.buffer as ArrayBuffer] });
    t.is(moved[elements - 1], 99);
    t.true(first.length === 0 || first[elements - 1] === 99);
    t.deepEqual(await round(2), new Float32Array(elements).fill(3));
  });
}

/** Two views of one SharedArrayBuffer, `apart` elements from each other. */
function sharedPair(apart: number): [Float32Array, Float32Array] {
  const buffer = new SharedArrayBuffer(4 * (apart + 2));
  const [one, two] = [new Float32Array(buffer, 0, 2), new Float32Array(buffer, 4 * apart, 2)];
  new Float32Array(buffer).fill(1);
  return [one, two];
}

for (const [apart, isConflict] of [
  [0, true],
  [1, true],
  [2, false],
] as const) {
  test(`ranks that lend shared memory ${apart} elements apart are ${isConflict ? 'refused, and it stays as it was' : 'served'}`, async (t) => {
    const session = sessionOf(t);
    const results = sharedPair(apart).map((data, rank) => {
      const options = { key: 'g', reduction: 'sum', ...PATIENT } as const;
      const communicator = session.communicator('c', { size: 2, rank });
      const { promise } = communicator.allReduce({ dtype: 'float32', shape: [2], data }, options);
      return promise.then(
        () => [...data],
        (error: Error & { code: string }) => [error.code, ...data],
      );
    });
    const expected = isConflict ? ['INVALID_ARGUMENT', 1, 1] : [2, 2];
    t.deepEqual(await Promise.all(results), [expected, expected]);
  });
}
