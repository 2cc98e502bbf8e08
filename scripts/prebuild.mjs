/** Makes prebuilds/<platform>-<arch>/gradsync.node with prebuildify, from headers on this machine. Run through npm, which brings node-gyp. */
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findNodeDirectory } from './node-headers.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const prebuildify = createRequire(import.meta.url).resolve('prebuildify/bin.js');
const nodedir = findNodeDirectory(root);
const env = nodedir === undefined ? process.env : { ...process.env, npm_config_nodedir: nodedir };
const args = [
  prebuildify,
  '--napi',
  '--strip',
  '--target',
  `node@${process.versions.node}`,
  ...process.argv.slice(2),
];
const { status } = spawnSync(process.execPath, args, { cwd: root, env, stdio: 'inherit' });
process.exitCode = status ?? 1;
