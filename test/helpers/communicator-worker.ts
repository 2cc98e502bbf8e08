/**
 * A rank in a worker thread: joins the communicator that its worker data names and makes the calls it is sent, answering each with what its
 * promise became. `shared` asks for arrays on SharedArrayBuffers.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { loadAddon } from '../../src/addon/load.js';
import type { NativeCommunicator, NativeTensor } from '../../src/addon/native.js';
import { codeOf } from './addon-thread.js';
import { PATIENT } from './patience.js';

export interface RankData {
  readonly session: string;
  readonly key: string;
  readonly rank: number;
  readonly size: number;
}

export type RankJob =
  | { readonly kind: 'all-reduce'; readonly values: readonly number[]; readonly shared: boolean }
  | { readonly kind: 'many'; readonly rounds: number; readonly elements: number; readonly shared: boolean }
  | { readonly kind: 'wait' }
  | { readonly kind: 'exit' };

export function floatsOf(values: readonly number[], shared: boolean): NativeTensor {
  const buffer = shared ? new SharedArrayBuffer(4 * values.length) : new ArrayBuffer(4 * values.length);
  const data = new Float32Array(buffer);
  data.set(values);
  return { dtype: 'float32', shape: [values.length], data };
}

async function allReduce(rank: NativeCommunicator, values: readonly number[], shared: boolean) {
  const tensor = floatsOf(values, shared);
  await rank.allReduce(tensor, { key: 'g', reduction: 'sum', ...PATIENT }).promise;
  return [...tensor.data];
}

/** Rounds of two calls in flight at once; the sums are checked here. */
async function many(rank: NativeCommunicator, { rounds, elements, shared }: RankJob & { kind: 'many' }) {
  const ranks = rank.size;
  for (let round = 0; round < rounds; round++) {
    const [a, b] = [1, 2].map((factor) =>
      floatsOf(Array(elements).fill(factor * (round + rank.rank)) as number[], shared),
    ) as [NativeTensor, NativeTensor];
    const pending = [
      rank.allReduce(a, { key: 'a', sequence: round, reduction: 'sum', ...PATIENT }),
      rank.allReduce(b, { key: 'b', sequence: round, reduction: 'mean', ...PATIENT }),
    ];
    await Promise.all(pending.map(({ promise }) => promise));
    const sum = ranks * round + (ranks * (ranks - 1)) / 2;
    const isRight = a.data.every((x) => x === sum) && b.data.every((x) => x === (2 * sum) / ranks);
    if (!isRight) return `wrong in round ${round}`;
  }
  return 'right';
}

async function run(rank: NativeCommunicator, job: RankJob): Promise<unknown> {
  switch (job.kind) {
    case 'all-reduce':
      return allReduce(rank, job.values, job.shared);
    case 'many':
      return many(rank, job);
    case 'wait':
      return rank.barrier({ key: 'never', ...PATIENT }).promise;
    case 'exit':
      return process.exit(0);
  }
}

if (parentPort !== null) {
  const port = parentPort;
  const { session, key, rank, size } = workerData as RankData;
  const communicator = loadAddon().attachSession(session).communicator(key, { rank, size });
  port.on('message', async (job: RankJob) => {
    try {
      port.postMessage({ value: await run(communicator, job) });
    } catch (error) {
      port.postMessage({ code: codeOf(error), message: (error as Error).message });
    }
  });
  port.postMessage({ value: 'joined' });
}
