/** The fixture steady-sgd, whose gradients depend on the data alone: what any number of its updates come to, in whatever order. */
import type { FileTensor } from './tensor-file.js';

/** A task's feeds in one step. */
export type SteadyFeeds = ReadonlyMap<string, FileTensor>;

const RATE = 0.5;
const BATCH = 4;

/** `kernel` [4, 2] and `table` [12, 3] after gradient descent on all of these; exact in float32, as all terms are multiples of 1/8. */
export function afterSteady(steps: readonly SteadyFeeds[]): { kernel: Float32Array; table: Float32Array } {
  const kernel = new Float32Array(8).fill(0.5);
  const table = new Float32Array(36).fill(0.25);
  for (const feeds of steps) {
    const x = feeds.get('x:0')!.data as Float32Array;
    for (const [i, value] of x.entries()) {
      for (const column of [0, 1]) kernel[(i % 4) * 2 + column]! -= (RATE * value) / BATCH;
    }
    for (const id of feeds.get('ids:0')!.data as Int32Array) {
      for (const column of [0, 1, 2]) table[id * 3 + column]! -= RATE / BATCH;
    }
  }
  return { kernel, table };
}
