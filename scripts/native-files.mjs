/** Runs a command of clang (`clang-format ...` or `clang-tidy`) over all native sources and tests. */
import { spawn, spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
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
const notStarted = (error) =>
  console.error(`${command}: ${error.message} (Debian, Ubuntu: apt-get install ${command})`);
process.exitCode = isTidy ? await tidy() : format();

function format() {
  const { status, error } = spawnSync(command, [...args, ...names], { cwd: root, stdio: 'inherit' });
  if (error) notStarted(error);
  return status ?? 1;
}

/** clang-tidy takes seconds for a file: as many at once as there are processors. */
async function tidy() {
  const left = [...names];
  const found = [];
  const work = async () => {
    for (let name = left.shift(); name !== undefined; name = left.shift()) found.push(await findingsOf(name));
  };
  try {
    await Promise.all(Array.from({ length: availableParallelism() }, work));
  } catch (error) {
    notStarted(error);
    return 1;
  }
  return report(found.join('\n'));
}

function findingsOf(name) {
  return new Promise((resolve, reject) => {
    const all = [...args, '--quiet', name, '--', ...flags];
    const child = spawn(command, all, { cwd: root, stdio: ['ignore', 'pipe', 'ignore'] });
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (chunk) => (text += chunk));
    child
      .on('error', reject)
      .on('close', (_, signal) => (signal ? reject(new Error(`${name}: ${signal}`)) : resolve(text)));
  });
}

/** Prints what clang-tidy found in native/; clang 14 also stumbles over the ranges of newer standard libraries, which says nothing of us. */
function report(text) {
  const isOurs = (line) => /^(\S*\/)?native\/\S+: (error|warning): /.test(line);
  const findings = [
    ...new Set(text.split('\n').filter((line) => isOurs(line) && !line.includes('[clang-diagnostic-error]'))),
  ];
  for (const finding of findings) console.log(finding);
  return findings.length === 0 ? 0 : 1;
}
