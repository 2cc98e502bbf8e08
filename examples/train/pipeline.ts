/** Keeps a few runs under way; their results come in the order they were begun. */

export const IN_FLIGHT = 2;

export class Pipeline<Result> {
  readonly #pending: { run: Promise<Result>; done: (result: Result) => void }[] = [];

  /** Hands `run`'s result to `done`, after those of the runs before it; resolves when there is room for another run. */
  async add(run: Promise<Result>, done: (result: Result) => void): Promise<void> {
    run.catch(() => {}); // its error is thrown where it is awaited
    this.#pending.push({ run, done });
    while (this.#pending.length >= IN_FLIGHT) await this.#next();
  }

  async drain(): Promise<void> {
    while (this.#pending.length > 0) await this.#next();
  }

  async #next(): Promise<void> {
    const { run, done } = this.#pending.shift()!;
    done(await run);
  }
}
