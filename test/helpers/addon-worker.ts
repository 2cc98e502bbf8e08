/**
 * A worker thread that shares a session with the test: attaches to the session of its worker data and does what each message asks, in
 * order, answering with {id, value} or {id, code}. The test ends it.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { loadAddon } from '../../src/addon/load.js';
import type { NativeSession } from '../../src/addon/native.js';
import { codeOf } from './addon-thread.js';
import { DENSE, type Job, ROUNDS, TOKENS, tokenKey } from './addon-worker-jobs.js';
import { PATIENT } from './patience.js';

async function run(session: NativeSession, job: Job): Promise<unknown> {
  switch (job.kind) {
    case 'apply': {
      const accumulator = session.denseAccumulator(job.key, DENSE);
      return accumulator.apply(0, job.contributor, new Float32Array(job.values), [job.values.length]).status;
    }
    case 'apply-many':
      return applyMany(session, job.key, job.contributor, job.steps);
    case 'contribute':
      return contribute(session, job.key, job.contributor, job.steps);
    case 'take': {
      const taken = await session.denseAccumulator(job.key, DENSE).take(job.required, PATIENT).promise;
      return [...taken.data];
    }
    case 'take-and-spin':
      void session.denseAccumulator(job.key, DENSE).take(1, PATIENT).promise;
      parentPort?.postMessage({ id: -1, value: 'spinning' });
      for (;;);
    case 'add-ones': {
      const variable = session.variable(job.key, { dtype: 'float32', shape: null });
      for (let i = 0; i < job.times; i++) variable.assignAdd(new Float32Array(1000).fill(1));
      return variable.version;
    }
    case 'exit':
      return process.exit(0);
  }
}

/** Applies for every step as soon as the round before has been taken. */
async function applyMany(session: NativeSession, key: string, contributor: number, steps: number) {
  const accumulator = session.denseAccumulator(key, DENSE);
  const tokens = session.tokenQueue(tokenKey(key, contributor), TOKENS);
  for (let step = 0; step < steps; step++) {
    const receipt = accumulator.apply(step, contributor, new Float32Array([step, contributor]), [2]);
    if (receipt.status !== 'accepted') return receipt;
    await tokens.dequeue(PATIENT).promise;
  }
  return 'done';
}

/** Takes part in so many rounds, then leaves: its data has ended. Gives the largest lag it read with. */
async function contribute(session: NativeSession, key: string, contributor: number, steps: number) {
  const rounds = session.denseRounds(key, ROUNDS);
  for (let i = 0; i < steps; i++) {
    const { step } = await rounds.begin(contributor, PATIENT).promise;
    const receipt = rounds.apply(step, contributor, new Float32Array([step, contributor]), [2]);
    if (receipt.status !== 'accepted') return receipt;
  }
  rounds.leave(contributor);
  return rounds.lags(contributor).max;
}

const session = loadAddon().attachSession(workerData as string);
parentPort?.on('message', async ({ id, job }: { id: number; job: Job }) => {
  try {
    parentPort?.postMessage({ id, value: await run(session, job) });
  } catch (error) {
    parentPort?.postMessage({ id, code: codeOf(error) });
  }
});
