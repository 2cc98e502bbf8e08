/**
 * What a session's kernels make of the same numbers, as one line per kind of work with the hash of all bits: dense and sparse aggregates of
 * every dtype, all optimizers, collectives. Run as a program it prints the lines of the default instruction set.
 */
import { createHash } from 'node:crypto';
import { argv } from 'node:process';
import { pathToFileURL } from 'node:url';
import { loadAddon } from '../../src/addon/load.js';
import type {
  NativeDType,
  NativeOptimizer,
  NativeSession,
  NativeTensor,
  NumericArray,
} from '../../src/addon/native.js';
import { PATIENT } from './patience.js';

/** Not a multiple of any vector, and long enough for several threads. */
const ELEMENTS = 70_001;
const ROWS = 1_201;
const WIDTH = 19;
const TABLE = 500;
const DTYPES: readonly NativeDType[] = ['float16', 'bfloat16', 'float32', 'float64', 'int32', 'int64'];

/** Numbers from a seed: 32 random bits at a time (xorshift). */
function random(seed: number): () => number {
  let state = seed * 2654435761 + 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

/** Finite numbers of very different sizes, denormals and both zeros among them; for integers any bits. */
function numbers(dtype: NativeDType, count: number, seed: number): NumericArray {
  const next = random(seed);
  const real = (): number => (next() % 50 === 0 ? -0 : (next() / 2 ** 31 - 1) * 2 ** ((next() % 60) - 40));
  switch (dtype) {
    case 'float32':
      return Float32Array.from({ length: count }, () => (next() % 40 === 0 ? 1e-40 : real()));
    case 'float64':
      return Float64Array.from({ length: count }, () => (next() % 40 === 0 ? 1e-310 : real()));
    case 'int32':
      return Int32Array.from({ length: count }, () => next() | 0);
    case 'int64':
      return BigInt64Array.from({ length: count }, () =>
        BigInt.asIntN(64, (BigInt(next()) << 32n) | BigInt(next())),
      );
    // Without the bit that large numbers, infinities and NaN have.
    default:
      return Uint16Array.from({ length: count }, () => next() & 0xbfff);
  }
}

function hash(...arrays: readonly NumericArray[]): string {
  const sum = createHash('sha256');
  for (const { buffer, byteOffset, byteLength } of arrays)
    sum.update(new Uint8Array(buffer, byteOffset, byteLength));
  return sum.digest('hex').slice(0, 16);
}

async function dense(session: NativeSession, dtype: NativeDType): Promise<string> {
  const accumulator = session.denseAccumulator(`d ${dtype}`, { dtype, shape: null, reduction: 'mean' });
  for (let k = 0; k < 3; k++) accumulator.apply(0, k, numbers(dtype, ELEMENTS, k + 1), [ELEMENTS]);
  return hash((await accumulator.take(3, PATIENT).promise).data);
}

const rowsOf = (seed: number): Int32Array => {
  const next = random(seed);
  return Int32Array.from({ length: ROWS }, () => next() % TABLE);
};

const FORMS = ['combined', 'concatenated', 'tensorflow'] as const;
async function sparse(
  session: NativeSession,
  dtype: NativeDType,
  form: (typeof FORMS)[number],
): Promise<string> {
  const spec = { dtype, shape: [TABLE, WIDTH], reduction: 'mean', form } as const;
  const accumulator = session.sparseAccumulator(`s ${dtype} ${form}`, spec);
  for (let k = 0; k < 3; k++) {
    accumulator.apply(0, k, rowsOf(k + 1), numbers(dtype, ROWS * WIDTH, k + 7), [ROWS, WIDTH], null);
  }
  const { indices, values } = await accumulator.take(3, PATIENT).promise;
  return hash(indices, values.data);
}

const ADAM = { beta1Power: 0.81, beta2Power: 0.998, lr: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-7 };
const RMS = { lr: 0.01, rho: 0.9, momentum: 0.5, epsilon: 1e-3 };
const FTRL = { lr: 0.1, l1: 0.01, l2: 0.02, l2Shrinkage: 0.05, multiplyLinearByLr: false };
const OPTIMIZERS: readonly [slots: number, optimizer: NativeOptimizer][] = [
  [0, { kind: 'gradientDescent', alpha: 0.1 }],
  [1, { kind: 'momentum', lr: 0.1, momentum: 0.9, useNesterov: false }],
  [1, { kind: 'momentum', lr: 0.1, momentum: 0.9, useNesterov: true }],
  [1, { kind: 'kerasMomentum', lr: 0.1, momentum: 0.9, useNesterov: true }],
  [2, { kind: 'adam', ...ADAM, useNesterov: false }],
  [2, { kind: 'adam', ...ADAM, useNesterov: true }],
  [2, { kind: 'adamW', ...ADAM, weightDecay: 0.01 }],
  [3, { kind: 'adamWithAmsgrad', ...ADAM }],
  [2, { kind: 'adaMax', beta1Power: 0.81, lr: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-7 }],
  [1, { kind: 'adagrad', lr: 0.1, updateSlots: true }],
  [1, { kind: 'adagradV2', lr: 0.1, epsilon: 1e-7, updateSlots: true }],
  [2, { kind: 'adadelta', lr: 0.1, rho: 0.95, epsilon: 1e-6 }],
  [2, { kind: 'rmsProp', ...RMS }],
  [3, { kind: 'centeredRmsProp', ...RMS }],
  [2, { kind: 'ftrl', ...FTRL, lrPower: -0.5 }],
  [2, { kind: 'ftrl', ...FTRL, lrPower: -0.6 }],
];

/** Slots are positive, so that roots exist. */
function positive(array: NumericArray): NumericArray {
  return (array as Float32Array).map((value) => Math.abs(value) + 1e-3);
}

function fused(session: NativeSession, dtype: 'float32' | 'float64', at: number): string {
  const [slotCount, optimizer] = OPTIMIZERS[at]!;
  const count = TABLE * WIDTH;
  const [variable, ...slots] = Array.from({ length: slotCount + 1 }, (_, i) => {
    const made = session.variable(`v ${dtype} ${at} ${i}`, { dtype, shape: null });
    const initial = numbers(dtype, count, at + i + 1);
    made.assign(i === 0 ? initial : positive(initial), [TABLE, WIDTH]);
    return made;
  });
  variable!.applyDense(optimizer, slots, numbers(dtype, count, at + 31));
  variable!.applySparse(optimizer, slots, numbers(dtype, ROWS * WIDTH, at + 32), rowsOf(at + 1));
  return hash(...[variable!, ...slots].map((one) => one.read().data));
}

async function allReduce(session: NativeSession, dtype: NativeDType): Promise<string> {
  const hashes: string[] = [];
  for (const reduction of ['sum', 'mean', 'min', 'max', 'product'] as const) {
    const key = `c ${dtype} ${reduction}`;
    const tensors = [1, 2, 3].map((seed): NativeTensor => {
      const data = numbers(dtype, ELEMENTS, seed);
      return { dtype, shape: [ELEMENTS], data };
    });
    const ranks = tensors.map((_, rank) => session.communicator(key, { size: 3, rank }));
    const options = { key, reduction, ...PATIENT };
    await Promise.all(tensors.map((tensor, rank) => ranks[rank]!.allReduce(tensor, options).promise));
    hashes.push(hash(...tensors.map(({ data }) => data)));
  }
  return hashes.join(' ');
}

const ALGORITHMS = ['rows', 'row ranges', 'dense'] as const;
async function sparseAllReduce(
  session: NativeSession,
  algorithm: (typeof ALGORITHMS)[number],
): Promise<string> {
  const key = `a ${algorithm}`;
  const ranks = [0, 1].map((rank) => session.communicator(key, { size: 2, rank }));
  const options = { key, algorithm, reduction: 'mean', tableRows: TABLE, ...PATIENT } as const;
  const results = await Promise.all(
    ranks.map((rank, i) => {
      const data = numbers('float32', ROWS * WIDTH, i + 1);
      return rank.sparseAllReduce(rowsOf(i + 1), { dtype: 'float32', shape: [ROWS, WIDTH], data }, options)
        .promise;
    }),
  );
  return hash(...results.flatMap(({ indices, values }) => [indices, values.data]));
}

/** One line per kind of work. */
export async function digestsOf(session: NativeSession): Promise<readonly string[]> {
  const lines: string[] = [];
  const add = async (title: string, digest: string | Promise<string>) =>
    lines.push(`${title}: ${await digest}`);
  for (const dtype of DTYPES) {
    await add(`dense ${dtype}`, dense(session, dtype));
    for (const form of FORMS) await add(`sparse ${form} ${dtype}`, sparse(session, dtype, form));
    await add(`all-reduce ${dtype}`, allReduce(session, dtype));
  }
  for (const algorithm of ALGORITHMS)
    await add(`sparse all-reduce, ${algorithm}`, sparseAllReduce(session, algorithm));
  for (const [at, [, { kind }]] of OPTIMIZERS.entries()) {
    for (const dtype of ['float32', 'float64'] as const)
      await add(`${kind} ${at} ${dtype}`, fused(session, dtype, at));
  }
  return lines;
}

if (import.meta.url === pathToFileURL(argv[1] ?? '').href) {
  const session = loadAddon().createSession({ name: 'digests', threads: 2 });
  console.log((await digestsOf(session)).join('\n'));
  session.close('done');
}
