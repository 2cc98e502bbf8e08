/**
 * Where node-gyp finds headers without a download. The addon uses Node-API alone, so four headers are enough; where the running Node
 * brings none along, a directory of the form that node-gyp expects is made from the npm package node-api-headers.
 */
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

/** The directory for node-gyp's --nodedir; undefined where only node-gyp's own download works (Windows needs node.lib). */
export function findNodeDirectory(root) {
  const given = process.env.npm_config_nodedir;
  if (given !== undefined && given !== '') return given;
  const prefixes = [dirname(dirname(process.execPath)), process.config.variables.node_prefix];
  const beside = prefixes.find((prefix) => typeof prefix === 'string' && hasMatchingHeaders(prefix));
  if (beside !== undefined) return beside;
  return process.platform === 'win32' ? undefined : makeNodeDirectory(join(root, 'build-headers'));
}

function hasMatchingHeaders(prefix) {
  const include = join(prefix, 'include', 'node');
  if (!['common.gypi', 'config.gypi', 'node_api.h'].every((name) => existsSync(join(include, name))))
    return false;
  try {
    const text = readFileSync(join(include, 'node_version.h'), 'utf8');
    const parts = ['MAJOR', 'MINOR', 'PATCH'].map(
      (part) => text.match(`#define NODE_${part}_VERSION (\\d+)`)?.[1],
    );
    return parts.join('.') === process.versions.node;
  } catch {
    return false;
  }
}

/** The settings of Node's common.gypi that an addon needs: two configurations, position-independent code, a loadable module. */
const COMMON_GYPI = `{
  'target_defaults': {
    'default_configuration': 'Release',
    'configurations': {
      'Debug': { 'defines': ['DEBUG', '_DEBUG'], 'cflags': ['-g', '-O0'] },
      'Release': { 'cflags': ['-O3'] },
    },
    'cflags': ['-pthread', '-fPIC'],
    'ldflags': ['-pthread'],
    'conditions': [
      ['OS=="mac"', {
        'xcode_settings': {
          'ALWAYS_SEARCH_USER_PATHS': 'NO',
          'GCC_DYNAMIC_NO_PIC': 'NO',
          'OTHER_LDFLAGS': ['-undefined dynamic_lookup'],
          'ARCHS': ['${process.arch === 'x64' ? 'x86_64' : process.arch}'],
        },
      }],
    ],
  },
}
`;

function makeNodeDirectory(directory) {
  const include = join(directory, 'include', 'node');
  const headers = createRequire(import.meta.url)('node-api-headers').include_dir;
  mkdirSync(include, { recursive: true });
  for (const name of readdirSync(headers)) copyFileSync(join(headers, name), join(include, name));
  writeFileSync(join(include, 'common.gypi'), COMMON_GYPI);
  writeFileSync(
    join(include, 'config.gypi'),
    JSON.stringify({ target_defaults: {}, variables: process.config.variables }),
  );
  return directory;
}
