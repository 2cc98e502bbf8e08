/**
 * Random operations that draw what TensorFlow's CPU kernels draw from the same seeds: the same generator, the same words for each element,
 * the same advance from one run to the next. Uniform numbers are equal bit for bit, normal ones to rounding of logarithm and sine.
 */
import { getRandomValues } from 'node:crypto';
import type { Operation } from '../../../graph/operation.js';
import { elementCount } from '../../../graph/shape.js';
import type { BoundKernel, KernelBinder, KernelTable } from '../kernel.js';
import { bigintAttr, invalid, typeAttr } from './attributes.js';
import { integers, numeric, output, scalar } from './host.js';
import { GROUP, Philox } from './philox.js';

/** Groups that a run reserves for each element, whatever it uses; also those between groups of rejection samplers. */
const RESERVED = 256;

/** The generator of an operation; a random one if it has no seeds. */
function generatorOf(operation: Operation): Philox {
  const seed = bigintAttr(operation, 'seed');
  const seed2 = bigintAttr(operation, 'seed2');
  if (seed !== 0n || seed2 !== 0n) return Philox.ofSeeds(seed, seed2);
  const [a, b] = getRandomValues(new BigUint64Array(2));
  return Philox.ofSeeds(a!, b!);
}

type Fill = (out: Float32Array, generator: Philox) => void;

const floats =
  (fill: Fill): KernelBinder =>
  (operation) => {
    typeAttr(operation, 'dtype', { allowed: ['float32'] });
    const generator = generatorOf(operation);
    const kernel: BoundKernel = ([shape], { backend }) => {
      const out = output(backend, 'float32', integers(shape!));
      const own = generator.copy();
      generator.skip(elementCount(out.value.shape) * RESERVED);
      fill(out.data as Float32Array, own);
      return [out.value];
    };
    return Object.assign(kernel, { generator });
  };

/** 23 bits of a word as a float in [0, 1). */
function unit(bits: number): number {
  return (bits & 0x7fffff) / 0x800000;
}

const uniform: Fill = (out, generator) => {
  const words = new Uint32Array(GROUP);
  for (let i = 0; i < out.length; i += GROUP) {
    generator.draw(words);
    for (let k = 0; k < GROUP && i + k < out.length; k++) out[i + k] = unit(words[k]!);
  }
};

const SMALLEST = Math.fround(1e-7);

/** Two words to two independent normal numbers (Box and Muller), rounded to float where TensorFlow rounds. */
function normalPair(first: number, second: number, to: Float32Array, at: number): void {
  const u = Math.max(unit(first), SMALLEST);
  const angle = Math.fround(2 * Math.PI * unit(second));
  const radius = Math.fround(Math.sqrt(-2 * Math.fround(Math.log(u))));
  to[at] = Math.fround(Math.sin(angle)) * radius;
  to[at + 1] = Math.fround(Math.cos(angle)) * radius;
}

const normal: Fill = (out, generator) => {
  const words = new Uint32Array(GROUP);
  const group = new Float32Array(GROUP);
  for (let i = 0; i < out.length; i += GROUP) {
    generator.draw(words);
    normalPair(words[0]!, words[1]!, group, 0);
    normalPair(words[2]!, words[3]!, group, 2);
    for (let k = 0; k < GROUP && i + k < out.length; k++) out[i + k] = group[k]!;
  }
};

const CUT = 2;

/** Normal numbers beyond two deviations are drawn again. Each group of four has a range of the sequence to itself. */
const truncatedNormal: Fill = (out, generator) => {
  const group = new Float32Array(GROUP);
  for (let i = 0; i < out.length; i += GROUP) {
    drawTruncated(generator.copy(), group);
    generator.skip(RESERVED);
    for (let k = 0; k < GROUP && i + k < out.length; k++) out[i + k] = group[k]!;
  }
};

function drawTruncated(generator: Philox, group: Float32Array): void {
  const words = new Uint32Array(GROUP);
  const pair = new Float32Array(2);
  for (let found = 0; ; ) {
    generator.draw(words);
    for (let w = 0; w < GROUP; w += 2) {
      normalPair(words[w]!, words[w + 1]!, pair, 0);
      for (const x of pair) {
        if (Math.abs(x) >= CUT) continue;
        group[found++] = x;
        if (found === GROUP) return;
      }
    }
  }
}

/** Integers in [minval, maxval) by remainder, as TensorFlow forms them. */
const uniformInt: KernelBinder = (operation) => {
  const dtype = typeAttr(operation, 'Tout', { allowed: ['int32', 'int64'] });
  const generator = generatorOf(operation);
  const kernel: BoundKernel = ([shape, low, high], { backend }) => {
    const out = output(backend, dtype, integers(shape!));
    const own = generator.copy();
    generator.skip(elementCount(out.value.shape) * RESERVED);
    if (out.data.length > 0 && numeric(low!)[0]! >= numeric(high!)[0]!) {
      throw invalid(operation, 'minval < maxval', `${numeric(low!)[0]} and ${numeric(high!)[0]}`);
    }
    if (out.data instanceof BigInt64Array) {
      drawLongs(out.data, own, numeric(low!)[0] as bigint, numeric(high!)[0] as bigint);
    } else drawInts(out.data as Int32Array, own, scalar(low!), scalar(high!));
    return [out.value];
  };
  return Object.assign(kernel, { generator });
};

function drawInts(out: Int32Array, generator: Philox, low: number, high: number): void {
  const words = new Uint32Array(GROUP);
  const range = high - low;
  for (let i = 0; i < out.length; i += GROUP) {
    generator.draw(words);
    for (let k = 0; k < GROUP && i + k < out.length; k++) out[i + k] = low + (words[k]! % range);
  }
}

function drawLongs(out: BigInt64Array, generator: Philox, low: bigint, high: bigint): void {
  const words = new Uint32Array(GROUP);
  const range = high - low;
  for (let i = 0; i < out.length; i += GROUP / 2) {
    generator.draw(words);
    for (let k = 0; k < GROUP / 2 && i + k < out.length; k++) {
      const drawn = (BigInt(words[2 * k + 1]!) << 32n) | BigInt(words[2 * k]!);
      out[i + k] = low + (drawn % range);
    }
  }
}

export const RANDOM_KERNELS: KernelTable = {
  RandomUniform: floats(uniform),
  RandomStandardNormal: floats(normal),
  TruncatedNormal: floats(truncatedNormal),
  RandomUniformInt: uniformInt,
};
