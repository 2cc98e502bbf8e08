/**
 * Loads the native addon from where node-gyp-build finds it: a build of this checkout, or a prebuilt binary of the package. When that
 * fails, the error names every place that was looked at and why it did not do.
 */
import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { errorMessage, GradsyncError } from '../errors.js';
import type { NativeAddon } from './native.js';

const require = createRequire(import.meta.url);

/** The folder of the package: the nearest one above this file that has a binding.gyp. */
function packageRoot(directory: string = dirname(fileURLToPath(import.meta.url))): string {
  const parent = dirname(directory);
  return parent === directory || listFolder(directory).includes('binding.gyp')
    ? directory
    : packageRoot(parent);
}

function listFolder(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/**
 * The native addon; the same object for every call in a thread.
 *
 * @param root - the package's folder; given by tests.
 * @throws GradsyncError UNAVAILABLE naming every path tried and why each failed.
 * @example
 * ```ts
 * const addon = loadAddon();
 * const session = addon.createSession({ name: 'demo' });
 * session.close('done');
 * ```
 */
export function loadAddon(root: string = packageRoot()): NativeAddon {
  const { resolve } = require('node-gyp-build') as { resolve(directory: string): string };
  let path: string | undefined;
  try {
    path = resolve(root);
    return require(path) as NativeAddon;
  } catch (cause) {
    throw new GradsyncError(
      'UNAVAILABLE',
      'Native addon',
      {
        expected: `a build for ${process.platform}-${process.arch}, Node ${process.versions.node}`,
        received: `none that loads:\n${describeAttempts(root, path, cause)}\n`,
        remedy:
          'run `npm run build:addon` in the package (it needs g++, make and python3 and says which of them is missing)',
      },
      { cause },
    );
  }
}

/** One line per place, in the order of the search: what is there and what came of it. */
function describeAttempts(root: string, tried: string | undefined, cause: unknown): string {
  const tuple = `${process.platform}-${process.arch}`;
  const folders = [
    join(root, 'build', 'Release'),
    join(root, 'build', 'Debug'),
    join(root, 'prebuilds', tuple),
    join(dirname(process.execPath), 'prebuilds', tuple),
  ];
  const override = process.env['GRADSYNC_PREBUILD'];
  if (override !== undefined) folders.unshift(override);
  const lines = folders.flatMap((folder) => describeFolder(folder, tried, errorMessage(cause)));
  const isListed = tried === undefined || lines.some((line) => line.includes(tried));
  return [...lines, ...(isListed ? [] : [`  ${tried}: ${errorMessage(cause)}`])].join('\n');
}

function describeFolder(folder: string, tried: string | undefined, problem: string): readonly string[] {
  const files = listFolder(folder).filter((name) => name.endsWith('.node'));
  if (files.length === 0) return [`  ${join(folder, '*.node')}: no such file`];
  return files.map((name) => {
    const path = join(folder, name);
    if (path === tried) return `  ${path}: ${problem}`;
    return `  ${path}: ${tried === undefined ? 'not built for this platform, Node or libc' : 'not tried, an earlier one was found'}`;
  });
}
