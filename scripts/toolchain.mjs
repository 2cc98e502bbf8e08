/** Finds node-gyp, and says in plain words what a failed build is missing. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

const require = createRequire(import.meta.url);

/** The script of node-gyp: the one npm runs, one that is installed, or the one bundled with the npm beside this Node. */
export function findNodeGyp() {
  const inNpm = ['node_modules', 'node-gyp', 'bin', 'node-gyp.js'];
  const prefix = dirname(dirname(process.execPath));
  const candidates = [
    process.env.npm_config_node_gyp,
    installed('node-gyp/bin/node-gyp.js'),
    process.env.npm_execpath && join(dirname(dirname(process.env.npm_execpath)), ...inNpm),
    join(prefix, 'lib', 'node_modules', 'npm', ...inNpm),
    join(prefix, 'share', 'nodejs', 'node-gyp', 'bin', 'node-gyp.js'),
    join(dirname(process.execPath), 'node_modules', 'npm', ...inNpm),
  ].filter((path) => typeof path === 'string' && path !== '');
  const found = candidates.find((path) => existsSync(path));
  if (found !== undefined) return found;
  throw new Error(
    `gradsync: found no node-gyp in ${candidates.join(', ')}; install it with: npm install -g node-gyp`,
  );
}

function installed(path) {
  try {
    return require.resolve(path);
  } catch {
    return undefined;
  }
}

const works = (command, ...args) => spawnSync(command, args, { stdio: 'ignore' }).status === 0;

/** The tools that a build needs and this machine lacks, each with the package to install. */
export function missingTools() {
  const missing = [];
  const compiler = (process.env.CXX ?? (process.platform === 'darwin' ? 'clang++' : 'g++')).split(' ')[0];
  const python = process.env.npm_config_python ?? process.env.PYTHON ?? 'python3';
  if (process.platform === 'win32') return missing;
  if (!works(compiler, '--version')) {
    missing.push(`a C++20 compiler, ${compiler} (Debian, Ubuntu: apt-get install g++)`);
  }
  if (!works('make', '--version')) missing.push('make (Debian, Ubuntu: apt-get install make)');
  if (!works(python, '--version'))
    missing.push(`Python 3, ${python} (Debian, Ubuntu: apt-get install python3)`);
  return missing;
}

/** What to tell whoever lacks them. */
export function explainMissing(missing) {
  const platform = process.platform === 'darwin' ? ' (macOS: xcode-select --install)' : '';
  return `gradsync: the native addon cannot be built; this machine lacks:\n  ${missing.join('\n  ')}\nInstall that${platform} and run npm install again.`;
}
