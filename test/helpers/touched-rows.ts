/** The rows of a variable that the tasks of a step look up and have gradients for, by where they are: what the bytes of a plan are multiplied by. */
import type { Overview, StepBytes, TaskTraffic } from '../../src/engine.js';
import { parseDevice } from '../../src/graph/device.js';

type VariableOverview = Overview['variables'][string];

/** The bytes that a task sends and receives in a step, as a plan has them, for what the tasks look up in each sparse variable. */
export function plannedBytes(
  { variables, shared }: Overview,
  task: number,
  lookups: Readonly<Record<string, Lookups>>,
): { readonly sent: number; readonly received: number } {
  const parts = Object.entries(variables).map(([name, variable]) => {
    const given = lookups[name];
    return bytesOf(variable.traffic[task]!, given && rowsOf(variable, given, task));
  });
  const all = [...parts, bytesOf(shared[task]!, undefined)];
  return {
    sent: all.reduce((sum, { sent }) => sum + sent, 0),
    received: all.reduce((sum, { received }) => sum + received, 0),
  };
}

export interface Lookups {
  /** How many rows the variable has. */
  readonly count: number;
  /** What each task looks up and has a gradient for, in order and with repetitions. */
  readonly rows: readonly (readonly number[])[];
}

interface Rows {
  readonly read: number;
  readonly served: number;
  readonly gradientSent: number;
  readonly gradientReceived: number;
  /** Bytes that are sent and received of a gradient in place of rows. */
  readonly dense: number;
}

const NO_ROWS: Rows = { read: 0, served: 0, gradientSent: 0, gradientReceived: 0, dense: 0 };

function rowsOf(variable: VariableOverview, lookups: Lookups, task: number): Rows {
  const { synchronizer, distinctRows, denseFrom: [dense] = [] } = variable;
  const distinct = lookups.rows.map((rows) => [...new Set(rows)]);
  const gradients = distinctRows ? distinct : lookups.rows;
  if (synchronizer === 'collective') {
    const most = Math.max(1, ...gradients.map(({ length }) => length));
    if (dense && most >= dense.rows) return dense.rows === 0 ? NO_ROWS : { ...NO_ROWS, dense: dense.bytes };
    const padded = 2 ** Math.ceil(Math.log2(most));
    return { ...NO_ROWS, gradientSent: padded, gradientReceived: padded };
  }
  const holderOf = holders(variable, lookups.count);
  const elsewhere = (rows: readonly number[]): number => rows.filter((row) => holderOf(row) !== task).length;
  const ofOthers = (all: readonly (readonly number[])[]): number =>
    all.filter((_, other) => other !== task).flatMap((rows) => rows.filter((row) => holderOf(row) === task))
      .length;
  return {
    read: elsewhere(distinct[task]!),
    served: ofOthers(distinct),
    gradientSent: elsewhere(gradients[task]!),
    gradientReceived: ofOthers(gradients),
    dense: 0,
  };
}

/** The task that has a row: shards are of even size, the larger ones first. */
function holders({ devices, shards }: VariableOverview, count: number): (row: number) => number {
  const larger = count % shards;
  const size = Math.floor(count / shards);
  const tasks = devices.map((device) => parseDevice(device).task ?? 0);
  return (row) => {
    const inLarger = Math.floor(row / (size + 1));
    return tasks[inLarger < larger ? inLarger : Math.floor((row - larger) / size)]!;
  };
}

function bytesOf(
  { sent, received }: TaskTraffic,
  rows = NO_ROWS,
): { readonly sent: number; readonly received: number } {
  const total = ({ bytes, perRowRead, perRowServed, perRowGradient }: StepBytes, gradient: number): number =>
    bytes + rows.dense + perRowRead * rows.read + perRowServed * rows.served + perRowGradient * gradient;
  return { sent: total(sent, rows.gradientSent), received: total(received, rows.gradientReceived) };
}
