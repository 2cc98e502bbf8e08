/** Tensors so large that the wasm heap grows while a kernel runs, and sums whose result has a formula. */
import test from 'ava';
import { attr } from '../../../../src/graph/attributes.js';
import { Value } from '../../../../src/runtime/embedded/value.js';
import { elements, floats, ints, kernel, vector } from './tools.js';
import { call, computeRuntime } from './vectors.js';

test('sums over leading rows are exact for any number of rows', async (t) => {
  const runtime = await computeRuntime();
  for (const rows of [1, 2, 3, 1023, 1025, 4097, 10_001]) {
    const columns = 5;
    const data = Float32Array.from(
      { length: rows * columns },
      (_, i) => (Math.floor(i / columns) % 7) * (i % columns),
    );
    const whole = Math.floor(rows / 7) * 21 + ((rows % 7) * ((rows % 7) - 1)) / 2;
    const dy = floats([rows, columns], data);
    const [bias] = call(kernel('BiasAddGrad'), [dy], runtime);
    const [sum] = call(kernel('Sum', { Tidx: attr.type('int32') }), [dy, vector(0)], runtime);
    const [all] = call(kernel('Sum', { Tidx: attr.type('int32') }), [dy, vector(0, 1)], runtime);
    const expected = [0, 1, 2, 3, 4].map((column) => column * whole);
    t.deepEqual(elements(bias!), expected, `${rows} rows`);
    t.deepEqual(elements(sum!), expected, `${rows} rows`);
    t.deepEqual(elements(all!), [10 * whole], `${rows} rows`);
    for (const value of [dy, bias!, sum!, all!]) value.release();
  }
  t.is(runtime.backend.numDataIds(), 0);
});

test('sums over dimensions in the middle are exact, by a product and by a loop', async (t) => {
  const runtime = await computeRuntime();
  for (const [batch, rows, columns] of [
    [2, 3, 2],
    [33, 40, 16],
    [7, 1025, 5],
  ] as const) {
    const data = Float32Array.from({ length: batch * rows * columns }, (_, i) => {
      const [example, column] = [Math.floor(i / (rows * columns)), i % columns];
      return (Math.floor(i / columns) % rows) * (column + 1) + example;
    });
    const x = floats([batch, rows, columns], data);
    const [sum] = call(kernel('Sum', { Tidx: attr.type('int32') }), [x, vector(1)], runtime);
    const expected = Array.from({ length: batch * columns }, (_, i) => {
      const [example, column] = [Math.floor(i / columns), i % columns];
      return ((rows * (rows - 1)) / 2) * (column + 1) + rows * example;
    });
    t.deepEqual(sum!.shape, [batch, columns]);
    t.deepEqual(elements(sum!), expected);
    x.release();
    sum!.release();
  }
  t.is(runtime.backend.numDataIds(), 0);
});

test('distinct elements are found among many, also where hashes collide, in order of first occurrence', async (t) => {
  const runtime = await computeRuntime();
  const cases: Readonly<Record<string, (i: number) => number>> = {
    'all different': (i) => (i * 7919) % 5003,
    'a few often': (i) => (i * i) % 17,
    'of both signs': (i) => ((i * 31) % 101) - 50,
    'powers of two apart': (i) => ((i * 5) % 61) << 25,
    one: () => -1,
  };
  for (const [name, element] of Object.entries(cases)) {
    const given = Array.from({ length: 5000 }, (_, i) => element(i));
    const [distinct, positions] = call(
      kernel('Unique', { T: attr.type('int32') }),
      [vector(...given)],
      runtime,
    );
    const found = elements(distinct!);
    t.deepEqual(found, [...new Set(given)], name);
    const placed = elements(positions!).map((at) => found[at]);
    t.deepEqual(placed, given, name);
  }
});

test('kernels survive that the heap grows between their inputs and their outputs', async (t) => {
  const runtime = await computeRuntime();
  const { backend } = runtime;
  const sliding = { ksize: ints(1, 2, 2, 1), strides: ints(1, 2, 2, 1), padding: attr.string('SAME') };
  const heapSize = (): number => (backend.wasm as unknown as { HEAPU8: Uint8Array }).HEAPU8.byteLength;
  let grown = 0;
  const held: Value[] = [];
  const once = (type: string, inputs: Value[], attributes = {}): readonly Value[] => {
    const before = heapSize();
    const outputs = call(kernel(type, attributes), inputs, runtime);
    if (heapSize() > before) grown++;
    held.push(...outputs);
    return outputs;
  };
  const side = 512;
  const x = floats([1, side, side, 8], new Float32Array(side * side * 8).fill(1));
  held.push(x);
  for (let round = 0; round < 3; round++) {
    const [y] = once('MaxPool', [x], sliding);
    const [dx] = once('MaxPoolGrad', [x, y!, y!], sliding);
    t.is((dx!.host() as Float32Array)[0], 1);
    t.is((dx!.host() as Float32Array)[8], 0);
    const [positive] = once('ReluGrad', [x, x]);
    t.true((positive!.host() as Float32Array).every((value) => value === 1));
    const rows = x.reshaped([side * 8, side]);
    const [loss, backprop] = once('SoftmaxCrossEntropyWithLogits', [rows, rows]);
    t.true(Math.abs((loss!.host() as Float32Array)[0]! - side * Math.log(side)) < 1e-2);
    t.true(Math.abs((backprop!.host() as Float32Array)[7]! - (1 / side - 1)) < 1e-6);
    const [tiled] = once('ConcatV2', [rows, rows, Value.ofHost('int32', [], Int32Array.of(0))]);
    t.true((tiled!.host() as Float32Array).every((value) => value === 1));
    held.push(rows);
  }
  t.true(grown > 0, 'the test is to make the heap grow');
  for (const value of held) value.release();
  t.is(backend.numDataIds(), 0);
});
