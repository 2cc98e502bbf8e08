/** ClusterSpec: the tasks of the one job `worker`, numbered the same on every machine, and the names of their devices. */
import { GradsyncError } from '../errors.js';
import { printDevice } from '../graph/device.js';
import { printEndpoint, type ResourceNode, type ResourceSpec } from './resource-spec.js';

/** The one job of a cluster. */
export const JOB = 'worker';

export interface Task {
  readonly index: number;
  /** Host name or address, without port. */
  readonly address: string;
  readonly port: number;
  /** CPU indices the task offers; never empty. */
  readonly cpus: readonly number[];
  readonly gpus: readonly number[];
  /** Gbit/s. */
  readonly networkBandwidth: number;
}

/** Task 0 is the chief; the others follow by (address, port as a number). */
export interface ClusterSpec {
  readonly tasks: readonly Task[];
}

/** A device of a cluster under both its names. */
export interface ClusterDevice {
  readonly task: number;
  readonly type: 'CPU' | 'GPU';
  readonly index: number;
  /** `address:CPU:0`, or `address:port:CPU:0` where the address has several tasks. */
  readonly name: string;
  /** TensorFlow's name: `/job:worker/task:0/device:CPU:0`. */
  readonly resolved: string;
}

/**
 * Numbers the tasks of a resource specification.
 *
 * @example
 * ```ts
 * const cluster = resolveCluster(parseResourceSpec('nodes: [{address: localhost, tasks: 2}]'));
 * workerAddresses(cluster); // ['localhost:15000', 'localhost:15001']
 * ```
 */
export function resolveCluster(resources: ResourceSpec): ClusterSpec {
  const drafts = resources.nodes.flatMap((node) =>
    Array.from({ length: node.tasks }, (_, i) => ({
      chief: node.chief && i === 0,
      address: node.address,
      port: node.port + i,
      cpus: node.cpus,
      gpus: shareOfGpus(node, i),
      networkBandwidth: node.networkBandwidth,
    })),
  );
  drafts.sort(
    (a, b) => Number(b.chief) - Number(a.chief) || compareText(a.address, b.address) || a.port - b.port,
  );
  const tasks = drafts.map(({ chief: _, ...task }, index) => Object.freeze({ index, ...task }));
  return Object.freeze({ tasks: Object.freeze(tasks) });
}

/** Consecutive GPUs for each task of a node; shares differ by at most one, the larger first. */
function shareOfGpus({ gpus, tasks }: ResourceNode, task: number): readonly number[] {
  const size = Math.floor(gpus.length / tasks);
  const larger = gpus.length % tasks;
  const start = task * size + Math.min(task, larger);
  return Object.freeze(gpus.slice(start, start + size + (task < larger ? 1 : 0)));
}

/** By UTF-16 code units: the same order whatever the machine's locale. */
function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** `host:port` of every task, in order: the `worker` job of TensorFlow's ClusterSpec. */
export function workerAddresses(cluster: ClusterSpec): readonly string[] {
  return cluster.tasks.map(({ address, port }) => printEndpoint(address, port));
}

/** Every device, by task, CPUs before GPUs, by index. */
export function clusterDevices(cluster: ClusterSpec): readonly ClusterDevice[] {
  const taskCounts = new Map<string, number>();
  for (const { address } of cluster.tasks) taskCounts.set(address, (taskCounts.get(address) ?? 0) + 1);
  return cluster.tasks.flatMap((task) => {
    const several = (taskCounts.get(task.address) ?? 0) > 1;
    const device = (type: 'CPU' | 'GPU', index: number): ClusterDevice => ({
      task: task.index,
      type,
      index,
      name: printName(task, several, type, index),
      resolved: printDevice({ job: JOB, task: task.index, type, index }),
    });
    return [...task.cpus.map((i) => device('CPU', i)), ...task.gpus.map((i) => device('GPU', i))];
  });
}

function printName(task: Task, withPort: boolean, type: string, index: number): string {
  return `${withPort ? `${task.address}:${task.port}` : task.address}:${type}:${index}`;
}

/**
 * Finds devices of one cluster by name: `address:CPU:0`, `address:port:CPU:0` or TensorFlow's own. A name that means no device is
 * NOT_FOUND; one without port where the address has several tasks is INVALID_ARGUMENT.
 */
export function deviceFinder(cluster: ClusterSpec): (name: string) => ClusterDevice {
  const byName = new Map<string, ClusterDevice>();
  const ambiguous = new Map<string, ClusterDevice[]>();
  for (const device of clusterDevices(cluster)) {
    const task = cluster.tasks[device.task]!;
    const short = printName(task, false, device.type, device.index);
    ambiguous.set(short, [...(ambiguous.get(short) ?? []), device]);
    for (const name of [device.name, device.resolved, printName(task, true, device.type, device.index)]) {
      byName.set(name, device);
    }
  }
  return (name) => byName.get(name) ?? unknownDevice(name, ambiguous.get(name), cluster);
}

function unknownDevice(
  name: string,
  meant: readonly ClusterDevice[] | undefined,
  cluster: ClusterSpec,
): never {
  if (meant !== undefined) {
    throw new GradsyncError('INVALID_ARGUMENT', 'Device', {
      expected: `one of ${meant.map((device) => device.name).join(', ')}`,
      received: `"${name}", which ${meant.length} tasks have`,
      remedy: 'write the port as well',
    });
  }
  const names = clusterDevices(cluster).map((device) => device.name);
  throw new GradsyncError('NOT_FOUND', 'Device', {
    expected: `a device of the cluster (${names.slice(0, 8).join(', ')}${names.length > 8 ? ', ...' : ''})`,
    received: `"${name}"`,
    remedy: 'correct the name, or add the device to the resource specification',
  });
}

/** The devices that compute unless a strategy says otherwise: every GPU; on a task without GPUs its CPUs. */
export function replicaDevices(cluster: ClusterSpec): readonly ClusterDevice[] {
  return clusterDevices(cluster).filter(
    ({ task, type }) => (type === 'GPU') === cluster.tasks[task]!.gpus.length > 0,
  );
}

/** The task of that number; OUT_OF_RANGE if there is none. */
export function taskOf(cluster: ClusterSpec, index: number): Task {
  const task = cluster.tasks[index];
  if (task !== undefined) return task;
  throw new GradsyncError('OUT_OF_RANGE', 'Task', {
    expected: `an integer from 0 to ${cluster.tasks.length - 1}`,
    received: String(index),
    remedy: 'pass a task of the resource specification',
    task: index,
  });
}

/** The one text of a cluster, for digests: compact JSON with a fixed order of keys. */
export function printCluster(cluster: ClusterSpec): string {
  const tasks = cluster.tasks.map(({ index, address, port, cpus, gpus, networkBandwidth }) => ({
    index,
    address,
    port,
    cpus,
    gpus,
    networkBandwidth,
  }));
  return JSON.stringify({ job: JOB, tasks });
}
