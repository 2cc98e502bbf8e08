/** What is fed to a task is shared out to its replicas; what they give is put together. */
import test from 'ava';
import type { TensorData } from '../../src/runtime/executor.js';
import { checkSplit, combineFetched, splitFeed, wholeSpec } from '../../src/runtime/replica-values.js';
import { throwsTyped } from '../helpers/throws.js';

const matrix = (rows: number, columns: number): TensorData => ({
  dtype: 'float32',
  shape: [rows, columns],
  data: Float32Array.from({ length: rows * columns }, (_, i) => i),
});

test('shares differ by at most one row, the larger first', (t) => {
  const parts = splitFeed(matrix(5, 2), { name: 'x:0', count: 3, split: 0 });
  t.deepEqual(
    parts.map(({ shape }) => shape),
    [
      [2, 2],
      [2, 2],
      [1, 2],
    ],
  );
  t.deepEqual(
    parts.map(({ data }) => [...data]),
    [
      [0, 1, 2, 3],
      [4, 5, 6, 7],
      [8, 9],
    ],
  );
});

test('an inner axis can be split', (t) => {
  const [left, right] = splitFeed(matrix(2, 3), { name: 'x:0', count: 2, split: 1 });
  t.deepEqual(
    [left!.shape, [...left!.data]],
    [
      [2, 2],
      [0, 1, 3, 4],
    ],
  );
  t.deepEqual(
    [right!.shape, [...right!.data]],
    [
      [2, 1],
      [2, 5],
    ],
  );
});

test("a value that is not split is each replica's, in memory of its own", (t) => {
  const [first, second] = splitFeed(matrix(1, 2), { name: 'x:0', count: 2, split: null });
  t.deepEqual(first, second);
  t.not(first!.data, second!.data);
});

test('strings are shared out too', (t) => {
  const data = ['a', 'b'].map((text) => Buffer.from(text));
  const parts = splitFeed({ dtype: 'string', shape: [2], data }, { name: 's:0', count: 2, split: 0 });
  t.deepEqual(
    parts.map((part) => part.data),
    [[data[0]], [data[1]]],
  );
});

test('a batch with less than one row per replica is refused', (t) => {
  throwsTyped(
    t,
    () => checkSplit(matrix(1, 2), { name: 'x:0', count: 2, split: 0 }),
    'INVALID_ARGUMENT',
    'x:0',
    '2',
  );
  t.notThrows(() => checkSplit(matrix(2, 2), { name: 'x:0', count: 2, split: 0 }));
});

test('along an axis of known size the whole is as many times as large as a share', (t) => {
  const spec = { tensor: 'x:0', dtype: 'float32', shape: [4, -1] } as const;
  t.deepEqual(wholeSpec(spec, { name: 'x:0', count: 2, split: 0 }).shape, [8, -1]);
  t.deepEqual(wholeSpec(spec, { name: 'x:0', count: 2, split: 1 }).shape, [4, -1]);
  t.deepEqual(wholeSpec(spec, { name: 'x:0', count: 2, split: null }).shape, [4, -1]);
});

test('batches are put one behind the other, scalars are averaged, or the first is taken', (t) => {
  const values = [matrix(2, 1), matrix(1, 1)];
  t.deepEqual(combineFetched(values, { name: 'y:0', count: 2, combine: 'concat' }), {
    dtype: 'float32',
    shape: [3, 1],
    data: Float32Array.of(0, 1, 0),
  });
  const scalar = (value: number): TensorData => ({
    dtype: 'float32',
    shape: [],
    data: Float32Array.of(value),
  });
  const mean = combineFetched([scalar(1), scalar(2)], { name: 'loss:0', count: 2, combine: 'mean' });
  t.deepEqual(mean, scalar(1.5));
  t.deepEqual(combineFetched([scalar(1), scalar(2)], { name: 'n:0', count: 2, combine: 'first' }), scalar(1));
});
