/** A data set that is read whole into memory: features as one typed array per placeholder, cut into batches by row. */
import type { TensorData } from '../../src/index.js';

type Column = Float32Array | Int32Array;

/** One placeholder's values for every example: `data` is [count, ...shape] in row-major order. */
export interface Field {
  readonly placeholder: string;
  readonly dtype: 'float32' | 'int32';
  /** Shape of one example. */
  readonly shape: readonly number[];
  readonly data: Column;
}

export interface Split {
  readonly count: number;
  readonly fields: readonly Field[];
  /** The class of each example. */
  readonly labels: Int32Array;
}

export interface Dataset {
  readonly train: Split;
  readonly test: Split;
}

/** The feeds of the examples `rows`, in that order. */
export function batchFeeds(split: Split, rows: Int32Array): Record<string, TensorData> {
  return Object.fromEntries(
    split.fields.map((field) => [field.placeholder, gatherRows(field, rows, newColumn(field, rows.length))]),
  );
}

/**
 * Batches of one size in memory that is shared with the workers, so that feeding copies nothing. A batch is overwritten `slots` batches
 * later: there must be more slots than steps under way.
 */
export class SharedBatches {
  readonly #split: Split;
  readonly #slots: readonly (readonly Column[])[];
  #next = 0;

  constructor(split: Split, count: number, slots: number) {
    this.#split = split;
    this.#slots = Array.from({ length: slots }, () => split.fields.map((field) => newColumn(field, count)));
  }

  feeds(rows: Int32Array): Record<string, TensorData> {
    const columns = this.#slots[this.#next++ % this.#slots.length]!;
    const { fields } = this.#split;
    return Object.fromEntries(
      fields.map((field, i) => [field.placeholder, gatherRows(field, rows, columns[i]!)]),
    );
  }
}

function newColumn({ dtype, shape }: Field, count: number): Column {
  const length = elementsPerRow(shape) * count;
  const memory = new SharedArrayBuffer(4 * length);
  return dtype === 'float32' ? new Float32Array(memory) : new Int32Array(memory);
}

function gatherRows({ dtype, shape, data }: Field, rows: Int32Array, out: Column): TensorData {
  const width = elementsPerRow(shape);
  rows.forEach((row, i) => {
    out.set(data.subarray(row * width, (row + 1) * width), i * width);
  });
  return { dtype, shape: [rows.length, ...shape], data: out };
}

function elementsPerRow(shape: readonly number[]): number {
  return shape.reduce((size, dim) => size * dim, 1);
}

/** A permutation of 0 ... count-1, the same for the same seed (mulberry32 and Fisher-Yates). */
export function shuffledRows(count: number, seed: number): Int32Array {
  const rows = Int32Array.from({ length: count }, (_, i) => i);
  let state = seed >>> 0;
  const random = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [rows[i], rows[j]] = [rows[j]!, rows[i]!];
  }
  return rows;
}
