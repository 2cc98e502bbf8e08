/**
 * Devices of operations that several servers feed: each goes where most of the bytes it takes are already, so that the fewest travel; among
 * equals to the server that was given the fewest bytes of such operations so far, then to the first by name. The same graph gives the same
 * choice on every task.
 */
import { DTYPES } from '../graph/dtype.js';
import type { Operation, Tensor } from '../graph/operation.js';
import { elementCount, type Shape } from '../graph/shape.js';
import type { GradientPair } from '../graph/training-graph.js';
import { producedType } from './dtype-of.js';
import { gradientTensors } from './gradient-region.js';
import { shapeOf } from './replica-fetches.js';

export class SharedDevices {
  /** Shapes of aggregates: a pass made them, so the graph does not tell. */
  readonly #aggregates = new Map<Tensor, Shape>();
  /** Bytes taken by the operations that each server was given. */
  readonly #load = new Map<string, number>();

  constructor(pairs: readonly GradientPair[], servers: Iterable<string>) {
    for (const server of servers) this.#load.set(server, 0);
    for (const pair of pairs) {
      const { shape } = pair.variable;
      const isSparse = pair.gradient.kind === 'sparse';
      // How many rows there are depends on the data: one stands for them.
      const aggregate = isSparse && shape !== null ? [1, ...shape.slice(1)] : shape;
      for (const tensor of gradientTensors(pair)) this.#aggregates.set(tensor, aggregate);
    }
  }

  /** The server that `operation` goes to, of those on which, by `deviceOf`, what feeds it lies; undefined if there is none. */
  choose(operation: Operation, deviceOf: (producer: Operation) => string | undefined): string | undefined {
    const taken = new Map<string, number>();
    for (const tensor of new Set(operation.inputs)) {
      const device = deviceOf(tensor.operation);
      if (device !== undefined && this.#load.has(device))
        taken.set(device, (taken.get(device) ?? 0) + this.#bytesOf(tensor));
    }
    const names = [...taken.keys()].sort();
    const chosen = names.reduce<string | undefined>(
      (best, name) => (best === undefined || this.#isBetter(name, best, taken) ? name : best),
      undefined,
    );
    if (chosen === undefined) return undefined;
    const all = [...taken.values()].reduce((sum, bytes) => sum + bytes, 0);
    this.#load.set(chosen, this.#load.get(chosen)! + all);
    return chosen;
  }

  #isBetter(device: string, other: string, taken: ReadonlyMap<string, number>): boolean {
    const more = taken.get(device)! - taken.get(other)!;
    return more > 0 || (more === 0 && this.#load.get(device)! < this.#load.get(other)!);
  }

  /** At least so much is sent: dimensions that depend on the data count as one, and a shape that is not told as a scalar. */
  #bytesOf(tensor: Tensor): number {
    const shape = this.#aggregates.get(tensor) ?? shapeOf(tensor) ?? [];
    const dtype = producedType(tensor);
    return (
      elementCount(shape.map((dim) => Math.max(dim, 1))) * (dtype === undefined ? 1 : DTYPES[dtype].size)
    );
  }
}
