/** The tables at the end: one row per job and number of workers, and what these workers sent to each other. */
import type { TensorData } from '../../src/index.js';

/** One run of a job; the row of `--json` too. */
export interface Row {
  readonly name: string;
  readonly workers: number;
  readonly examplesPerSecond: number;
  /** Examples per second against those of one worker. */
  readonly speedup: number;
  /** The speed-up that as many unsynchronized trainings reach side by side. */
  readonly ceiling: number;
  /** Percent of the test examples. */
  readonly accuracy: number;
  /** Largest absolute difference of any weight from the run with one worker, after the same steps. */
  readonly maxWeightDifference: number;
  /** Of each worker: bytes in a step, the mean of all steps. */
  readonly bytesPerStep: readonly WorkerBytes[];
}

export interface WorkerBytes {
  readonly sent: number;
  readonly received: number;
}

const HEADER = [
  'job',
  'workers',
  'examples/s',
  'speed-up',
  'ceiling',
  'test accuracy',
  'max weight difference',
];

const BYTES_HEADER = ['job', 'worker', 'sent per step', 'received per step'];

export function printTable(rows: readonly Row[]): string {
  return printCells(HEADER, rows.map(toCells));
}

/** What workers sent to each other; a worker alone has nobody. */
export function printBytes(rows: readonly Row[]): string {
  const cells = rows
    .filter(({ workers }) => workers > 1)
    .flatMap(({ name, bytesPerStep }) =>
      bytesPerStep.map(({ sent, received }, worker) => [
        name,
        String(worker),
        `${sent.toFixed(0)} bytes`,
        `${received.toFixed(0)} bytes`,
      ]),
    );
  return cells.length === 0 ? '' : printCells(BYTES_HEADER, cells);
}

function printCells(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = [header, ...rows];
  const widths = header.map((_, column) => Math.max(...cells.map((row) => row[column]!.length)));
  const line = (row: readonly string[]): string =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  ');
  const rule = widths.map((width) => '-'.repeat(width)).join('  ');
  return [line(cells[0]!), rule, ...cells.slice(1).map(line)].join('\n');
}

function toCells(row: Row): string[] {
  return [
    row.name,
    String(row.workers),
    row.examplesPerSecond.toFixed(0),
    `${row.speedup.toFixed(2)}x`,
    `${row.ceiling.toFixed(2)}x`,
    `${row.accuracy.toFixed(2)} %`,
    row.maxWeightDifference.toExponential(1),
  ];
}

/** Largest |a - b| over all elements of the float variables of two runs. */
export function maxDifference(
  a: ReadonlyMap<string, TensorData>,
  b: ReadonlyMap<string, TensorData>,
): number {
  let largest = 0;
  for (const [name, { dtype, data }] of a) {
    if (dtype !== 'float32') continue;
    const other = b.get(name)?.data as Float32Array | undefined;
    if (other === undefined || other.length !== data.length) return Number.POSITIVE_INFINITY;
    (data as Float32Array).forEach((value, i) => {
      largest = Math.max(largest, Math.abs(value - other[i]!));
    });
  }
  return largest;
}
