/** Variables through JavaScript: versions, reads into every kind of memory, rows, and what is refused. */
import test from 'ava';
import { addon, floats, sessionOf } from '../helpers/addon.js';

test('a variable is empty until it is assigned, and every change is a version', (t) => {
  const variable = sessionOf(t).variable('w', { dtype: 'float32', shape: [2, 2] });
  t.deepEqual([variable.version, variable.isInitialized, variable.shape], [0, false, null]);
  t.throws(() => variable.read(), { code: 'FAILED_PRECONDITION', message: /uninitialized value w/ });
  variable.assign(floats(1, 2, 3, 4), [2, 2]);
  variable.assignAdd(floats(1, 1, 1, 1));
  variable.assignSub(floats(0, 0, 0, 5));
  t.deepEqual([variable.version, variable.isInitialized, variable.shape], [3, true, [2, 2]]);
  t.deepEqual(variable.read(), { dtype: 'float32', shape: [2, 2], data: floats(2, 3, 4, 0) });
});

test('copyTo copies a version once and leaves the memory alone when it is known', (t) => {
  const variable = sessionOf(t).variable('w', { dtype: 'float32', shape: null });
  variable.assign(floats(1, 2), [2]);
  const out = floats(0, 0);
  t.is(variable.copyTo(out, 0), 1);
  t.deepEqual(out, floats(1, 2));
  out.fill(9);
  t.is(variable.copyTo(out, 1), 1);
  t.deepEqual(out, floats(9, 9), 'version 1 was known');
  variable.assignAdd(floats(1, 1));
  t.is(variable.copyTo(out, 1), 2);
  t.deepEqual(out, floats(2, 3));
  t.throws(() => variable.copyTo(floats(0), 0), { code: 'INVALID_ARGUMENT' });
});

test('rows are gathered and scattered by indices of 32 and 64 bits, repeats in order', (t) => {
  const variable = sessionOf(t).variable('w', { dtype: 'float32', shape: [3, 2] });
  variable.assign(floats(1, 2, 3, 4, 5, 6), [3, 2]);
  const out = new Float32Array(6);
  t.is(variable.gather(new BigInt64Array([2n, 0n, 2n]), out), 1);
  t.deepEqual(out, floats(5, 6, 1, 2, 5, 6));
  variable.scatterAdd(new Int32Array([1, 1]), floats(1, 1, 10, 10));
  variable.scatterSub(new Int32Array([0]), floats(1, 2));
  variable.scatterUpdate(new Int32Array([2, 2]), floats(7, 7, 8, 8));
  t.deepEqual(variable.read().data, floats(0, 0, 14, 15, 8, 8));
  t.throws(() => variable.gather(new Int32Array([3]), floats(0, 0)), { code: 'INVALID_ARGUMENT' });
  t.throws(() => variable.scatterAdd(new Int32Array([0, -1]), floats(1, 1, 1, 1)), {
    code: 'INVALID_ARGUMENT',
  });
  t.throws(() => variable.scatterAdd(new Int32Array([0]), floats(1)), { code: 'INVALID_ARGUMENT' });
  t.is(variable.version, 4, 'what was refused made no version');
});

const TYPES = [
  ['float32', new Float32Array([1.5, -2])],
  ['float64', new Float64Array([1.5, -2])],
  ['int32', new Int32Array([1, -2])],
  ['int64', new BigInt64Array([1n, -(2n ** 62n)])],
  ['bool', new Uint8Array([1, 0])],
  ['uint8', new Uint8Array([1, 255])],
  ['int8', new Int8Array([1, -128])],
  ['int16', new Int16Array([1, -2])],
  ['uint16', new Uint16Array([1, 65535])],
  ['float16', new Uint16Array([0x3c00, 0xc000])],
  ['bfloat16', new Uint16Array([0x3f80, 0xc000])],
] as const;

for (const [dtype, data] of TYPES) {
  test(`a ${dtype} variable keeps its elements in a ${data.constructor.name}`, (t) => {
    const variable = sessionOf(t).variable('w', { dtype, shape: [2] });
    variable.assign(data, [2]);
    t.deepEqual(variable.read(), { dtype, shape: [2], data });
  });
}

