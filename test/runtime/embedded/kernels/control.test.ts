/** Kernels that pass values on, hold constants or refuse, and the state of random operations. */
import test from 'ava';
import { type AttrValue, attr } from '../../../../src/graph/attributes.js';
import { Value } from '../../../../src/runtime/embedded/value.js';
import { elements, floats, ints, kernel, operation, scalar, vector } from './tools.js';
import { bind, call, computeRuntime } from './vectors.js';

const bytes = (...data: number[]): Uint8Array => new Uint8Array(Float32Array.from(data).buffer);
const constant = (shape: number[], data: Uint8Array): AttrValue =>
  attr.tensor({ dtype: 'float32', shape, bytes: data });

test('a constant of one element fills its shape, and the last element of a short one is repeated', async (t) => {
  const runtime = await computeRuntime();
  const make = (value: AttrValue): number[] => {
    const [result] = call(kernel('Const', { dtype: attr.type('float32'), value }), [], runtime);
    return elements(result!);
  };
  t.deepEqual(make(constant([2, 2], bytes(3))), [3, 3, 3, 3]);
  t.deepEqual(make(constant([4], bytes(1, 2))), [1, 2, 2, 2]);
  t.deepEqual(make(constant([], bytes(7))), [7]);
  t.deepEqual(make(constant([0], bytes())), []);
  t.throws(() => make(constant([1], bytes(1, 2))), { code: 'INVALID_ARGUMENT' });
});

test('a constant goes to the wasm heap once, whatever the number of steps', async (t) => {
  const runtime = await computeRuntime();
  const before = runtime.backend.numDataIds();
  const bound = kernel('Const', { value: constant([100], bytes(1)) });
  for (let step = 0; step < 3; step++) {
    const [value] = call(bound, [], runtime);
    value!.device(runtime.backend);
    value!.release();
    t.is(runtime.backend.numDataIds(), before + 1);
  }
});

test('passing on shares storage until the last owner is gone', async (t) => {
  const runtime = await computeRuntime();
  const before = runtime.backend.numDataIds();
  const x = floats([100], new Float32Array(100).fill(2));
  x.device(runtime.backend);
  const [same] = call(kernel('Identity'), [x], runtime);
  const [flat] = call(kernel('Reshape'), [same!, vector(10, -1)], runtime);
  x.release();
  same!.release();
  t.deepEqual([...flat!.shape], [10, 10]);
  t.is(elements(flat!)[99], 2);
  t.is(runtime.backend.numDataIds(), before + 1);
  flat!.release();
  t.is(runtime.backend.numDataIds(), before);
  t.throws(() => flat!.host(), { code: 'INTERNAL' });
});

test('a placeholder that is not fed says so', async (t) => {
  const runtime = await computeRuntime();
  const error = t.throws(() => call(kernel('Placeholder'), [], runtime), { code: 'INVALID_ARGUMENT' });
  t.regex(error!.message, /feed the_Placeholder:0/);
});

test('a failed assertion shows its data', async (t) => {
  const runtime = await computeRuntime();
  const bound = kernel('Assert', { summarize: attr.int(2) });
  const flag = (value: number): Value => Value.ofHost('bool', [], Uint8Array.of(value));
  t.deepEqual(call(bound, [flag(1), vector(1)], runtime), []);
  const text = Value.ofHost('string', [1], [new TextEncoder().encode('too long')]);
  const error = t.throws(() => call(bound, [flag(0), text, vector(4, 5, 6)], runtime), {
    code: 'INVALID_ARGUMENT',
  });
  t.regex(error!.message, /\[too long\] \[4 5\.\.\.\]/);
});

const UNSUPPORTED: readonly [string, string, Record<string, AttrValue>, RegExp][] = [
  [
    'a dtype without kernel',
    'Conv2D',
    { T: attr.type('float16') },
    /expected T one of float32 but received float16/,
  ],
  ['channels first', 'BiasAdd', { data_format: attr.string('NCHW') }, /data_format NHWC/],
  [
    'strides over channels',
    'MaxPool',
    { ksize: ints(1, 2, 2, 1), strides: ints(1, 1, 1, 2) },
    /strides of 1 for/,
  ],
  [
    'batched gathering',
    'GatherV2',
    { Tindices: attr.type('int32'), batch_dims: attr.int(1) },
    /batch_dims 0/,
  ],
  ['integer logarithms', 'Log', { T: attr.type('int32') }, /float32, float64/],
  ['doubles from a random operation', 'RandomUniform', { dtype: attr.type('float64') }, /float32/],
];

