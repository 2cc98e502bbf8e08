/** Waiting for a native object: the failure says which one, so that the session can find out who has not come. */
import type { Pending } from '../../../addon/native.js';
import { errorMessage } from '../../../errors.js';
import { errorCode, withMessage } from '../messages.js';

/** A wait that failed. `key` is that of the accumulator or queue. */
export class WaitError extends Error {
  readonly key: string;

  constructor(key: string, cause: unknown) {
    super(errorMessage(cause), { cause: withMessage(errorCode(cause), errorMessage(cause), {}) });
    this.key = key;
  }
}

export async function waitFor<T>(key: string, pending: Pending<T>): Promise<T> {
  try {
    return await pending.promise;
  } catch (error) {
    throw new WaitError(key, error);
  }
}
