/** The loader: it finds the build, and says everything about one that does not load. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { loadAddon } from '../../src/addon/load.js';
import { GradsyncError } from '../../src/errors.js';
import { temporaryFolder } from '../helpers/folder.js';
import { projectPath } from '../helpers/paths.js';

function folderOf(t: ExecutionContext): string {
  const folder = temporaryFolder(t);
  return folder;
}

function messageOf(t: ExecutionContext, root: string): string {
  const error = t.throws(() => loadAddon(root), { instanceOf: GradsyncError, code: 'UNAVAILABLE' });
  t.truthy(error?.cause);
  return error?.message ?? '';
}

test('the addon loads once per thread', (t) => {
  t.is(loadAddon(), loadAddon());
});

test('without any build the error names every place and says what to do', (t) => {
  const root = folderOf(t);
  const message = messageOf(t, root);
  const tuple = `${process.platform}-${process.arch}`;
  for (const folder of ['build/Release', 'build/Debug', `prebuilds/${tuple}`]) {
    t.true(message.includes(`${join(root, folder, '*.node')}: no such file`), message);
  }
  t.regex(message, /npm run build:addon/);
});

test('a file that is no library is named with the reason of the system', (t) => {
  const root = folderOf(t);
  for (const folder of [join('build', 'Release'), join('prebuilds', `${process.platform}-${process.arch}`)]) {
    mkdirSync(join(root, folder), { recursive: true });
    writeFileSync(join(root, folder, 'gradsync.node'), 'no library');
  }
  const message = messageOf(t, root);
  t.regex(message, /build.Release.gradsync\.node: .*(invalid ELF header|file too short|not a mach-o|valid)/i);
  t.regex(message, /prebuilds.*gradsync\.node: not tried/);
});

test('a prebuilt binary for another Node is named as such', (t) => {
  const root = folderOf(t);
  const folder = join(root, 'prebuilds', `${process.platform}-${process.arch}`);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'gradsync.abi1.node'), '');
  t.regex(messageOf(t, root), /gradsync\.abi1\.node: not built for this platform/);
});

test('the install script names the tools that are missing, and where to get them', (t) => {
  // A PATH with nothing in it: the build cannot begin, and the last one stays.
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [projectPath('scripts', 'build-addon.mjs'), '--force'],
    { encoding: 'utf8', env: { PATH: folderOf(t) } },
  );
  t.is(status, 1);
  t.is(stdout, '');
  for (const tool of [/g\+\+|clang\+\+/, /make/, /[Pp]ython 3/]) t.regex(stderr, tool);
  t.notThrows(() => loadAddon());
});
