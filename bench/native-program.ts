/** The native benchmark programs of bench/native, built with CMake when a case asks for one. */
import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { projectPath, projectRoot } from '../test/helpers/paths.js';

const FOLDER = 'build-bench';

/** The path of the program `name`, up to date. */
export function nativeProgram(name: string): string {
  cmake('-S', '.', '-B', FOLDER, '-DGRADSYNC_BENCHMARKS=ON');
  cmake('--build', FOLDER, '--target', name, '--parallel', String(availableParallelism()));
  return projectPath(FOLDER, 'bench', 'native', name);
}

function cmake(...args: readonly string[]): void {
  const { status, error, stdout, stderr } = spawnSync('cmake', args, { cwd: projectRoot, encoding: 'utf8' });
  if (error !== undefined) throw new Error(`cmake: ${error.message} (Debian, Ubuntu: apt-get install cmake)`);
  if (status !== 0) throw new Error(`cmake ${args.join(' ')} failed:\n${stdout}${stderr}`);
}
