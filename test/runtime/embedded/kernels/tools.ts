/** Short ways to bind a kernel, to make values and to read them. */
import { type AttrValue, attr, attributes } from '../../../../src/graph/attributes.js';
import { Operation } from '../../../../src/graph/operation.js';
import type { BoundKernel } from '../../../../src/runtime/embedded/kernel.js';
import { Value } from '../../../../src/runtime/embedded/value.js';
import { bind } from './vectors.js';

const FLOATS = { T: attr.type('float32') } as const;

/** An operation of that type on float32, with these attributes. */
export function operation(type: string, more: Readonly<Record<string, AttrValue>> = {}): Operation {
  return new Operation({ name: `the_${type}`, type, attributes: attributes({ ...FLOATS, ...more }) }, 0);
}

export function kernel(type: string, more: Readonly<Record<string, AttrValue>> = {}): BoundKernel {
  return bind(operation(type, more));
}

export const ints = (...values: number[]): AttrValue => attr.list(values.map((value) => attr.int(value)));

export function floats(shape: readonly number[], data: Iterable<number> | ArrayLike<number>): Value {
  return Value.ofHost('float32', shape, Float32Array.from(data as ArrayLike<number>));
}

export function vector(...data: number[]): Value {
  return Value.ofHost('int32', [data.length], Int32Array.from(data));
}

export function scalar(value: number): Value {
  return Value.ofHost('int32', [], Int32Array.of(value));
}

/** Multiples of 1/8 from a linear congruence: sums and products of a few hundred of them are exact in float32. */
export function* eighths(count: number, seed: number): Generator<number> {
  let state = seed >>> 0;
  for (let i = 0; i < count; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    yield ((state >>> 28) - 8) / 8;
  }
}

export function exact(shape: readonly number[], seed: number): Value {
  const count = shape.reduce((product, dim) => product * dim, 1);
  return floats(shape, eighths(count, seed));
}

export function elements(value: Value): number[] {
  return Array.from(value.host() as ArrayLike<number | bigint>, Number);
}
