/** Gradient operations against central differences of the operations they belong to, in double precision. */
import test from 'ava';
import { attr } from '../../../../src/graph/attributes.js';
import type { TaskRuntime } from '../../../../src/runtime/embedded/kernel.js';
import { Value } from '../../../../src/runtime/embedded/value.js';
import { elements, kernel } from './tools.js';
import { call, computeRuntime } from './vectors.js';

const DOUBLE = { T: attr.type('float64') };
const H = 1e-5;

function doubles(shape: readonly number[], data: readonly number[]): Value {
  return Value.ofHost('float64', shape, Float64Array.from(data));
}

/** The derivative of sum(weights * f(x)) by each element of x, by central differences: an error of about H squared. */
function slopes(
  f: (x: readonly number[]) => readonly number[],
  x: readonly number[],
  weights: readonly number[],
): number[] {
  const total = (at: readonly number[]): number => f(at).reduce((sum, y, i) => sum + y * weights[i]!, 0);
  return x.map((at, i) => (total(x.with(i, at + H)) - total(x.with(i, at - H))) / (2 * H));
}

function near(actual: readonly number[], expected: readonly number[]): boolean {
  // Third derivatives of these functions are below 100 on the points used; rounding of the difference adds 1e-16 / H.
  return actual.every((x, i) => Math.abs(x - expected[i]!) <= 100 * H * H + 1e-10);
}

const POINTS = [0.5, 0.7, 1.1, 1.9, 2.4];
const WEIGHTS = [1, -2, 0.5, 3, -1];

/** The gradient operation of each function, and whether it is given the function's result or its argument. */
const FUNCTIONS: readonly [string, string, 'result first' | 'gradient first'][] = [
  ['Sigmoid', 'SigmoidGrad', 'result first'],
  ['Tanh', 'TanhGrad', 'result first'],
  ['Sqrt', 'SqrtGrad', 'result first'],
  ['Rsqrt', 'RsqrtGrad', 'result first'],
  ['Reciprocal', 'ReciprocalGrad', 'result first'],
  ['Softplus', 'SoftplusGrad', 'gradient first'],
  ['Relu', 'ReluGrad', 'gradient first'],
];

for (const [type, gradient, order] of FUNCTIONS) {
  test(`${gradient} is the slope of ${type}`, async (t) => {
    const runtime = await computeRuntime();
    const run = (name: string, ...inputs: Value[]): number[] =>
      elements(call(kernel(name, DOUBLE), inputs, runtime)[0]!);
    const x = doubles([5], POINTS);
    const dy = doubles([5], WEIGHTS);
    const f = (at: readonly number[]): number[] => run(type, doubles([5], at));
    const actual =
      order === 'result first' ? run(gradient, doubles([5], f(POINTS)), dy) : run(gradient, dy, x);
    t.true(near(actual, slopes(f, POINTS, WEIGHTS)), `${actual}`);
  });
}

const LOGITS = [0.2, -1.4, 3, 0.9, 0.9, -0.3];
const ROWS = [1, -0.5];

/** Loss per row and its gradient. */
function crossEntropy(
  runtime: TaskRuntime,
  labels: Value,
  sparse: boolean,
  logits: readonly number[],
): number[][] {
  const type = `${sparse ? 'Sparse' : ''}SoftmaxCrossEntropyWithLogits`;
  const attributes = { ...DOUBLE, Tlabels: attr.type('int32') };
  return call(kernel(type, attributes), [doubles([2, 3], logits), labels], runtime).map(elements);
}

test('the second output of both cross entropies is the slope of the first', async (t) => {
  const runtime = await computeRuntime();
  const choices: readonly [Value, boolean][] = [
    [doubles([2, 3], [0.2, 0.3, 0.5, 1, 0, 0]), false],
    [Value.ofHost('int32', [2], Int32Array.of(2, 0)), true],
  ];
  for (const [labels, sparse] of choices) {
    const loss = (at: readonly number[]): number[] => crossEntropy(runtime, labels, sparse, at)[0]!;
    const gradient = crossEntropy(runtime, labels, sparse, LOGITS)[1]!;
    const weighted = gradient.map((g, i) => g * ROWS[Math.floor(i / 3)]!);
    t.true(near(weighted, slopes(loss, LOGITS, ROWS)), `${weighted}`);
  }
});

test('softmax is the slope of the logarithm of the sum of exponentials', async (t) => {
  const runtime = await computeRuntime();
  const run = (type: string, at: readonly number[]): number[] =>
    elements(call(kernel(type, DOUBLE), [doubles([1, 6], at)], runtime)[0]!);
  // logSoftmax_0 = x_0 - log(sum(exp(x))), so its slope is e_0 - softmax.
  const slope = slopes((at) => [run('LogSoftmax', at)[0]!], LOGITS, [1]);
  const softmax = run('Softmax', LOGITS);
  t.true(
    near(
      slope.map((s, i) => Number(i === 0) - s),
      softmax,
    ),
  );
});
