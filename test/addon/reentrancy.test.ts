/**
 * Arguments whose getters run JavaScript in the middle of a call: what they do to memory that the call is about to read (detach it, make a
 * list longer) must never reach the native code.
 */
import test, { type ExecutionContext } from 'ava';
import type { NativeTensor, WaitOptions } from '../../src/addon/native.js';
import { floats, PATIENT, sessionOf } from '../helpers/addon.js';

/** A getter at `key` of `object` that detaches the memory of `array` and then gives `value`. */
function detaching<T extends object>(object: T, key: PropertyKey, array: Float32Array, value: unknown): T {
  const get = () => {
    if (array.length > 0) structuredClone(array.buffer, { transfer: [array.buffer as ArrayBuffer] });
    return value;
  };
  return Object.defineProperty(object, key, { get });
}

const DETACHED = { code: 'INVALID_ARGUMENT', message: /detached/ };
const f32 = (data: Float32Array): NativeTensor => ({ dtype: 'float32', shape: [2], data });

test('a shape that detaches a gradient is noticed before the gradient is read', (t) => {
  const accumulator = sessionOf(t).denseAccumulator('d', { dtype: 'float32', shape: null, reduction: 'sum' });
  const gradient = floats(1, 2);
  t.throws(() => accumulator.apply(0, 0, gradient, detaching([2], 0, gradient, 2)), DETACHED);
  t.is(accumulator.numAccumulated, 0);
});

test('a shape that detaches a value is noticed before the value is assigned', (t) => {
  const variable = sessionOf(t).variable('w', { dtype: 'float32', shape: null });
  const value = floats(1, 2);
  t.throws(() => variable.assign(value, detaching([2], 0, value, 2)), DETACHED);
  t.false(variable.isInitialized);
});

for (const which of ['valuesShape', 'denseShape'] as const) {
  test(`a ${which} that detaches sparse values is noticed before they are read`, (t) => {
    const options = { dtype: 'float32', shape: null, reduction: 'sum', form: 'combined' } as const;
    const accumulator = sessionOf(t).sparseAccumulator('s', options);
    const values = floats(1, 2);
    const shapeOf = (name: string, size: number) =>
      name === which ? detaching([size], 0, values, size) : [size];
    const indices = new Int32Array([0, 1]);
    const apply = () =>
      accumulator.apply(0, 0, indices, values, shapeOf('valuesShape', 2), shapeOf('denseShape', 4));
    t.throws(apply, DETACHED);
    t.is(accumulator.numAccumulated, 0);
  });
}

const queueOf = (t: ExecutionContext) =>
  sessionOf(t).tokenQueue('q', { dtypes: ['float32', 'float32'], shapes: null, capacity: 1 });

test('a component that detaches the one before it is noticed before either is read', (t) => {
  const queue = queueOf(t);
  const first = floats(1, 2);
  const second = detaching({ ...f32(floats(3, 4)) }, 'dtype', first, 'float32');
  t.throws(() => queue.enqueue([f32(first), second], PATIENT), DETACHED);
  t.is(queue.size, 0);
});

test('options that detach a component are noticed before it is read', (t) => {
  const queue = queueOf(t);
  const first = floats(1, 2);
  const options = detaching<WaitOptions>({ ...PATIENT }, 'deadlineMs', first, 1000);
  t.throws(() => queue.enqueue([f32(first), f32(floats(3, 4))], options), DETACHED);
  t.is(queue.size, 0);
});

test('a list that grows while it is read counts as long as it was', (t) => {
  const variable = sessionOf(t).variable('w', { dtype: 'float32', shape: null });
  const shape = [0];
  const get = () => {
    while (shape.length < 10_000) shape.push(1);
    return 2;
  };
  Object.defineProperty(shape, 0, { get });
  variable.assign(floats(1, 2), shape);
  t.deepEqual(variable.shape, [2]);
});
