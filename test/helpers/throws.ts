/** Asserting on typed errors: code and parts of the message in one line. */
import type { ExecutionContext } from 'ava';
import { type ErrorCode, GradsyncError } from '../../src/errors.js';

/** Expects `run` to throw a GradsyncError of that code whose message has each of `parts`. */
export function throwsTyped(
  t: ExecutionContext,
  run: () => unknown,
  code: ErrorCode,
  ...parts: readonly string[]
): void {
  const error = t.throws(run, { instanceOf: GradsyncError });
  if (error === undefined) return;
  t.is(error.code, code, error.message);
  for (const part of parts) t.true(error.message.includes(part), `"${part}" is not in: ${error.message}`);
}
