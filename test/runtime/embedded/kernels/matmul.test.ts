/** Products with one and the same matrix under several shapes: as it is, transposed, reshaped. Inputs are such that results are exact. */
import test from 'ava';
import { attr } from '../../../../src/graph/attributes.js';
import type { Value } from '../../../../src/runtime/embedded/value.js';
import { elements, exact, kernel } from './tools.js';
import { call, computeRuntime } from './vectors.js';

const SIZES = [1, 2, 3, 5];

/** a [rows, inner] times b [inner, columns]. */
function product(a: Value, b: Value): number[] {
  const [x, y] = [elements(a), elements(b)];
  const [rows, inner] = a.shape as [number, number];
  const columns = b.shape[1]!;
  return Array.from({ length: rows * columns }, (_, at) => {
    const [i, j] = [Math.floor(at / columns), at % columns];
    let sum = 0;
    for (let k = 0; k < inner; k++) sum += x[i * inner + k]! * y[k * columns + j]!;
    return sum;
  });
}

/** The transposed elements, as a value of their own. */
function turned(value: Value): Value {
  const [rows, columns] = value.shape as [number, number];
  const data = elements(value);
  const result = exact([columns, rows], 0);
  const out = result.host() as Float32Array;
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = data[i * columns + j]!;
  return result;
}

test('a matrix is the factor of a product and, transposed, of its gradient: also one of a single row or column', async (t) => {
  const runtime = await computeRuntime();
  for (const rows of SIZES) {
    for (const inner of SIZES) {
      for (const columns of SIZES) {
        const [x, w, dy] = [exact([rows, inner], 1), exact([inner, columns], 2), exact([rows, columns], 3)];
        const [y] = call(kernel('MatMul'), [x, w], runtime);
        const [dx] = call(kernel('MatMul', { transpose_b: attr.bool(true) }), [dy, w], runtime);
        const [again] = call(kernel('MatMul'), [x, w], runtime);
        t.deepEqual(elements(y!), product(x, w), `${rows}, ${inner}, ${columns}`);
        t.deepEqual(elements(dx!), product(dy, turned(w)), `${rows}, ${inner}, ${columns}`);
        t.deepEqual(elements(again!), elements(y!));
        for (const value of [x, w, dy, y!, dx!, again!]) value.release();
      }
    }
  }
  t.is(runtime.backend.numDataIds(), 0);
});

test('a factor may be reshaped', async (t) => {
  const runtime = await computeRuntime();
  const whole = exact([24], 4);
  for (const type of ['MatMul', 'BatchMatMul', 'BatchMatMulV2']) {
    for (const inner of [1, 2, 4, 6, 12, 24]) {
      const [x, w] = [exact([3, inner], 5), whole.reshaped([inner, 24 / inner])];
      const [y] = call(kernel(type), [x, w], runtime);
      t.deepEqual(elements(y!), product(x, w), `${type} with [${w.shape}]`);
      for (const value of [x, w, y!]) value.release();
    }
  }
  whole.release();
  t.is(runtime.backend.numDataIds(), 0);
});
