/**
 * Builds and runs the fuzz targets of test/native/fuzz with clang's libFuzzer, AddressSanitizer and UBSan, in build-fuzz:
 *
 *   npm run test:fuzz -- [--seconds 10] [--seed 20240229] [--require] [target ...]
 *
 * Each target starts from test/native/fuzz/corpus/<target>; new inputs stay in build-fuzz/corpus/<target>. An input that fails is kept in
 * build-fuzz/findings: `build-fuzz/test/native/fuzz/<target> <file>` repeats it. Without clang nothing runs, which is said, and is a failure
 * with --require.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const sources = join(root, 'test', 'native', 'fuzz');
const build = join(root, 'build-fuzz');
const PACKAGES = 'Debian, Ubuntu: apt-get install clang cmake';
// Memory that cannot be had is an answer of ours (RESOURCE_EXHAUSTED), not a finding.
const ASAN_OPTIONS = 'allocator_may_return_null=1:detect_stack_use_after_return=1';
const INPUT_BYTES = 512;
const INPUT_SECONDS = 10;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '10' },
    seed: { type: 'string', default: '20240229' },
    require: { type: 'boolean', default: false },
  },
});

/** Whether clang++ can link a fuzz target. */
function hasFuzzer(compiler) {
  const program = 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }';
  const args = ['-x', 'c++', '-fsanitize=fuzzer,address,undefined', '-', '-o', '/dev/null'];
  return spawnSync(compiler, args, { input: program }).status === 0;
}

function run(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit', ...options });
  if (error) console.error(`${command}: ${error.message} (${PACKAGES})`);
  return status ?? 1;
}

function buildTargets(compiler) {
  const configure = ['-S', '.', '-B', build, `-DCMAKE_CXX_COMPILER=${compiler}`, '-DGRADSYNC_FUZZ=ON'];
  const steps = [
    [...configure, '-DGRADSYNC_SANITIZE=fuzzer-no-link,address,undefined'],
    ['--build', build, '--parallel', String(availableParallelism())],
  ];
  for (const step of steps) {
    const status = run('cmake', step);
    if (status !== 0) process.exit(status);
  }
}

/** Runs one target; whether it found nothing. */
function fuzz(target) {
  const [grown, findings, seeds] = [
    join(build, 'corpus', target),
    join(build, 'findings'),
    join(sources, 'corpus', target),
  ];
  for (const folder of [grown, findings]) mkdirSync(folder, { recursive: true });
  const args = [
    `-max_total_time=${values.seconds}`,
    `-seed=${values.seed}`,
    `-max_len=${INPUT_BYTES}`,
    `-timeout=${INPUT_SECONDS}`,
    // Room for sizes that are asked for and refused.
    '-malloc_limit_mb=1000000000',
    '-print_final_stats=1',
    '-verbosity=0',
    `-artifact_prefix=${findings}/${target}-`,
    ...[grown, seeds].filter(existsSync),
  ];
  const env = { ...process.env, ASAN_OPTIONS, UBSAN_OPTIONS: 'print_stacktrace=1' };
  console.log(`== ${target}: ${values.seconds} s, seed ${values.seed}`);
  const isOk = run(join(build, 'test', 'native', 'fuzz', target), args, { env }) === 0;
  console.log(`${isOk ? 'ok' : 'FAILED'} ${target}`);
  return isOk;
}

const compiler = [process.env.GRADSYNC_CLANG, 'clang++'].find((name) => name && hasFuzzer(name));
if (compiler === undefined) {
  console.log(
    `skipped: the fuzz targets need clang++ with libFuzzer (${PACKAGES}, or GRADSYNC_CLANG names it)`,
  );
  process.exit(values.require ? 1 : 0);
}
const targets = readdirSync(sources)
  .filter((name) => name.endsWith('_fuzz.cc'))
  .map((name) => name.slice(0, -'.cc'.length))
  .sort();
const unknown = positionals.filter((name) => !targets.includes(name));
if (unknown.length > 0) {
  console.error(`expected targets among ${targets.join(', ')} but received ${unknown.join(', ')}`);
  process.exit(2);
}
buildTargets(compiler);
const results = targets.filter((name) => positionals.length === 0 || positionals.includes(name)).map(fuzz);
process.exitCode = results.every(Boolean) ? 0 : 1;
