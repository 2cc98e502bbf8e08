/** Clusters whose tasks have several replicas: their resources, their feeds, and what they must come to. */
import type { ResourceInput } from '../../src/cluster/index.js';
import type { TensorData as RunTensor } from '../../src/runtime/index.js';
import { type Fixture, type Layout, type OracleStep, readFeeds, readOracle } from './fixtures.js';
import type { FileTensor } from './tensor-file.js';

/** One node per task on this machine, the first one chief; each replica has a CPU, or a GPU, of its own. */
export function nodesOf(
  layout: Layout,
  ports: readonly number[] = layout.map((_, task) => 15_000 + task),
  kind: 'cpus' | 'gpus' = 'cpus',
): ResourceInput['nodes'] {
  return layout.map((replicas, task) => {
    const devices = Array.from({ length: replicas }, (_, i) => i);
    const node = { address: '127.0.0.1', port: ports[task]!, chief: task === 0 };
    return kind === 'cpus' ? { ...node, cpus: devices } : { ...node, cpus: [0], gpus: devices };
  });
}

/** What a task is fed in a step: the shares of its replicas, one behind the other. */
export function taskFeeds(
  fixture: Fixture,
  layout: Layout,
): (task: number, step: number) => ReadonlyMap<string, FileTensor> {
  const shareOf = readFeeds(fixture);
  return (task, step) => {
    const first = layout.slice(0, task).reduce((sum, replicas) => sum + replicas, 0);
    const shares = Array.from({ length: layout[task]! }, (_, replica) => shareOf(first + replica, step));
    return new Map(
      [...shares[0]!.keys()].map((name) => [name, joinRows(shares.map((share) => share.get(name)!))]),
    );
  };
}

/** Tensors one behind the other along axis 0. */
export function joinRows<T extends Pick<RunTensor, 'shape' | 'data'>>(parts: readonly T[]): T {
  const [first] = parts;
  if (first === undefined || parts.length === 1) return first!;
  const size = parts.reduce((sum, { data }) => sum + data.length, 0);
  const data = new (first.data.constructor as Float32ArrayConstructor)(size);
  let at = 0;
  for (const part of parts) {
    data.set(part.data as Float32Array, at);
    at += part.data.length;
  }
  const rows = parts.reduce((sum, { shape }) => sum + shape[0]!, 0);
  return { ...first, shape: first.shape.with(0, rows), data };
}

/** Replicas of one task are averaged as tasks of one replica each are. */
export function oracleOf(fixture: Fixture, layout: Layout): readonly OracleStep[] {
  return readOracle(fixture, layout.length === 1 ? layout[0]! : layout);
}

/** Where every replica counts the same, whatever task it is on. */
export function oracleOfReplicas(fixture: Fixture, layout: Layout): readonly OracleStep[] {
  const isEven = layout.every((replicas) => replicas === layout[0]);
  return isEven
    ? oracleOf(fixture, layout)
    : readOracle(
        fixture,
        layout.reduce((sum, replicas) => sum + replicas, 0),
      );
}

/** The loss a task reports: the mean of its replicas'. */
export function taskLoss({ losses }: OracleStep, layout: Layout, task: number): number {
  const first = layout.slice(0, task).reduce((sum, replicas) => sum + replicas, 0);
  const own = losses.slice(first, first + layout[task]!);
  return own.reduce((sum, loss) => sum + loss, 0) / own.length;
}
