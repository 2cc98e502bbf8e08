/** The devices a task's graph names: its own, the chief's, and the CPU beside any of them. */
import { JOB } from '../cluster/cluster-spec.js';
import { type DeviceName, overrideDevice, parseDevice, printDevice } from '../graph/device.js';
import type { Graph } from '../graph/graph.js';
import type { ResolvedStrategy } from '../strategy/strategy.js';
import type { TaskDevices } from './pass.js';

/** Tasks whose graphs differ in nothing but names: of devices, of queues, and in seeds. The chief is one by itself. */
export interface TaskKind {
  readonly isChief: boolean;
  readonly devices: TaskDevices;
  readonly tasks: readonly number[];
}

/** The CPU of the task a device belongs to: queues, accumulators and strings have no other kernels. */
export function cpuOf(device: string): string {
  return printDevice({ ...parseDevice(device), type: 'CPU', index: 0 });
}

/** The device of the same type and number on the chief. */
export function onChief(device: string): string {
  return printDevice({ ...parseDevice(device), job: JOB, task: 0 });
}

/** The devices on which a task computes, by their full names. */
export function replicasOf({ replicas }: ResolvedStrategy, task: number): readonly string[] {
  return replicas.filter((device) => taskOfDevice(device) === task);
}

/** Groups tasks by kind, in the order of the first of each. */
export function kindsOf(strategy: ResolvedStrategy, tasks: readonly number[]): readonly TaskKind[] {
  const chiefReplica = replicasOf(strategy, 0)[0]!;
  const chiefCpu = cpuOf(chiefReplica);
  const kinds = new Map<string, TaskKind & { readonly tasks: number[] }>();
  for (const task of tasks) {
    const isChief = task === 0;
    const full = replicasOf(strategy, task);
    const replicas = isChief ? full : full.map((device, i) => (i === 0 ? '' : localName(device)));
    const cpu = isChief ? chiefCpu : localName(chiefCpu);
    const key = isChief ? 'chief' : full.map(localName).join();
    const kind = kinds.get(key);
    if (kind !== undefined) kind.tasks.push(task);
    else kinds.set(key, { isChief, devices: { replicas, cpu, chiefReplica, chiefCpu }, tasks: [task] });
  }
  return [...kinds.values()];
}

/** What a device name says beside job and task: type and number. Empty if it says neither. */
export function localName(device: string): string {
  const { type, index } = parseDevice(device);
  return type === undefined ? '' : printDevice({ type, index: index ?? 0 });
}

/** Gives the devices that were named without a task the task's name, and its first replica's device to all that has none. */
export function nameDevices(graph: Graph, replicas: readonly string[]): void {
  const own: DeviceName = parseDevice(replicas[0]!);
  for (const device of graph.devices()) {
    if (isLocal(device)) graph.renameDevice(device, printDevice(overrideDevice(own, parseDevice(device))));
  }
}

/** Whether a device is named without its task. */
export function isLocal(device: string): boolean {
  return parseDevice(device).task === undefined;
}

/** The task a full device name belongs to. */
export function taskOfDevice(device: string): number {
  return parseDevice(device).task ?? 0;
}
