/**
 * Convolutions against their definition, summed in double precision over every stride, padding, dilation and odd size that comes. Inputs are
 * multiples of 1/8, so that all sums are exact and equality can be asked for.
 */
import test from 'ava';
import { attr } from '../../../../src/graph/attributes.js';
import { fc } from '../../../helpers/properties.js';
import { elements, exact, ints, kernel, vector } from './tools.js';
import { call, computeRuntime } from './vectors.js';

const size = (max: number) => fc.integer({ min: 1, max });
const pair = (max: number) => fc.tuple(size(max), size(max));
const problems = fc
  .record({
    batch: size(3),
    image: fc.tuple(fc.integer({ min: 5, max: 11 }), fc.integer({ min: 5, max: 11 })),
    window: pair(4),
    inputs: size(3),
    outputs: size(9),
    strides: pair(3),
    dilations: pair(2),
    padding: fc.constantFrom('SAME', 'VALID'),
  })
  .filter(({ image, window, dilations }) => image.every((dim, i) => (window[i]! - 1) * dilations[i]! < dim));

type Problem = typeof problems extends fc.Arbitrary<infer P> ? P : never;

function axis(problem: Problem, i: 0 | 1): { output: number; before: number } {
  const [input, stride] = [problem.image[i], problem.strides[i]];
  const reach = (problem.window[i] - 1) * problem.dilations[i] + 1;
  if (problem.padding === 'VALID') return { output: Math.floor((input - reach) / stride) + 1, before: 0 };
  const output = Math.ceil(input / stride);
  return { output, before: Math.max(0, (output - 1) * stride + reach - input) >> 1 };
}

/** Calls `visit` with the places in image, filter and output of every product of the convolution. */
function forEachProduct(problem: Problem, visit: (x: number, w: number, y: number) => void): number[] {
  const { batch, image, window, inputs, outputs, strides, dilations } = problem;
  const [rows, columns] = [axis(problem, 0), axis(problem, 1)];
  const range = (n: number): number[] => [...Array(n).keys()];
  for (const n of range(batch))
    for (const r of range(rows.output))
      for (const c of range(columns.output))
        for (const i of range(window[0]))
          for (const j of range(window[1])) {
            const h = r * strides[0] + i * dilations[0] - rows.before;
            const v = c * strides[1] + j * dilations[1] - columns.before;
            if (h < 0 || v < 0 || h >= image[0] || v >= image[1]) continue;
            for (const p of range(inputs))
              for (const q of range(outputs)) {
                const x = ((n * image[0] + h) * image[1] + v) * inputs + p;
                const w = ((i * window[1] + j) * inputs + p) * outputs + q;
                visit(x, w, ((n * rows.output + r) * columns.output + c) * outputs + q);
              }
          }
  return [batch, rows.output, columns.output, outputs];
}

const plain = (values: readonly number[] | Float64Array): number[] => Array.from(values, (x) => x + 0);

test('Conv2D and both its gradients equal their definition', async (t) => {
  const runtime = await computeRuntime();
  fc.assert(
    fc.property(problems, (problem) => {
      const sliding = {
        strides: ints(1, ...problem.strides, 1),
        dilations: ints(1, ...problem.dilations, 1),
        padding: attr.string(problem.padding),
      };
      const imageShape = [problem.batch, ...problem.image, problem.inputs];
      const filterShape = [...problem.window, problem.inputs, problem.outputs];
      const yShape = forEachProduct(problem, () => {});
      const [x, w, dy] = [exact(imageShape, 1), exact(filterShape, 2), exact(yShape, 3)];
      const [xs, ws, dys] = [elements(x), elements(w), elements(dy)];
      const expected = [dys, xs, ws].map(({ length }) => new Float64Array(length));
      const [y, dx, dw] = expected as [Float64Array, Float64Array, Float64Array];
      forEachProduct(problem, (i, j, k) => {
        y[k]! += xs[i]! * ws[j]!;
        dx[i]! += dys[k]! * ws[j]!;
        dw[j]! += xs[i]! * dys[k]!;
      });
      const results = [
        ...call(kernel('Conv2D', sliding), [x, w], runtime),
        ...call(kernel('Conv2DBackpropInput', sliding), [vector(...imageShape), w, dy], runtime),
        ...call(kernel('Conv2DBackpropFilter', sliding), [x, vector(...filterShape), dy], runtime),
      ];
      results.forEach((result, i) => {
        t.deepEqual(plain(elements(result)), plain(expected[i]!));
      });
      for (const value of [x, w, dy, ...results]) value.release();
    }),
    { numRuns: 120 },
  );
  t.is(runtime.backend.numDataIds(), 0);
});
