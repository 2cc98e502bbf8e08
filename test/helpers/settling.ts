/** Watches promises of the addon in model tests: which have settled, and how. */
import type { NativeSession, Pending } from '../../src/addon/native.js';
import { PATIENT } from './addon.js';
import { codeOf } from './addon-thread.js';

/** How a wait ended: a value, or the code of its error. */
export type Outcome = { readonly value: unknown } | { readonly code: unknown };

/** In the order of ids: two maps of the same outcomes compare equal. */
export function byId(outcomes: ReadonlyMap<number, Outcome>): readonly (readonly [number, Outcome])[] {
  return [...outcomes].sort(([a], [b]) => a - b);
}

export class Settling {
  readonly #outcomes = new Map<number, Outcome>();
  readonly #cancels = new Map<number, () => void>();
  readonly #fence;
  #next = 0;

  constructor(session: NativeSession) {
    this.#fence = session.tokenQueue('fence', { dtypes: ['bool'], shapes: [[]], capacity: -1 });
  }

  /** Gives the id under which the outcome will appear; `see` makes of a value what the model would say. */
  watch<T>(pending: Pending<T>, see: (value: T) => unknown): number {
    const id = this.#next++;
    this.#cancels.set(id, () => pending.cancel());
    pending.promise.then(
      (value) => this.#outcomes.set(id, { value: see(value) }),
      (error) => this.#outcomes.set(id, { code: codeOf(error) }),
    );
    return id;
  }

  cancel(id: number): void {
    this.#cancels.get(id)?.();
  }

  /** All outcomes so far. Answers are delivered in the order they were given, so those before this one have come when it has. */
  async outcomes(): Promise<ReturnType<typeof byId>> {
    const data = new Uint8Array(1);
    await this.#fence.enqueue([{ dtype: 'bool', shape: [], data }], PATIENT).promise;
    await new Promise(setImmediate);
    return byId(this.#outcomes);
  }
}
