/**
 * Opens the tfjs wasm backend of this thread: SIMD, one thread, read from the package's own folder, no network. tfjs keeps one backend
 * per thread of JavaScript, so a second call gives the same one.
 */
import { dirname, sep } from 'node:path';
import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';
import { errorMessage, GradsyncError } from '../../errors.js';
import { backend, engine, env, setBackend, setWasmPaths, wasmEntry } from './tfjs.js';

const PROCESS_EVENTS = ['uncaughtException', 'unhandledRejection'] as const;

/** What tfjs keeps once per thread, its engine, has at most one wasm backend; callers that come while it opens wait for the same one. */
const OPENING = new WeakMap<object, Promise<BackendWasm>>();

/** The wasm backend of this thread, ready for use. Throws UNAVAILABLE when it cannot be loaded. */
export function openBackend(): Promise<BackendWasm> {
  let opening = OPENING.get(engine());
  if (opening === undefined) {
    opening = loadQuietly();
    OPENING.set(engine(), opening);
  }
  return opening;
}

async function loadQuietly(): Promise<BackendWasm> {
  const before = PROCESS_EVENTS.map((event) => process.listeners(event as 'uncaughtException'));
  try {
    return await load();
  } catch (error) {
    OPENING.delete(engine());
    throw error;
  } finally {
    // The module's loader adds listeners that rethrow every uncaught error of the process, which would hide where errors came from.
    PROCESS_EVENTS.forEach((event, i) => {
      for (const listener of process.listeners(event as 'uncaughtException')) {
        if (!before[i]!.includes(listener)) process.off(event, listener);
      }
    });
  }
}

async function load(): Promise<BackendWasm> {
  const folder = dirname(wasmEntry) + sep;
  setWasmPaths(folder);
  if (!(await env().getAsync('WASM_HAS_SIMD_SUPPORT'))) {
    throw unavailable('a JavaScript engine without wasm SIMD', 'run Node 20 or later');
  }
  let cause: unknown;
  const ready = await setBackend('wasm').catch((error: unknown) => {
    cause = error;
    return false;
  });
  if (!ready) throw unavailable(errorMessage(cause ?? `nothing usable in ${folder}`), 'run npm ci', cause);
  const wasm = backend() as BackendWasm;
  tellExhaustion(wasm.wasm as unknown as Allocator);
  return wasm;
}

/** A 32-bit heap: sizes beyond it would be cut to what is left of them. */
const HEAP_BYTES = 2 ** 32;

/** The module's own functions for its heap, which tfjs does not declare. */
interface Allocator {
  _malloc(bytes: number): number;
  _free(address: number): void;
}

/** Makes the heap's allocation fail with a typed error, where it would abort or, past 4 GiB, give too little. */
function tellExhaustion(wasm: Allocator): void {
  // The first call puts the function itself into the module, in place of whatever is there.
  wasm._free(wasm._malloc(1));
  const allocate = wasm._malloc;
  wasm._malloc = (bytes: number): number => {
    try {
      const address = bytes < HEAP_BYTES ? allocate(bytes) : 0;
      if (address !== 0 || bytes === 0) return address;
    } catch (cause) {
      throw exhausted(`no room for ${bytes} bytes`, cause);
    }
    throw exhausted(`no room for ${bytes} bytes`);
  };
}

function exhausted(received: string, cause?: unknown): GradsyncError {
  return new GradsyncError(
    'RESOURCE_EXHAUSTED',
    'Wasm memory',
    { expected: 'tensors of a step within 4 GiB per task', received, remedy: 'take a smaller batch' },
    { cause },
  );
}

/** What a kernel threw: the module aborts when it is out of memory, and says no more than that. */
export function explainAbort(error: unknown): unknown {
  const aborted =
    error instanceof Error && error.name === 'RuntimeError' && error.message.startsWith('Aborted(');
  return aborted ? exhausted(`out of wasm memory: ${error.message}`, error) : error;
}

function unavailable(received: string, remedy: string, cause?: unknown): GradsyncError {
  return new GradsyncError(
    'UNAVAILABLE',
    'The wasm backend',
    { expected: '@tensorflow/tfjs-backend-wasm with SIMD', received, remedy },
    { cause },
  );
}
