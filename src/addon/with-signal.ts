/** Waiting on native promises with an AbortSignal. */
import { GradsyncError } from '../errors.js';
import type { Pending } from './native.js';

/**
 * The promise of `pending`, cancelled when `signal` aborts: then it rejects with a GradsyncError CANCELLED whose cause is the signal's
 * reason. What settled before stays as it is.
 *
 * @example
 * ```ts
 * const gradient = await withSignal(accumulator.take(2, { deadlineMs: 60_000 }), options.signal);
 * ```
 */
export async function withSignal<T>(pending: Pending<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return pending.promise;
  const cancel = () => pending.cancel();
  if (signal.aborted) cancel();
  signal.addEventListener('abort', cancel, { once: true });
  try {
    return await pending.promise;
  } catch (error) {
    if (!signal.aborted || nativeCodeOf(error) !== 'CANCELLED') throw error;
    throw new GradsyncError('CANCELLED', 'Wait', { received: 'an abort' }, { cause: signal.reason });
  } finally {
    signal.removeEventListener('abort', cancel);
  }
}

function nativeCodeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}
