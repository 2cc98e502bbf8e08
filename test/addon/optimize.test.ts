/** The fused optimizers against TensorFlow's own kernels: what TensorFlow made of the same inputs, bit by bit, on every instruction set. GRADSYNC_SEED draws other random values. */
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { NativeOptimizer, NativeSession } from '../../src/addon/native.js';
import { addon, floats, sessionOf } from '../helpers/addon.js';
import { temporaryFolder } from '../helpers/folder.js';
import { projectPath } from '../helpers/paths.js';
import { findTensorflow, runPython, tensorflowTest } from '../helpers/tensorflow.js';

/** Written by test/fixtures/optimize/export.py. */
interface Case {
  readonly name: string;
  readonly dtype: 'float32' | 'float16' | 'bfloat16';
  readonly optimizer: NativeOptimizer;
  readonly shape: readonly number[];
  readonly indices: readonly number[] | null;
  /** Bit patterns: the variable, then its slots. */
  readonly before: readonly (readonly number[])[];
  readonly grads: readonly (readonly number[])[];
  readonly after: readonly (readonly number[])[];
  /** Per value of `after`, how far ours may lie from it where TensorFlow uses an approximation; otherwise all bits must agree. */
  readonly bounds?: readonly (readonly number[])[];
}

const EXPORT = projectPath('test', 'fixtures', 'optimize', 'export.py');
const { instructionSets } = addon.capabilities();
const read = (text: string): readonly Case[] => (JSON.parse(text) as { cases: readonly Case[] }).cases;
const cases = read(readFileSync(projectPath('test', 'fixtures', 'optimize', 'vectors.json'), 'utf8'));
/** The array that holds such elements. */
const fromBits = (dtype: Case['dtype'], bits: readonly number[]): Float32Array | Uint16Array =>
  dtype === 'float32' ? new Float32Array(new Uint32Array(bits).buffer) : new Uint16Array(bits);

/** Their values. */
function numbersOf(dtype: Case['dtype'], array: Float32Array | Uint16Array): Float32Array {
  if (array instanceof Float32Array) return array;
  if (dtype === 'float16') return Float32Array.from(array, fromHalf);
  return new Float32Array(Uint32Array.from(array, (bits) => bits << 16).buffer);
}

function fromHalf(bits: number): number {
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  const size =
    exponent === 31
      ? fraction === 0
        ? Number.POSITIVE_INFINITY
        : Number.NaN
      : exponent === 0
        ? fraction * 2 ** -24
        : (1 + fraction / 1024) * 2 ** (exponent - 15);
  return bits >> 15 === 0 ? size : -size;
}

function run(
  session: NativeSession,
  { dtype, optimizer, shape, indices, before, grads }: Case,
): Float32Array[] {
  const [variable, ...slots] = before.map((bits, i) => {
    const made = session.variable(`${i} ${dtype} ${shape}`, { dtype, shape });
    made.assign(fromBits(dtype, bits), shape);
    return made;
  });
  for (const grad of grads) {
    if (indices === null) variable!.applyDense(optimizer, slots, fromBits(dtype, grad));
    else variable!.applySparse(optimizer, slots, fromBits(dtype, grad), new Int32Array(indices));
  }
  return [variable!, ...slots].map((one) => numbersOf(dtype, one.read().data as Float32Array | Uint16Array));
}

/** The first element that is neither TensorFlow's (bit by bit, any NaN for a NaN) nor within its bound. */
function firstDifference(one: Case, results: readonly Float32Array[]): string | undefined {
  for (const [i, values] of results.entries()) {
    const expected = numbersOf(one.dtype, fromBits(one.dtype, one.after[i]!));
    for (const [at, value] of values.entries()) {
      const other = expected[at]!;
      const bound = one.bounds?.[i]?.[at] ?? Number.NaN;
      if (!Object.is(value, other) && !(Math.abs(value - other) <= bound)) {
        return `${i === 0 ? 'variable' : `slot ${i - 1}`}[${at}] is ${value}, TensorFlow's ${other}`;
      }
    }
  }
  return undefined;
}

function checkOnEverySet(t: ExecutionContext, all: readonly Case[]): void {
  for (const instructionSet of instructionSets) {
    const session = addon.createSession({ name: 'optimize', instructionSet });
    t.teardown(() => session.close('the test is over'));
    for (const one of all) {
      t.is(firstDifference(one, run(session, one)), undefined, `${one.name}, ${instructionSet}`);
    }
  }
}

for (const one of cases) {
  test(`${one.name}: gives TensorFlow's ${one.bounds === undefined ? 'bits' : 'values'}`, (t) => {
    checkOnEverySet(t, [one]);
  });
}

const search = findTensorflow();
async function exported(t: ExecutionContext, python: string, ...args: string[]): Promise<readonly Case[]> {
  const folder = temporaryFolder(t);
  const file = join(folder, 'vectors.json');
  await runPython(python, [EXPORT, file, ...args]);
  return read(await readFile(file, 'utf8'));
}

tensorflowTest(search, 'vectors.json is what this TensorFlow computes', async (t, python) => {
  const exact = (all: readonly Case[]) => all.filter(({ bounds }) => bounds === undefined);
  t.deepEqual(exact(await exported(t, python)), exact(cases));
});

const seed = process.env['GRADSYNC_SEED'] ?? '1';
tensorflowTest(
  search,
  `random values of all magnitudes, denormals, infinities and NaN give TensorFlow's bits (seed ${seed})`,
  async (t, python) => {
    checkOnEverySet(t, await exported(t, python, seed, '300'));
  },
);

test('a refused update changes neither variable nor slot', (t) => {
  const session = sessionOf(t);
  const [variable, slot] = ['variable', 'slot'].map((key) =>
    session.variable(key, { dtype: 'float32', shape: [2, 1] }),
  );
  variable!.assign(floats(1, 2), [2, 1]);
  slot!.assign(floats(3, 4), [2, 1]);
  const momentum = { kind: 'momentum', lr: 1, momentum: 0.5, useNesterov: false } as const;
  const apply = (rows: number[]) => () =>
    variable!.applySparse(momentum, [slot!], floats(1, 1), new Int32Array(rows));
  t.throws(apply([0, 2]), {
    code: 'INVALID_ARGUMENT',
    message: /indices\[1\] = 2 is not in \[0, 2\)/,
  });
  t.throws(apply([-1, 0]), { code: 'INVALID_ARGUMENT' });
  t.throws(() => variable!.applyDense(momentum, [variable!], floats(1, 1)), { code: 'INVALID_ARGUMENT' });
  t.throws(() => variable!.applyDense(momentum, [], floats(1, 1)), {
    code: 'INVALID_ARGUMENT',
    message: /expected 1 slots but received 0/,
  });
  t.throws(() => variable!.applyDense(momentum, [slot!], floats(1)), {
    code: 'INVALID_ARGUMENT',
    message: /expected a gradient of float32 \[2,1\] as the variable but received float32 \[1\]/,
  });
  const other = session.variable('other', { dtype: 'float32', shape: [1, 2] });
  other.assign(floats(3, 4), [1, 2]);
  t.throws(() => variable!.applyDense(momentum, [other], floats(1, 1)), {
    code: 'INVALID_ARGUMENT',
    message: /expected slot 0 to be float32 \[2,1\] as the variable but received float32 \[1,2\]/,
  });
  t.deepEqual([variable!.read().data, slot!.read().data], [floats(1, 2), floats(3, 4)]);
  t.deepEqual([variable!.version, slot!.version], [1, 1]);
});
