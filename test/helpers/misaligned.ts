/**
 * Typed arrays at addresses that are no multiple of their elements' size. JavaScript makes none, but another addon can: a few lines of C
 * against Node-API, compiled here with the compiler that builds the addon.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { NumericArray } from '../../src/addon/native.js';

const SOURCE = `
#include <node_api.h>
#include <stdlib.h>
static void Free(napi_env env, void* data, void* base) { (void)env; (void)data; free(base); }
/* An ArrayBuffer of as many bytes as the argument says, at an odd address. */
static napi_value Odd(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value argument, result = NULL;
  uint32_t bytes = 0;
  napi_get_cb_info(env, info, &count, &argument, NULL, NULL);
  napi_get_value_uint32(env, argument, &bytes);
  char* base = calloc(bytes + 1, 1);
  napi_create_external_arraybuffer(env, base + 1, bytes, Free, base, &result);
  return result;
}
NAPI_MODULE_INIT() {
  napi_value function;
  napi_create_function(env, "odd", NAPI_AUTO_LENGTH, Odd, NULL, &function);
  return function;
}
`;

type Odd = (bytes: number) => ArrayBuffer;

function build(): Odd {
  const require = createRequire(import.meta.url);
  const headers = (require('node-api-headers') as { include_dir: string }).include_dir;
  const folder = mkdtempSync(join(tmpdir(), 'gradsync-odd-'));
  try {
    const [source, library] = [join(folder, 'odd.c'), join(folder, 'odd.node')];
    writeFileSync(source, SOURCE);
    const [compiler, ...first] = (process.env['CC'] ?? 'gcc').split(' ');
    const link = process.platform === 'darwin' ? ['-undefined', 'dynamic_lookup'] : [];
    const args = [...first, '-shared', '-fPIC', `-I${headers}`, source, '-o', library, ...link];
    execFileSync(compiler!, args);
    return require(library) as Odd;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

let odd: Odd | undefined;

/** A copy of the array at an odd address. */
export function misalign<T extends NumericArray>(array: T): T {
  odd ??= build();
  const view = new (array.constructor as new (buffer: ArrayBuffer) => T)(odd(array.byteLength));
  (view as { set(from: unknown): void }).set(array);
  return view;
}
