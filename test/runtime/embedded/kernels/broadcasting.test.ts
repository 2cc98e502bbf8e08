/** Broadcasting against its definition, over random shapes on both sides of the size where kernels move to the wasm heap. */
import test from 'ava';
import { attr } from '../../../../src/graph/attributes.js';
import { Value } from '../../../../src/runtime/embedded/value.js';
import { fc } from '../../../helpers/properties.js';
import { elements, exact, kernel, vector } from './tools.js';
import { call, computeRuntime } from './vectors.js';

/** A shape and two or three that broadcast to it: some dimensions of 1, some leading ones left out. */
const shapes = fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 5 }).chain((whole) => {
  const part = fc
    .tuple(fc.array(fc.boolean(), { minLength: whole.length, maxLength: whole.length }), fc.nat(whole.length))
    .map(([ones, missing]) => {
      const shape = whole.map((dim, i) => (ones[i] ? 1 : dim));
      return shape.slice(whole.slice(0, missing).every((_, i) => shape[i] === 1) ? missing : 0);
    });
  return fc.tuple(part, part, part);
});

/** The element of `value` that an index of the broadcast shape sees. */
function at(value: Value, index: readonly number[]): number {
  const missing = index.length - value.shape.length;
  const place = value.shape.reduce((flat, dim, i) => flat * dim + (dim === 1 ? 0 : index[i + missing]!), 0);
  return Number((value.host() as Float32Array)[place]);
}

function broadcast(...all: readonly (readonly number[])[]): number[] {
  const rank = Math.max(...all.map((shape) => shape.length));
  return Array.from({ length: rank }, (_, i) =>
    Math.max(...all.map((shape) => shape[i - rank + shape.length] ?? 1)),
  );
}

function* indices(shape: readonly number[]): Generator<number[]> {
  if (shape.length === 0) yield [];
  else {
    for (const head of indices(shape.slice(0, -1)))
      for (let i = 0; i < shape.at(-1)!; i++) yield [...head, i];
  }
}

const PAIRS: Record<string, (x: number, y: number) => number> = {
  AddV2: (x, y) => x + y,
  Sub: (x, y) => x - y,
  Mul: (x, y) => x * y,
  Maximum: Math.max,
  Minimum: Math.min,
  SquaredDifference: (x, y) => (x - y) ** 2,
  DivNoNan: (x, y) => (y === 0 ? 0 : Math.fround(x / y)),
  Less: (x, y) => Number(x < y),
  Equal: (x, y) => Number(x === y),
};

for (const [type, definition] of Object.entries(PAIRS)) {
  test(`${type} broadcasts as defined`, async (t) => {
    const runtime = await computeRuntime();
    const bound = kernel(type);
    fc.assert(
      fc.property(shapes, ([p, q]) => {
        const [a, b] = [exact(p, 1), exact(q, 2)];
        const [result] = call(bound, [a, b], runtime);
        const shape = broadcast(p, q);
        t.deepEqual([...result!.shape], shape);
        const expected = [...indices(shape)].map((index) => definition(at(a, index), at(b, index)));
        t.deepEqual(
          elements(result!).map((x) => x + 0),
          expected.map((x) => x + 0),
        );
        for (const value of [a, b, result!]) value.release();
      }),
      { numRuns: 60 },
    );
    t.is(runtime.backend.numDataIds(), 0);
  });
}

test('SelectV2 broadcasts all three inputs', async (t) => {
  const runtime = await computeRuntime();
  const bound = kernel('SelectV2');
  fc.assert(
    fc.property(shapes, ([p, q, r]) => {
      const [a, b] = [exact(q, 3), exact(r, 4)];
      const flags = Uint8Array.from(elements(exact(p, 5)), (x) => Number(x > 0));
      const condition = Value.ofHost('bool', p, flags);
      const [result] = call(bound, [condition, a, b], runtime);
      const shape = broadcast(p, q, r);
      t.deepEqual([...result!.shape], shape);
      const expected = [...indices(shape)].map((i) => (at(condition, i) ? at(a, i) : at(b, i)));
      t.deepEqual(elements(result!), expected);
      for (const value of [a, b, condition, result!]) value.release();
    }),
    { numRuns: 60 },
  );
});

test('the gradient of a broadcast sum has the shape of each input', async (t) => {
  const runtime = await computeRuntime();
  const args = kernel('BroadcastGradientArgs', { T: attr.type('int32') });
  const sum = kernel('Sum', { Tidx: attr.type('int32') });
  fc.assert(
    fc.property(shapes, ([p, q]) => {
      const dy = exact(broadcast(p, q), 6);
      const axes = call(args, [vector(...p), vector(...q)], runtime);
      [p, q].forEach((shape, i) => {
        const [reduced] = call(sum, [dy, axes[i]!], runtime);
        const count = shape.reduce((n, dim) => n * dim, 1);
        t.is(reduced!.elementCount, count);
        const total = elements(reduced!).reduce((a, b) => a + b, 0);
        t.is(
          total,
          elements(dy).reduce((a, b) => a + b, 0),
        );
        reduced!.release();
      });
      dy.release();
    }),
    { numRuns: 60 },
  );
});
