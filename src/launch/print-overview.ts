/** Prints the overview of a run, for people. */
import type { Overview, StepBytes, TaskTraffic } from '../engine.js';
import { type Row, section } from './section.js';

/** `whole`: also what only the chief runs, where shared operations lie, and what cannot be fetched alone. */
export function printOverview(overview: Overview, whole: boolean): string {
  const { cluster, digest, replicas, traffic, unmeasured } = overview;
  const tasks = cluster.worker.map(
    (address, task): Row => [String(task), address, replicas[task]!.join(' '), ...flows(traffic[task]!)],
  );
  const sizes = 'the graph does not tell their sizes or how often; not counted above';
  return [
    `digest ${digest}\n`,
    section('tasks, and what each sends and receives in a step', tasks),
    section('variables', variableRows(overview)),
    section('bytes per step and task', trafficRows(overview)),
    usesRows(overview) ? `\n${ROWS}\n` : '',
    section(
      `tensors that are sent: ${sizes}`,
      unmeasured.map((name) => [name]),
    ),
    whole ? explained(overview) : '',
  ].join('');
}

const ROWS =
  'A row is one that a step looks up, each once in a lookup, or has a gradient for, a repeated one each time unless a variable has distinct rows in gradients; how many there are depends on the data. ' +
  'A collective sends as many rows of every task as a power of two needs to hold those of the task that has the most.';

function variableRows({ variables }: Overview): readonly Row[] {
  return Object.entries(variables).map(([name, variable]) => {
    const { gradient, sparseForm, synchronizer, devices, shards, bytes, sparseFormReason } = variable;
    return [
      name,
      sparseForm === null ? gradient : `${gradient} (${sparseForm})`,
      [synchronizer, ...waysOf(variable)].join(', '),
      devices.join(' '),
      shards === 1 ? '1 shard' : `${shards} shards`,
      `${bytes} bytes`,
      sparseFormReason ?? '',
    ];
  });
}

function waysOf({
  sync,
  staleness,
  proxy,
  distinctRows,
  denseFrom,
  compressor = 'none',
  k,
}: Overview['variables'][string]): readonly string[] {
  return [
    ...(sync === false ? ['asynchronous'] : []),
    ...(staleness === undefined ? [] : [`staleness ${staleness}`]),
    ...(proxy ? ['proxies'] : []),
    ...(distinctRows ? ['distinct rows in gradients'] : []),
    ...(denseFrom === undefined ? [] : [printDense(denseFrom)]),
    ...(compressor === 'none' ? [] : [k === undefined ? compressor : `${compressor} (${k} elements)`]),
  ];
}

/** One, or one for each shard. */
function printDense(each: NonNullable<Overview['variables'][string]['denseFrom']>): string {
  const parts = each.map((from) => {
    if (from === null) return 'as rows';
    const when = from.rows === 0 ? '' : ` from ${from.rows} gradient rows of a task on`;
    return `as a dense gradient${when} (${from.bytes} bytes)`;
  });
  return [...new Set(parts)].join(' or ');
}

function trafficRows({ variables, shared }: Overview): readonly Row[] {
  const own = Object.entries(variables).flatMap(([name, { traffic }]) => rowsOf(name, traffic));
  return [...own, ...rowsOf('(shared)', shared)];
}

/** Tasks that have no part in it are left out. */
function rowsOf(name: string, traffic: readonly TaskTraffic[]): readonly Row[] {
  return traffic.flatMap((task, index) => (isNothing(task) ? [] : [[name, `task ${index}`, ...flows(task)]]));
}

function flows({ sent, received }: TaskTraffic): Row {
  return [`sends ${printBytes(sent)}`, `receives ${printBytes(received)}`];
}

function printBytes({ bytes, perRowRead, perRowServed, perRowGradient }: StepBytes): string {
  const parts = [
    ...(bytes > 0 ? [`${bytes} bytes`] : []),
    ...(perRowRead > 0 ? [`${perRowRead} per row read`] : []),
    ...(perRowServed > 0 ? [`${perRowServed} per row that others read`] : []),
    ...(perRowGradient > 0 ? [`${perRowGradient} per gradient row`] : []),
  ];
  return parts.length === 0 ? 'nothing' : parts.join(' + ');
}

function isNothing({ sent, received }: TaskTraffic): boolean {
  return [sent, received].every((bytes) => printBytes(bytes) === 'nothing');
}

function usesRows({ traffic }: Overview): boolean {
  return traffic.some(({ sent }) => sent.perRowRead + sent.perRowServed + sent.perRowGradient > 0);
}

function explained({ chiefOnly, placement, notFetchable }: Overview): string {
  const reasons = (names: Readonly<Record<string, string>>): readonly Row[] => Object.entries(names);
  return [
    section(
      'operations that only the chief runs',
      chiefOnly.map((name) => [name]),
    ),
    section(
      'shared operations',
      Object.entries(placement).map(([name, { device, why }]): Row => [name, device, why]),
    ),
    section('not to be fetched alone on the chief', reasons(notFetchable.chief)),
    section('not to be fetched on the other tasks', reasons(notFetchable.workers)),
  ].join('');
}
