/** Drives addon-worker.ts: starts worker threads on a session, asks them one thing after another, and ends them with the test. */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { ExecutionContext } from 'ava';
import type { NativeSession } from '../../src/addon/native.js';
import type { Job } from './addon-worker-jobs.js';

/** The code of an error of the addon or of gradsync. */
export function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}

interface Answer {
  readonly id: number;
  readonly value?: unknown;
  readonly code?: unknown;
}

export interface AddonThread {
  /** What the worker answers: the value, or {code} of its error. */
  ask(job: Job): Promise<unknown>;
  /** Sends a job that never answers. */
  send(job: Job): void;
  /** Resolves at the next answer of the id -1. */
  signal(): Promise<unknown>;
  terminate(): Promise<void>;
  exited(): Promise<void>;
}

export function startThread(t: ExecutionContext, session: NativeSession): AddonThread {
  const worker = new Worker(new URL('./addon-worker.js', import.meta.url), { workerData: session.id });
  const exit = once(worker, 'exit').then(() => undefined);
  t.teardown(async () => {
    await worker.terminate();
  });
  let id = 0;
  const answerOf = (wanted: number): Promise<unknown> =>
    new Promise((resolve, reject) => {
      worker.once('error', reject);
      worker.on('message', (answer: Answer) => {
        if (answer.id === wanted) resolve(answer.code === undefined ? answer.value : { code: answer.code });
      });
    });
  const send = (job: Job): void => worker.postMessage({ id: id++, job });
  return {
    ask: (job) => {
      send(job);
      return answerOf(id - 1);
    },
    send,
    signal: () => answerOf(-1),
    terminate: async () => {
      await worker.terminate();
    },
    exited: () => exit,
  };
}
