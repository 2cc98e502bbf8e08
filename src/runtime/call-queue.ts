/**
 * CallQueue: the calls of a session in the order in which they were made. Steps begin one after the other and may overlap; every other
 * call begins when all before it have ended, and has the session to itself.
 */

export class CallQueue {
  /** Settles when the next call may begin. */
  #turn: Promise<unknown> = Promise.resolve();
  readonly #underWay = new Set<Promise<unknown>>();

  /** Calls `begin` in turn. The next call may begin when `begin` has settled, though what it resolves with is still under way. */
  async start<T>(begin: () => Promise<{ readonly done: Promise<T> }>): Promise<T> {
    const started = this.#turn.then(begin);
    this.#turn = started.catch(() => undefined);
    return (await started).done;
  }

  /** Calls `work` when all calls before it have ended; those after it begin when it has. */
  alone<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(() => this.idle()).then(work);
    this.#turn = result.catch(() => undefined);
    return result;
  }

  /** Notes something that was begun, for calls that wait for its end. */
  track<T>(run: Promise<T>): Promise<T> {
    this.#underWay.add(run);
    const forget = (): boolean => this.#underWay.delete(run);
    run.then(forget, forget);
    return run;
  }

  /** When nothing that was begun so far is under way any more. */
  async idle(): Promise<void> {
    await Promise.allSettled(this.#underWay);
  }
}
