/** A worker thread that begins a wait of waits.ts, says so, and dies as it is told: by process.exit, of an error, or not by itself. */
import { parentPort, workerData } from 'node:worker_threads';
import { loadAddon } from '../../src/addon/load.js';
import { waitOf } from './waits.js';

export interface WaitingThread {
  readonly session: string;
  readonly title: string;
}
export type Order = 'exit' | 'throw';

const { session, title } = workerData as WaitingThread;
void waitOf(title)
  .begin(loadAddon().attachSession(session))
  .promise.catch(() => {});
parentPort!.on('message', (order: Order) => {
  if (order === 'exit') process.exit(0);
  throw new Error('died');
});
parentPort!.postMessage('waiting');
