/**
 * Overview: what a rewriting decided for all tasks together, and what a step will send, before anything runs. It is put together from the
 * graphs and plans of all tasks.
 */
import type { Plan, VariablePlanReport } from './plan.js';
import type { Rewritten } from './rewrite.js';
import { stepTransfers, type Transfer } from './transfers.js';

/** Bytes in one step: a fixed number, and more for each row that the step's data touch. */
export interface StepBytes {
  readonly bytes: number;
  /** Per row that the task looks up on another, each once: the row, or its index, which may serve its gradient as well. */
  readonly perRowRead: number;
  /** Per row that another task looks up on this one. */
  readonly perRowServed: number;
  /** Per row of a gradient: repeated ones count as often as they are in it, of a variable with `distinctRows` once. From `denseFrom` on, its bytes in their place. */
  readonly perRowGradient: number;
}

/** What one task sends to other tasks and receives from them in a step of all tasks. */
export interface TaskTraffic {
  readonly sent: StepBytes;
  readonly received: StepBytes;
}

export interface Overview {
  readonly digest: string;
  readonly cluster: Plan['cluster'];
  /** Devices that compute, of each task. */
  readonly replicas: readonly (readonly string[])[];
  /** `traffic[k]` is task k's. */
  readonly variables: Readonly<
    Record<string, VariablePlanReport & { readonly traffic: readonly TaskTraffic[] }>
  >;
  /** What is sent for no single variable: what several share, and optimizer state. */
  readonly shared: readonly TaskTraffic[];
  /** All that a step of all tasks sends, with one row of every sparse variable; element k is task k's. */
  readonly traffic: readonly TaskTraffic[];
  /** Tensors that are sent, of which the graph does not tell the sizes or, in loops and branches, how often. */
  readonly unmeasured: readonly string[];
  readonly chiefOnly: readonly string[];
  readonly placement: Plan['placement'];
  /** On the chief and on the other tasks. */
  readonly notFetchable: { readonly chief: Plan['notFetchable']; readonly workers: Plan['notFetchable'] };
}

/** What is kept of one task. */
export interface TaskOverview {
  readonly plan: Plan;
  readonly chiefOnly: readonly string[];
  readonly transfers: readonly Transfer[];
}

/** To be asked while the task's graph stands. */
export function overviewOfTask(rewritten: Rewritten): TaskOverview {
  const { plan, chiefOnly } = rewritten;
  return { plan, chiefOnly, transfers: stepTransfers(rewritten) };
}

/** `tasks`: all tasks of the run, in order. */
export function overviewOfRun(tasks: readonly TaskOverview[]): Overview {
  const { plan, chiefOnly } = tasks[0]!;
  const byVariable = new Map<string, Transfer[][]>();
  for (const [task, { transfers }] of tasks.entries()) {
    for (const transfer of transfers) {
      const owner =
        transfer.variable !== undefined && transfer.variable in plan.variables ? transfer.variable : '';
      const ofOwner = byVariable.get(owner) ?? tasks.map(() => []);
      ofOwner[task]!.push(transfer);
      byVariable.set(owner, ofOwner);
    }
  }
  const all = tasks.flatMap(({ transfers }) => transfers);
  const variables = Object.entries(plan.variables).map(([name, report]) => {
    const traffic = trafficOf(byVariable.get(name) ?? [], tasks.length);
    return [name, { ...report, traffic }] as const;
  });
  return {
    digest: plan.digest,
    cluster: plan.cluster,
    replicas: tasks.map((task) => task.plan.replicas),
    variables: Object.fromEntries(variables),
    shared: trafficOf(byVariable.get('') ?? [], tasks.length),
    traffic: sumOf(
      [...byVariable.values()].map((steps) => trafficOf(steps, tasks.length)),
      tasks.length,
    ),
    unmeasured: [...new Set(all.flatMap(({ size, tensor }) => (size === null ? [tensor] : [])))].sort(),
    chiefOnly,
    placement: plan.placement,
    notFetchable: { chief: plan.notFetchable, workers: tasks[1]?.plan.notFetchable ?? {} },
  };
}

/** `steps`: transfers of each task's step. */
function trafficOf(steps: readonly (readonly Transfer[])[], taskCount: number): readonly TaskTraffic[] {
  return Array.from({ length: taskCount }, (_, task) => ({
    sent: bytesOf(
      steps.map((step) => step.filter(({ from }) => from === task)),
      task,
    ),
    received: bytesOf(
      steps.map((step) => step.filter(({ to }) => to === task)),
      task,
    ),
  }));
}

function sumOf(each: readonly (readonly TaskTraffic[])[], taskCount: number): readonly TaskTraffic[] {
  const nothing = { bytes: 0, perRowRead: 0, perRowServed: 0, perRowGradient: 0 };
  return Array.from({ length: taskCount }, (_, task) => ({
    sent: each.map((traffic) => traffic[task]!.sent).reduce(plus, nothing),
    received: each.map((traffic) => traffic[task]!.received).reduce(plus, nothing),
  }));
}

function plus(a: StepBytes, b: StepBytes): StepBytes {
  return {
    bytes: a.bytes + b.bytes,
    perRowRead: a.perRowRead + b.perRowRead,
    perRowServed: a.perRowServed + b.perRowServed,
    perRowGradient: a.perRowGradient + b.perRowGradient,
  };
}

/** `task`: whose step reads for itself; all others' read what it has. */
function bytesOf(steps: readonly (readonly Transfer[])[], task: number): StepBytes {
  const fixed = steps.flat().map(({ size }) => (size !== null && 'bytes' in size ? size.bytes : 0));
  return {
    bytes: fixed.reduce((sum, bytes) => sum + bytes, 0),
    perRowRead: perRow([steps[task] ?? []], 'read'),
    perRowServed: perRow(steps.toSpliced(task, 1), 'read'),
    perRowGradient: perRow(steps, 'gradient'),
  };
}

/** Bytes of a row and of its index. Steps of several tasks have rows of their own, which cost the same. */
function perRow(steps: readonly (readonly Transfer[])[], way: Transfer['way']): number {
  const most = { indices: 0, values: 0 };
  for (const { size, way: own } of steps.flat()) {
    if (own !== way || size === null || !('holds' in size)) continue;
    most[size.holds] = Math.max(most[size.holds], size.bytesPerRow);
  }
  return most.indices + most.values;
}
