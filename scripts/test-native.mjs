/**
 * Builds and runs the native tests (GoogleTest, no Node involved). Without arguments plainly, in build-native; each argument is a run under
 * sanitizers (`address,undefined`, `thread`), in a build folder of its own.
 */
import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

function run(command, ...args) {
  // Some tests ask for more memory than there is: an error to be handled, which the sanitizers would take for the end.
  const env = { ...process.env };
  for (const name of ['ASAN_OPTIONS', 'TSAN_OPTIONS']) env[name] = 'allocator_may_return_null=1';
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit', env });
  if (error)
    console.error(`${command}: ${error.message} (Debian, Ubuntu: apt-get install cmake libgtest-dev)`);
  if (status !== 0) process.exit(status ?? 1);
}

function test(sanitize) {
  const folder = sanitize === '' ? 'build-native' : `build-native-${sanitize.replaceAll(',', '-')}`;
  const jobs = String(availableParallelism());
  run('cmake', '-S', '.', '-B', folder, '-DGRADSYNC_TESTS=ON', `-DGRADSYNC_SANITIZE=${sanitize}`);
  run('cmake', '--build', folder, '--parallel', jobs);
  run('ctest', '--test-dir', folder, '--output-on-failure', '--parallel', jobs);
}

const sanitizers = process.argv.slice(2);
for (const sanitize of sanitizers.length === 0 ? [''] : sanitizers) test(sanitize);
