/** Sessions of the native addon for tests: made anew for each, and closed after it. */
import type { ExecutionContext } from 'ava';
import { loadAddon } from '../../src/addon/load.js';
import type { NativeSession } from '../../src/addon/native.js';

export const addon = loadAddon();

/** A session that ends with the test. */
export function sessionOf(t: ExecutionContext, threads = 2): NativeSession {
  const session = addon.createSession({ name: 'test', threads });
  t.teardown(() => session.close('the test is over'));
  return session;
}

export { PATIENT } from './patience.js';

export const floats = (...values: number[]): Float32Array => new Float32Array(values);