for (const [what, type, attributes, message] of UNSUPPORTED) {
  test(`${what} is refused when ${type} is bound`, (t) => {
    const error = t.throws(() => bind(operation(type, attributes)), { code: 'UNIMPLEMENTED' });
    t.regex(error!.message, message);
    t.regex(error!.message, new RegExp(`the_${type}`));
  });
}

const x23 = (): Value => floats([2, 3], [1, 2, 3, 4, 5, 6]);
const INVALID: readonly [string, string, () => Value[], Record<string, AttrValue>][] = [
  ['shapes that do not broadcast', 'AddV2', () => [x23(), floats([2], [1, 2])], {}],
  ['inner dimensions that differ', 'MatMul', () => [x23(), x23()], {}],
  ['a reshape to another size', 'Reshape', () => [x23(), vector(4, 2)], {}],
  ['an axis out of range', 'Sum', () => [x23(), vector(2)], {}],
  [
    'a label out of range',
    'SparseSoftmaxCrossEntropyWithLogits',
    () => [x23(), vector(0, 3)],
    { Tlabels: attr.type('int32') },
  ],
  [
    'an index out of range',
    'GatherV2',
    () => [x23(), vector(2), scalar(0)],
    { Tindices: attr.type('int32') },
  ],
  ['a slice out of bounds', 'Slice', () => [x23(), vector(0, 2), vector(1, 2)], {}],
  ['concatenated shapes that differ', 'ConcatV2', () => [x23(), floats([1, 2], [1, 2]), scalar(0)], {}],
  ['an integer division by zero', 'FloorDiv', () => [vector(4, 5), vector(2, 0)], { T: attr.type('int32') }],
  [
    'a filter for other channels',
    'Conv2D',
    () => [floats([1, 2, 2, 1], [1, 2, 3, 4]), floats([1, 1, 2, 1], [1, 2])],
    { strides: ints(1, 1, 1, 1) },
  ],
];

for (const [what, type, inputs, attributes] of INVALID) {
  test(`${what} is an error of ${type} that names the operation, and leaks nothing`, async (t) => {
    const runtime = await computeRuntime();
    const before = runtime.backend.numDataIds();
    const values = inputs();
    const error = t.throws(() => call(kernel(type, attributes), values, runtime), {
      code: 'INVALID_ARGUMENT',
    });
    t.regex(error!.message, new RegExp(`the_${type}`));
    for (const value of values) value.release();
    t.is(runtime.backend.numDataIds(), before);
  });
}

test('random operations with seeds start alike and each goes on by itself; those without differ', async (t) => {
  const runtime = await computeRuntime();
  const draw = (bound: ReturnType<typeof kernel>): number[] =>
    elements(call(bound, [vector(8)], runtime)[0]!);
  const attributes = { dtype: attr.type('float32'), seed: attr.int(5) };
  const [a, b] = [kernel('RandomUniform', attributes), kernel('RandomUniform', attributes)];
  const first = draw(a);
  const second = draw(a);
  t.deepEqual(draw(b), first);
  t.deepEqual(draw(b), second);
  t.notDeepEqual(first, second);
  const unseeded = { dtype: attr.type('float32') };
  t.notDeepEqual(draw(kernel('RandomUniform', unseeded)), draw(kernel('RandomUniform', unseeded)));
});

test('normal numbers have mean 0 and deviation 1, truncated ones stay within two deviations', async (t) => {
  const runtime = await computeRuntime();
  const attributes = { dtype: attr.type('float32'), seed: attr.int(9), seed2: attr.int(4) };
  const count = 40_000;
  const moments = (data: number[]): [number, number] => {
    const mean = data.reduce((a, b) => a + b, 0) / count;
    return [mean, Math.sqrt(data.reduce((a, b) => a + (b - mean) ** 2, 0) / count)];
  };
  // Four standard errors of each estimate.
  const bound = 4 / Math.sqrt(count);
  const normal = call(kernel('RandomStandardNormal', attributes), [vector(count)], runtime)[0]!;
  const [mean, deviation] = moments(elements(normal));
  t.true(Math.abs(mean) < bound && Math.abs(deviation - 1) < bound, `${mean}, ${deviation}`);
  const truncated = call(kernel('TruncatedNormal', attributes), [vector(count)], runtime)[0]!;
  const data = elements(truncated);
  t.true(data.every((x) => Math.abs(x) < 2));
  // The deviation of a normal distribution cut at two deviations.
  t.true(Math.abs(moments(data)[1] - 0.879626) < bound);
  normal.release();
  truncated.release();
});
