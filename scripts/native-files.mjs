/** Runs a command of clang (`clang-format ...` or `clang-tidy`) over all native sources and tests. */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const require = createRequire(import.meta.url);

const files = (folder, ending) =>
  readdirSync(join(root, folder), { recursive: true })
    .filter((name) => ending.test(name))
    .map((name) => join(folder, name))
    .sort();

const [command, ...args] = process.argv.slice(2);
const isTidy = command === 'clang-tidy';
const names = isTidy
  ? files('native', /\.cc$/)
  : ['native', 'test/native', 'bench/native'].flatMap((folder) => files(folder, /\.(h|cc)$/));
const flags = [
  '-std=c++20',
  '-Inative',
  `-isystem${require('node-addon-api').include_dir}`,
  `-isystem${require('node-api-headers').include_dir}`,
  '-DNAPI_VERSION=8',
  '-DNODE_ADDON_API_CPP_EXCEPTIONS_ALL',
  '-DNODE_ADDON_API_DISABLE_DEPRECATED',
  '-DGRADSYNC_VERSION="0"',
];
const all = [...args, ...(isTidy ? ['--quiet'] : []), ...names, ...(isTidy ? ['--', ...flags] : [])];
const options = {
  cwd: root,
  encoding: 'utf8',
  maxBuffer: 1 << 28,
  stdio: ['ignore', isTidy ? 'pipe' : 'inherit', isTidy ? 'ignore' : 'inherit'],
};
const { status, error, stdout } = spawnSync(command, all, options);
if (error) console.error(`${command}: ${error.message} (Debian, Ubuntu: apt-get install ${command})`);
process.exitCode = isTidy && !error ? report(stdout) : (status ?? 1);

/** Prints what clang-tidy found in native/; clang 14 also stumbles over the ranges of newer standard libraries, which says nothing of us. */
function report(text) {
  const isOurs = (line) => /^(\S*\/)?native\/\S+: (error|warning): /.test(line);
  const findings = [
    ...new Set(text.split('\n').filter((line) => isOurs(line) && !line.includes('[clang-diagnostic-error]'))),
  ];
  for (const finding of findings) console.log(finding);
  return findings.length === 0 ? 0 : 1;
}
