/**
 * Repeats on the native accumulators what test/tensorflow/replay.py did to TensorFlow's, call by call, and compares status codes, the words
 * of errors, and results bit for bit. Only of two NaNs either is right: which one an addition keeps is the compiler's choice.
 */
import type {
  NativeDenseAccumulator,
  NativeSession,
  NativeSparseAccumulator,
  NativeTensor,
  NumericArray,
  Pending,
  SparseSlices,
} from '../../src/addon/native.js';

export type AccumulatorKind = 'dense' | 'sparse';

interface EncodedArray {
  readonly shape: readonly number[];
  /** Base 64 of the elements' bytes. */
  readonly data: string;
}

interface Outcome {
  readonly code: string;
  readonly message?: string;
  readonly values?: EncodedArray;
  readonly indices?: readonly number[];
  readonly dense_shape?: readonly number[];
}

type Step =
  | {
      readonly do: 'apply';
      readonly step: number;
      readonly values: EncodedArray;
      readonly indices?: EncodedArray;
      readonly dense_shape?: readonly number[] | null;
      readonly result: Outcome;
    }
  | { readonly do: 'take'; readonly required: number; readonly result: Outcome }
  | { readonly do: 'number'; readonly result: number }
  | { readonly do: 'set_step'; readonly step: number }
  | { readonly do: 'wait'; readonly required: number }
  | { readonly do: 'end'; readonly results: readonly Outcome[] };

/** One accumulator's life. */
export interface Sequence {
  readonly seed: number;
  readonly dtype: 'float16' | 'float32' | 'float64';
  readonly shape: readonly (number | null)[] | null;
  readonly reduction: 'mean' | 'sum';
  readonly steps: readonly Step[];
}

const ARRAYS = { float16: Uint16Array, float32: Float32Array, float64: Float64Array };
/** For takes that can be answered, though the process be stopped for a while, and for those that cannot. */
const PATIENT_MS = 240_000;
const SHORT_MS = 2;

function bytesOf(data: string): ArrayBuffer {
  const bytes = Buffer.from(data, 'base64');
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer;
}

/** Bits as text, NaNs alike. */
function bitsOf(dtype: Sequence['dtype'], data: NumericArray | ArrayBuffer): string {
  const array = data instanceof ArrayBuffer ? new ARRAYS[dtype](data) : data;
  const isNan = (value: number): boolean =>
    dtype === 'float16' ? (value & 0x7fff) > 0x7c00 : Number.isNaN(value);
  const zero = (value: number): string => (Object.is(value, -0) ? '-0' : String(value));
  return Array.from(array as ArrayLike<number>, (value) => (isNan(value) ? 'NaN' : zero(value))).join();
}

type Taken = NativeTensor | SparseSlices;

/** What came of a call, in a form that compares. */
interface Result {
  readonly code: string;
  readonly message?: string;
  readonly shape?: readonly number[];
  readonly bits?: string;
  readonly indices?: readonly number[];
  readonly denseShape?: readonly number[];
}

function expected(dtype: Sequence['dtype'], outcome: Outcome): Result {
  const { code, message, values, indices, dense_shape } = outcome;
  if (values === undefined) return message === undefined ? { code } : { code, message };
  const dense = { code, shape: values.shape, bits: bitsOf(dtype, bytesOf(values.data)) };
  return indices === undefined ? dense : { ...dense, indices, denseShape: dense_shape! };
}

function received(dtype: Sequence['dtype'], taken: Taken): Result {
  const values = 'values' in taken ? taken.values : taken;
  const dense = { code: 'OK', shape: values.shape, bits: bitsOf(dtype, values.data) };
  if (!('values' in taken)) return dense;
  return {
    ...dense,
    indices: Array.from(taken.indices, Number),
    denseShape: Array.from(taken.shape, Number),
  };
}

function failure(error: unknown): Result {
  const { code, message } = error as { code: string; message: string };
  return { code, message };
}

/** Replays one sequence; gives what differs, or null. */
export async function replay(
  session: NativeSession,
  kind: AccumulatorKind,
  sequence: Sequence,
): Promise<string | null> {
  const accumulator = open(session, kind, sequence);
  const waiting: Pending<Taken>[] = [];
  let contributor = 0;
  for (const [i, step] of sequence.steps.entries()) {
    const differs = await replayStep(accumulator, sequence, step, waiting, contributor++);
    if (differs !== null) return `seed ${sequence.seed}, step ${i} (${step.do}): ${differs}`;
  }
  return null;
}

