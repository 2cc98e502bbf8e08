/**
 * The install script: makes sure that an addon for this machine is there. A prebuilt one is used when it loads; otherwise it is built
 * with node-gyp, from headers that lie on this machine (beside Node, or in the npm package node-api-headers), so nothing is downloaded.
 * Silent unless it fails; then it says what is missing. `--force` builds in any case, `--verbose` shows the build.
 */
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findNodeDirectory } from './node-headers.mjs';
import { explainMissing, findNodeGyp, missingTools } from './toolchain.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const require = createRequire(import.meta.url);

/** True when a prebuilt addon for this platform is there and loads. */
function hasUsablePrebuild() {
  process.env.PREBUILDS_ONLY = '1';
  try {
    require('node-gyp-build')(root);
    return true;
  } catch {
    return false;
  }
}

function build(verbose) {
  const jobs = String(Math.max(1, availableParallelism()));
  const nodeDirectory = findNodeDirectory(root);
  const args = [findNodeGyp(), 'rebuild', '--jobs', jobs];
  if (nodeDirectory !== undefined) args.push('--nodedir', nodeDirectory);
  return spawnSync(process.execPath, args, {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    stdio: verbose ? 'inherit' : 'pipe',
  });
}

function main() {
  const flags = new Set(process.argv.slice(2));
  const force = flags.has('--force') || process.env.npm_config_build_from_source === 'true';
  if (!force && hasUsablePrebuild()) return 0;
  // Before node-gyp, which removes the last build first.
  const missing = missingTools();
  if (missing.length > 0) return fail(explainMissing(missing));
  const result = build(flags.has('--verbose'));
  if (result.status === 0) return 0;
  const cause = result.error ? ` (${result.error.message})` : '';
  return fail(
    `${result.stdout ?? ''}${result.stderr ?? ''}`,
    `gradsync: the native addon did not build${cause}; the lines above say why. It needs g++ 11 or clang 14 or later.`,
  );
}

function fail(...lines) {
  process.stderr.write(`${lines.join('\n')}\n`);
  return 1;
}

process.exitCode = main();