test('inputs and outputs may lie on shared memory and at any offset', (t) => {
  const variable = sessionOf(t).variable('w', { dtype: 'float32', shape: [3] });
  const shared = new Float32Array(new SharedArrayBuffer(28), 4, 3);
  shared.set([1, 2, 3]);
  variable.assign(shared, [3]);
  const out = new Float32Array(new SharedArrayBuffer(32), 12, 3);
  variable.copyTo(out, 0);
  t.deepEqual([...out], [1, 2, 3]);
  for (let offset = 0; offset < 8; offset++) {
    const shifted = new Float32Array(new ArrayBuffer(64), offset * 4, 3).fill(1);
    variable.applyDense({ kind: 'gradientDescent', alpha: 1 }, [], shifted);
  }
  const rows = new Int32Array(new SharedArrayBuffer(12), 4, 2);
  rows.set([2, 0]);
  variable.scatterAdd(rows, floats(10, 20));
  t.deepEqual(variable.read().data, floats(13, -6, 5));
});

test('a detached array is an error, an empty one is not', (t) => {
  const session = sessionOf(t);
  const variable = session.variable('w', { dtype: 'float32', shape: null });
  const detached = floats(1, 2);
  structuredClone(detached, { transfer: [detached.buffer as ArrayBuffer] });
  t.throws(() => variable.assign(detached, [0]), { code: 'INVALID_ARGUMENT', message: /detached/ });
  variable.assign(new Float32Array(), [0, 4]);
  t.deepEqual(variable.read(), { dtype: 'float32', shape: [0, 4], data: floats() });
});

test('a large value goes over to JavaScript whole', (t) => {
  const variable = sessionOf(t).variable('w', { dtype: 'float32', shape: null });
  const values = Float32Array.from({ length: 100_000 }, (_, i) => i);
  variable.assign(values, [100, 1000]);
  const read = variable.read();
  variable.assignAdd(values);
  t.deepEqual(read.data, values, 'a value that was read does not change');
});

test('the same key is the same variable, in another wrapper too; other options are refused', (t) => {
  const session = sessionOf(t);
  const variable = session.variable('w', { dtype: 'float32', shape: [1] });
  variable.assign(floats(7), [1]);
  t.deepEqual(
    addon
      .attachSession(session.id)
      .variable('w', { dtype: 'float32', shape: [1] })
      .read().data,
    floats(7),
  );
  t.throws(() => session.variable('w', { dtype: 'float64', shape: [1] }), { code: 'INVALID_ARGUMENT' });
  t.throws(() => session.variable('w', { dtype: 'float32', shape: null }), { code: 'INVALID_ARGUMENT' });
  t.throws(() => session.denseAccumulator('w', { dtype: 'float32', shape: [1], reduction: 'sum' }), {
    code: 'INVALID_ARGUMENT',
    message: /another kind/,
  });
});

test('addRows adds rows to those of any array, repeats in order, and changes nothing where it refuses', (t) => {
  const table = floats(1, 1, 2, 2, 3, 3);
  addon.addRows('float32', 2, table, BigInt64Array.of(2n, 0n, 2n), floats(1, 2, 10, 20, 100, 200));
  t.deepEqual(table, floats(11, 21, 2, 2, 104, 205));
  t.throws(() => addon.addRows('float32', 2, table, Int32Array.of(0, -1), floats(5, 5, 5, 5)), {
    code: 'INVALID_ARGUMENT',
  });
  t.deepEqual(table, floats(11, 21, 2, 2, 104, 205));
  const wide = new Float64Array(new SharedArrayBuffer(32), 8, 2);
  addon.addRows('float64', 1, wide, Int32Array.of(1, 1), Float64Array.of(0.5, 0.25));
  t.deepEqual([...wide], [0, 0.75]);
  addon.addRows('float32', 3, table, new Int32Array(), floats());
  t.deepEqual(table, floats(11, 21, 2, 2, 104, 205));
});
