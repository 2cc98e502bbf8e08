import test from 'ava';
import { type HalfType, narrow, widen } from '../../../../src/runtime/embedded/kernels/half.js';

const TYPES: readonly HalfType[] = ['float16', 'bfloat16'];
/** Bits of positive infinity. */
const INFINITY: Readonly<Record<HalfType, number>> = { float16: 0x7c00, bfloat16: 0x7f80 };

function widened(bits: number, type: HalfType): number {
  const out = new Float32Array(1);
  widen(Uint16Array.of(bits), type, out);
  return out[0]!;
}

function narrowed(value: number, type: HalfType): number {
  const out = new Uint16Array(1);
  narrow(Float32Array.of(value), type, out);
  return out[0]!;
}

for (const type of TYPES) {
  test(`every ${type} is the float it stands for, and comes back`, (t) => {
    for (let bits = 0; bits < 0x10000; bits++) {
      const value = widened(bits, type);
      if (Number.isNaN(value)) {
        t.true(Number.isNaN(widened(narrowed(value, type), type)));
        t.true((bits & 0x7fff) > INFINITY[type]);
      } else if (narrowed(value, type) !== bits) t.fail(`${bits.toString(16)} is ${value}`);
    }
    t.is(widened(INFINITY[type], type), Number.POSITIVE_INFINITY);
  });

  test(`what lies between two ${type} becomes the nearer one, half way the even one`, (t) => {
    for (let bits = 0; bits + 1 < INFINITY[type]; bits++) {
      const [low, high] = [widened(bits, type), widened(bits + 1, type)];
      const middle = (low + high) / 2;
      // The middle of the smallest bfloat16s is no float32.
      if (Math.fround(middle) !== middle) continue;
      const even = bits % 2 === 0 ? bits : bits + 1;
      if (narrowed(middle, type) !== even) t.fail(`${middle} is half way after ${bits}`);
      const [below, above] = [Math.fround(middle - (high - low) / 8), Math.fround(middle + (high - low) / 8)];
      if (below < middle && narrowed(below, type) !== bits) t.fail(`${below} is nearer to ${bits}`);
      if (above > middle && narrowed(above, type) !== bits + 1) t.fail(`${above} is nearer to ${bits + 1}`);
      if (narrowed(-middle, type) !== (even | 0x8000)) t.fail(`${-middle}`);
    }
    t.pass();
  });
}

test('one and its neighbours, as IEEE 754 writes them', (t) => {
  t.is(widened(0x3c00, 'float16'), 1);
  t.is(widened(0x3f80, 'bfloat16'), 1);
  t.is(widened(0x7bff, 'float16'), 65504);
  t.is(widened(0x0001, 'float16'), 2 ** -24);
  t.is(narrowed(65520, 'float16'), 0x7c00);
  t.is(narrowed(65519, 'float16'), 0x7bff);
});