type Accumulator = NativeDenseAccumulator | NativeSparseAccumulator;

function open(session: NativeSession, kind: AccumulatorKind, sequence: Sequence): Accumulator {
  const shape = sequence.shape === null ? null : sequence.shape.map((dim) => dim ?? -1);
  const spec = { dtype: sequence.dtype, shape, reduction: sequence.reduction };
  const key = `${sequence.seed} ${sequence.steps.some((step) => step.do === 'end')}`;
  return kind === 'dense'
    ? session.denseAccumulator(key, spec)
    : session.sparseAccumulator(key, { ...spec, form: 'tensorflow' });
}

async function replayStep(
  accumulator: Accumulator,
  { dtype }: Sequence,
  step: Step,
  waiting: Pending<Taken>[],
  contributor: number,
): Promise<string | null> {
  switch (step.do) {
    case 'apply':
      return compare(apply(accumulator, dtype, step, contributor), expected(dtype, step.result));
    case 'take': {
      const isAnswered = step.result.code !== 'DEADLINE_EXCEEDED';
      const pending = accumulator.take(step.required, { deadlineMs: isAnswered ? PATIENT_MS : SHORT_MS });
      return compare(await settle(dtype, pending), expected(dtype, step.result));
    }
    case 'number':
      return accumulator.numAccumulated === step.result
        ? null
        : `expected ${step.result} gradients but received ${accumulator.numAccumulated}`;
    case 'set_step':
      accumulator.setGlobalStep(step.step);
      return null;
    case 'wait':
      waiting.push(accumulator.take(step.required, { deadlineMs: Infinity }));
      return null;
    case 'end':
      return end(dtype, step.results, waiting);
  }
}

/** TensorFlow's session ends and cancels what waits; here the last goes first, so that no take is answered because one before it went. */
async function end(
  dtype: Sequence['dtype'],
  results: readonly Outcome[],
  waiting: readonly Pending<Taken>[],
): Promise<string | null> {
  const settled = waiting.map((pending) => settle(dtype, pending));
  for (const [i, pending] of [...waiting.entries()].reverse()) {
    if (results[i]!.code === 'CANCELLED') pending.cancel();
  }
  for (const [i, ours] of settled.entries()) {
    const differs = compare(await ours, expected(dtype, results[i]!));
    if (differs !== null) return `take ${i}: ${differs}`;
  }
  return null;
}

function apply(
  accumulator: Accumulator,
  dtype: Sequence['dtype'],
  step: Extract<Step, { do: 'apply' }>,
  contributor: number,
): Result {
  const values = new ARRAYS[dtype](bytesOf(step.values.data));
  try {
    if (step.indices === undefined) {
      (accumulator as NativeDenseAccumulator).apply(step.step, contributor, values, step.values.shape);
    } else {
      (accumulator as NativeSparseAccumulator).apply(
        step.step,
        contributor,
        new BigInt64Array(bytesOf(step.indices.data)),
        values,
        step.values.shape,
        step.dense_shape ?? null,
      );
    }
    return { code: 'OK' };
  } catch (error) {
    return failure(error);
  }
}

async function settle(dtype: Sequence['dtype'], pending: Pending<Taken>): Promise<Result> {
  try {
    return received(dtype, await pending.promise);
  } catch (error) {
    return failure(error);
  }
}

/** Errors of arguments have TensorFlow's words, perhaps among others; of waiting only the code is TensorFlow's. */
function compare(ours: Result, theirs: Result): string | null {
  const isWorded = theirs.code === 'INVALID_ARGUMENT';
  const { message: received = '', ...ourRest } = ours;
  const { message: wanted = '', ...theirRest } = theirs;
  const same = JSON.stringify(sorted(ourRest)) === JSON.stringify(sorted(theirRest));
  if (same && (!isWorded || received.includes(wanted))) return null;
  return `expected ${JSON.stringify(theirs)} but received ${JSON.stringify(ours)}`;
}

function sorted(result: Result): readonly [string, unknown][] {
  return Object.entries(result).sort(([a], [b]) => (a < b ? -1 : 1));
}
