/** What a user of the package gets: entry points that exist and load, a short list of public names, no tests in the tarball. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import test from 'ava';
import { projectRoot } from './helpers/paths.js';

interface Manifest {
  readonly exports: Readonly<Record<string, string>>;
  readonly bin: Readonly<Record<string, string>>;
  readonly main: string;
  readonly types: string;
  readonly files: readonly string[];
}

const manifest: Manifest = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8'));

test('every entry point of the package exists', (t) => {
  const { exports, bin, main, types } = manifest;
  for (const path of [...Object.values(exports), ...Object.values(bin), main, types]) {
    t.true(existsSync(join(projectRoot, path)), path);
  }
});

for (const [name, path] of Object.entries(manifest.exports).filter(([, path]) => path.endsWith('.js'))) {
  test(`gradsync${name.slice(1)} can be imported`, async (t) => {
    const module: object = await import(pathToFileURL(join(projectRoot, path)).href);
    t.true(Object.keys(module).length > 0);
    t.false('default' in module);
  });
}

test('the public names of gradsync are few and known', async (t) => {
  const module: object = await import('../src/index.js');
  t.deepEqual(Object.keys(module).sort(), [
    'GradsyncError',
    'errorMessage',
    'openSession',
    'planTraining',
    'transform',
    'transformAll',
  ]);
});

test('the command starts with the line that makes it run', (t) => {
  for (const path of Object.values(manifest.bin)) {
    t.true(readFileSync(join(projectRoot, path), 'utf8').startsWith('#!/usr/bin/env node\n'), path);
  }
});

test('the package carries the sources of the addon, and no tests', (t) => {
  const { files } = manifest;
  for (const wanted of ['native', 'binding.gyp', 'CMakeLists.txt', 'dist/src'])
    t.true(files.includes(wanted), wanted);
  t.deepEqual(
    files.filter((file) => /^(dist\/?$|test|dist\/test|bench|examples)/.test(file)),
    [],
  );
});
