/**
 * What the runtime uses of tfjs and its wasm backend. They are CommonJS and come by `require`: `import` would first parse them for the names
 * they export, which takes several times as long as running them, in every thread.
 */
import { createRequire } from 'node:module';
import type * as Wasm from '@tensorflow/tfjs-backend-wasm';
import type * as Core from '@tensorflow/tfjs-core';

const require = createRequire(import.meta.url);

const core = require('@tensorflow/tfjs-core') as typeof Core;
// It registers its kernels with tfjs.
const wasm = require('@tensorflow/tfjs-backend-wasm') as typeof Wasm;

export const { backend, engine, env, getKernel, setBackend } = core;
export const { setWasmPaths } = wasm;

/** The file of the wasm backend, which its modules lie beside. */
export const wasmEntry: string = require.resolve('@tensorflow/tfjs-backend-wasm');
