/** The addon of bench/rivals/nan, built with node-gyp when a case asks for it. Null, and why, where this machine lacks what that takes. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { projectPath, projectRoot } from '../test/helpers/paths.js';

/** What boundary.cc exports. */
export interface NanAddon {
  readonly Value: new () => {
    readonly version: number;
    assign(value: Float32Array, shape: readonly number[]): void;
    take(): Promise<{ readonly data: Float32Array }>;
  };
}

interface Toolchain {
  findNodeGyp(): string;
}
interface NodeHeaders {
  findNodeDirectory(root: string): string | undefined;
}

const scriptOf = async <T>(name: string): Promise<T> =>
  (await import(pathToFileURL(projectPath('scripts', name)).href)) as T;

export async function openNanAddon(): Promise<{ addon: NanAddon } | { missing: string }> {
  const folder = projectPath('bench', 'rivals', 'nan');
  const { findNodeGyp } = await scriptOf<Toolchain>('toolchain.mjs');
  const { findNodeDirectory } = await scriptOf<NodeHeaders>('node-headers.mjs');
  const headers = findNodeDirectory(projectRoot);
  // Headers of Node-API alone are enough for the addon, not for nan: then node-gyp downloads the rest.
  const hasV8 = headers !== undefined && existsSync(`${headers}/include/node/v8.h`);
  const args = [
    findNodeGyp(),
    'configure',
    'build',
    '--directory',
    folder,
    ...(hasV8 ? ['--nodedir', headers] : []),
  ];
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  if (status !== 0)
    return { missing: `nan was not built: ${stderr.split('\n').slice(-12).join(' ').trim()}` };
  const addon = createRequire(import.meta.url)(`${folder}/build/Release/boundary.node`) as NanAddon;
  return { addon };
}
