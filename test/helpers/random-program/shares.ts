/** What random programs are fed: by task and step, and the share of each replica. */
import type { TensorData } from '../../../src/runtime/index.js';
import { replicasOf, type TrainingSpec } from './arbitrary.js';
import type { Program, ProgramInput } from './program.js';
import { signed, uniform } from './random.js';

export type Feeds = Readonly<Record<string, TensorData>>;

const RATES = [0.05, 0.025, 0.1];

/** The batch of a task. */
export function batchOf(program: Program, spec: TrainingSpec, task: number, step: number): Feeds {
  const rows = rowsOf(spec, task, step);
  return { ...batch(program, { rows, task, step }), ...rateOf(program, step) };
}

/** What is fed to all alike. */
export function rateOf({ fedRate }: Program, step: number): Feeds {
  if (fedRate === undefined) return {};
  return { [fedRate]: { dtype: 'float32', shape: [], data: Float32Array.of(RATES[step % RATES.length]!) } };
}

/** The shares of a task's replicas: sizes differ by at most one, the larger first. */
export function sharesOf(program: Program, spec: TrainingSpec, task: number, step: number): readonly Feeds[] {
  const whole = batch(program, { rows: rowsOf(spec, task, step), task, step });
  const count = replicasOf(spec)[task]!;
  return Array.from({ length: count }, (_, replica) => {
    const slices = Object.entries(whole).map(([name, value]) => [name, sliceOf(value, replica, count)]);
    return { ...Object.fromEntries(slices), ...rateOf(program, step) };
  });
}

/** At least one for each replica. */
function rowsOf(spec: TrainingSpec, task: number, step: number): number {
  const { rows, areEven } = spec;
  const replicas = replicasOf(spec)[task]!;
  if (areEven) return replicas * rows[step % rows.length]!;
  return replicas - 1 + rows[(task + 2 * step) % rows.length]!;
}

interface Batch {
  readonly rows: number;
  readonly task: number;
  readonly step: number;
}

function batch({ inputs, spec }: Program, { rows, task, step }: Batch): Feeds {
  const values = inputs.map((input) => [
    input.tensor,
    valuesFor(input, rows, `${input.tensor} ${task} ${step}`, spec.seed),
  ]);
  return Object.fromEntries(values);
}

function valuesFor(
  { dtype, shape, limit }: ProgramInput,
  rows: number,
  name: string,
  seed: number,
): TensorData {
  const full = [rows, ...shape];
  const count = full.reduce((product, dim) => product * dim, 1);
  if (dtype === 'float32') return { dtype, shape: full, data: signed(seed, name, count, limit) };
  const whole = uniform(seed, name, count).map((value) => Math.floor(value * limit));
  if (dtype === 'int64') return { dtype, shape: full, data: BigInt64Array.from(whole, BigInt) };
  return { dtype: 'int32', shape: full, data: Int32Array.from(whole) };
}

function sliceOf({ dtype, shape, data }: TensorData, part: number, parts: number): TensorData {
  const rows = shape[0]!;
  const inner = data.length / rows;
  const startOf = (i: number): number => i * Math.floor(rows / parts) + Math.min(i, rows % parts);
  const [start, end] = [startOf(part), startOf(part + 1)];
  const own = data.slice(start * inner, end * inner) as TensorData['data'];
  return { dtype, shape: shape.with(0, end - start), data: own };
}
