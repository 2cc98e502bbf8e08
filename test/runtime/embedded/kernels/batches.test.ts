/** Sums over a batch: what one worker gets of the whole has the same bits as what several get of equal shares, added up in pairs. */
import test from 'ava';
import { type AttrValue, attr } from '../../../../src/graph/attributes.js';
import type { Value } from '../../../../src/runtime/embedded/value.js';
import { floats, ints, kernel, vector } from './tools.js';
import { call, computeRuntime } from './vectors.js';

interface Row {
  readonly type: string;
  readonly attributes?: Readonly<Record<string, AttrValue>>;
  /** Shapes of one example of the inputs that are cut into shares. */
  readonly examples: readonly (readonly number[])[];
  /** Puts the other inputs among them. */
  readonly inputs: (parts: readonly Value[]) => Value[];
}

const SLIDING = { strides: ints(1, 1, 1, 1), padding: attr.string('SAME') };

const ROWS: readonly Row[] = [
  {
    type: 'Conv2DBackpropFilter',
    attributes: SLIDING,
    examples: [
      [9, 7, 3],
      [9, 7, 5],
    ],
    inputs: ([x, dy]) => [x!, vector(3, 3, 3, 5), dy!],
  },
  {
    type: 'MatMul',
    attributes: { transpose_a: attr.bool(true) },
    examples: [[11], [6]],
    inputs: ([a, b]) => [a!, b!],
  },
  { type: 'BiasAddGrad', examples: [[10]], inputs: ([dy]) => [dy!] },
  { type: 'BiasAddGrad', examples: [[14, 14, 8]], inputs: ([dy]) => [dy!] },
  {
    type: 'Sum',
    attributes: { Tidx: attr.type('int32') },
    examples: [[5, 3]],
    inputs: ([x]) => [x!, vector(0)],
  },
];

/** Numbers of either sign whose sums are rounded, from a linear congruence. */
function* noise(count: number, seed: number): Generator<number> {
  let state = seed;
  for (let i = 0; i < count; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    yield state / 2 ** 32 - 0.5;
  }
}

/** As accumulators of gradients do: in float32, a pair at a time. */
function addPairs(parts: readonly Float32Array[]): Float32Array {
  if (parts.length === 1) return parts[0]!;
  const half = parts.length / 2;
  const [a, b] = [addPairs(parts.slice(0, half)), addPairs(parts.slice(half))];
  return a.map((x, i) => x + b[i]!);
}

const BATCH = 128;

for (const { type, attributes = {}, examples, inputs } of ROWS) {
  for (const workers of [2, 4]) {
    const shapes = examples.map((shape) => `[${[BATCH, ...shape]}]`).join(', ');
    test(`${type} of ${shapes}: the same bits from 1 worker and from ${workers}`, async (t) => {
      const runtime = await computeRuntime();
      const columns = examples.map((shape, i) => {
        const width = shape.reduce((product, dim) => product * dim, 1);
        return { shape, width, data: Float32Array.from(noise(BATCH * width, i + 1)) };
      });
      const sumOf = (start: number, count: number): Float32Array => {
        const parts = columns.map(({ shape, width, data }) =>
          floats([count, ...shape], data.subarray(start * width, (start + count) * width)),
        );
        const all = inputs(parts);
        const [result] = call(kernel(type, attributes), all, runtime);
        const copy = Float32Array.from(result!.host() as Float32Array);
        for (const value of [...all, result!]) value.release();
        return copy;
      };
      const share = BATCH / workers;
      const whole = sumOf(0, BATCH);
      const parts = Array.from({ length: workers }, (_, k) => sumOf(k * share, share));
      t.deepEqual(whole, addPairs(parts));
      t.is(runtime.backend.numDataIds(), 0);
    });
  }
}
