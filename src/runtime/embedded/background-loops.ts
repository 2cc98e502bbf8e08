/**
 * BackgroundLoops: what is run again and again beside the steps, each operation by a thread of its own, and who waits for the end of a round.
 * Owned by the executor.
 */
import type { GradsyncError } from '../../errors.js';
import type { Meeting } from '../executor.js';
import type { TaskClient } from './task-client.js';

export interface Loop {
  readonly client: TaskClient;
  readonly operation: string;
}

interface Waiting {
  resolve(): void;
  reject(error: GradsyncError): void;
}

export class BackgroundLoops {
  readonly #loops: readonly Loop[];
  readonly #waiting = new Set<Waiting>();
  #programs: readonly number[] = [];
  #meetings: readonly Meeting[] = [];
  #isRunning = false;

  constructor(loops: readonly Loop[]) {
    this.#loops = loops;
  }

  get clients(): readonly TaskClient[] {
    return this.#loops.map(({ client }) => client);
  }

  /** What they give and take in a round, once they are open. */
  get meetings(): readonly Meeting[] {
    return this.#meetings;
  }

  /** Compiles what will be run. */
  async opened(): Promise<void> {
    const programs = await Promise.all(
      this.#loops.map(async ({ client, operation }) => {
        await client.opened();
        const request = { feeds: [], tensors: [], operations: [operation], guarded: [] };
        return (await client.ask({ kind: 'prepare', request })).program;
      }),
    );
    this.#programs = programs.map(({ id }) => id);
    this.#meetings = programs.flatMap(({ meetings }) => meetings);
  }

  /** May be repeated. */
  start(): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    this.#loops.forEach(({ client }, i) => {
      client.loop(this.#programs[i]!);
    });
  }

  /** The end of the next round of any of them. Whoever waits keeps the process alive. */
  nextRound(): Promise<void> {
    for (const client of this.clients) client.keepAlive(true);
    return new Promise((resolve, reject) => {
      this.#waiting.add({ resolve, reject });
    });
  }

  roundEnded(): void {
    for (const { resolve } of this.#waiting) resolve();
    this.#waiting.clear();
    for (const client of this.clients) client.keepAlive(false);
  }

  /** No round will end any more. */
  end(reason: GradsyncError): void {
    for (const { reject } of this.#waiting) reject(reason);
    this.#waiting.clear();
  }
}
