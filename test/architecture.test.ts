// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the snippets are source text.
/** The rules of the house, applied to every source, and shown to fail on snippets that break them. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { checkCpp } from './helpers/architecture/cpp-rules.js';
import { findFunctions } from './helpers/architecture/functions.js';
import { mask } from './helpers/architecture/mask.js';
import {
  checkMachinePaths,
  checkTypeScript,
  type SourceFile,
  type Violation,
} from './helpers/architecture/rules.js';
import { projectRoot } from './helpers/paths.js';

/** Files below some folders of the project (those that exist) whose names end so. */
function filesOf(folders: readonly string[], endings: RegExp): SourceFile[] {
  return folders.flatMap((folder) => {
    const names = listFolder(folder).filter((name) => endings.test(name));
    return names.sort().map((path) => ({ path, text: readFileSync(join(projectRoot, path), 'utf8') }));
  });
}

function listFolder(folder: string): string[] {
  const entries = readdirSync(join(projectRoot, folder), { withFileTypes: true, recursive: false });
  return entries.flatMap((entry) => {
    const path = folder === '' || folder === '.' ? entry.name : `${folder}/${entry.name}`;
    if (!entry.isDirectory()) return [path];
    return folder === '.' || entry.name === 'node_modules' ? [] : listFolder(path);
  });
}

const existing = new Set(readdirSync(projectRoot));
const present = (...folders: string[]): string[] => folders.filter((folder) => existing.has(folder));
const print = (violations: readonly Violation[]): string[] =>
  violations.map(({ path, line, message }) => `${path}:${line}: ${message}`);

test('every TypeScript file keeps the rules of the house', (t) => {
  const files = filesOf(present('src', 'test', 'bench', 'examples'), /\.ts$/);
  t.true(files.length > 20, `only ${files.length} files were found`);
  t.deepEqual(print(files.flatMap(checkTypeScript)), []);
});

test('every native file keeps the rules of the house', (t) => {
  const files = filesOf(present('native', 'test', 'bench'), /\.(h|cc|cu|cpp|hpp)$/);
  t.deepEqual(print(files.flatMap(checkCpp)), []);
});

test('no page, script or configuration names a path of one machine', (t) => {
  const folders = present('src', 'test', 'bench', 'examples', 'native', 'scripts', '.ci', '.github');
  const files = filesOf([...folders, '.'], /(\.(md|json|ya?ml|py|sh|mjs|js|txt|gyp|cmake)|^\.ci\/[^.]+)$/);
  t.deepEqual(print(files.flatMap(checkMachinePaths)), []);
});

/** Messages of the violations of a snippet. */
const messages = (path: string, text: string): string[] =>
  checkTypeScript({ path, text: `/** A file. */\n${text}\n` }).map(
    (found) => `${found.line}: ${found.message}`,
  );

const NAMES = 'names are parsed in graph/name.ts and graph/device.ts only';
const COMPOSED = 'names are composed in graph/name.ts and graph/device.ts only';

const BROKEN: readonly [title: string, path: string, text: string, message: string][] = [
  [
    'graph importing runtime',
    'src/graph/a.ts',
    "import { x } from '../runtime/x.js';",
    'graph must not import runtime/x',
  ],
  [
    'cluster importing a graph',
    'src/cluster/a.ts',
    "import { Graph } from '../graph/graph.js';",
    'cluster must not import graph/graph',
  ],
  [
    'a strategy importing the Graph class',
    'src/strategy/a.ts',
    "import type { Graph } from '../graph/graph.js';",
    'strategy must not import graph/graph',
  ],
  [
    'a pass importing the addon',
    'src/rewrite/a.ts',
    "import '../addon/load.js';",
    'rewrite must not import addon/load',
  ],
  [
    'a dynamic import',
    'src/rewrite/a.ts',
    "const a = await import('../runtime/a.js');",
    'rewrite must not import runtime/a',
  ],
  [
    'a re-export',
    'src/addon/a.ts',
    "export * from '../graph/graph.js';",
    'addon must not import graph/graph',
  ],
  [
    'an import over several lines',
    'src/graph/a.ts',
    "import {\n  x,\n} from '../engine.js';",
    'graph must not import engine',
  ],
  [
    'runtime importing a value of rewrite',
    'src/runtime/embedded/a.ts',
    "import { p } from '../../rewrite/plan.js';",
    'runtime must not import rewrite/plan',
  ],
  [
    'the engine importing launch',
    'src/engine.ts',
    "import { main } from './launch/cli.js';",
    'engine must not import launch/cli',
  ],
  [
    'source importing a test',
    'src/graph/a.ts',
    "import { x } from '../../test/x.js';",
    'src must not import ../../test/x.js',
  ],
  [
    'a package of another room',
    'src/graph/a.ts',
    "import { parse } from 'yaml';",
    'graph must not import yaml',
  ],
  ['a room that does not exist', 'src/attic/a.ts', '', '"attic" is not a room of src'],
  ['splitting a name', 'src/rewrite/a.ts', "const s = name.split('/');", NAMES],
  ['splitting a tensor name', 'src/runtime/a.ts', 'const s = name.split(":");', NAMES],
  ['looking for a control mark', 'src/graph/codec.ts', "if (text.startsWith('^')) f();", NAMES],
  ['comparing a character', 'src/graph/codec.ts', "if (text[0] === '^') f();", NAMES],
  ['a pattern for an index', 'src/rewrite/a.ts', 'const s = name.replace(/:\\d+$/, "");', NAMES],
  ['a device taken apart', 'src/rewrite/a.ts', "const s = device.indexOf('/job:');", NAMES],
  ['composing a name', 'src/rewrite/a.ts', 'const s = `${variable}/grad_accum`;', COMPOSED],
  ['composing a tensor name', 'src/runtime/a.ts', 'const s = `${operation.name}:${index}`;', COMPOSED],
  ['composing a control input', 'src/graph/a.ts', 'const s = `^${name}`;', COMPOSED],
  ['a variable of a module', 'src/graph/a.ts', 'export let count = 0;', 'no mutable state of a module'],
  ['a default export', 'test/a.ts', 'export default 1;', 'no default export'],
  ['an enum', 'src/graph/a.ts', 'export const enum A { B }', 'no enum'],
  ['a namespace', 'bench/a.ts', 'namespace A.B { }', 'no namespace'],
  ['any as a type', 'src/graph/a.ts', 'function f(x: any) {}', 'no any'],
  ['any as an argument of a type', 'src/graph/a.ts', 'let x: Map<string, any>;', 'no any'],
  ['any in an assertion', 'src/graph/a.ts', 'f(x as any);', 'no any'],
];

for (const [title, path, text, message] of BROKEN) {
  test(`found: ${title}`, (t) =>
    t.true(
      messages(path, text).some((found) => found.endsWith(`: ${message}`)),
      messages(path, text).join('\n'),
    ));
}

const FINE: readonly [title: string, path: string, text: string][] = [
  ['the device names of graph', 'src/cluster/a.ts', "import { printDevice } from '../graph/device.js';"],
  ['the type of a plan', 'src/runtime/a.ts', "import type { Plan } from '../rewrite/plan.js';"],
  [
    'a type import on one line and a value on the next',
    'src/graph/a.ts',
    "import type { A } from './a.js';\nimport { B } from './b.js';",
  ],
  ['an import in a comment', 'src/graph/a.ts', "// import { x } from '../runtime/x.js';"],
  ['an import in a string', 'src/graph/a.ts', 'const s = "import \'../runtime/x.js\'";'],
  ['a message with slashes', 'src/rewrite/a.ts', 'const s = `read/write of ${name}: ${reason}`;'],
  ['a template without separators', 'src/rewrite/a.ts', 'const s = `${base}_${i}`;'],
  ['splitting lines', 'src/rewrite/a.ts', "const s = text.split('\\n');"],
  ['name.ts itself', 'src/graph/name.ts', "const s = text.split('/');"],
  ['an address', 'src/cluster/a.ts', 'const s = `${host}:${port}`;'],
  [
    'any as a word or a member',
    'src/graph/a.ts',
    "const s = 'any: any'; const any = Promise.any(f); // any\n",
  ],
];

for (const [title, path, text] of FINE) {
  test(`let through: ${title}`, (t) => t.deepEqual(messages(path, text), []));
}

const body = (lines: number): string => '  call();\n'.repeat(lines - 2);

for (const head of [
  'function f(a: number): Promise<Map<string, () => void>> {',
  'const f = async ({ a }: { a: number } = {}) => {',
  'class A { async *#f<T extends {}>(a: T): AsyncGenerator<{ a: T }> {',
  'class A { get f() {',
  'function f(): { a: number } {',
]) {
  test(`a function of 61 lines is found: ${head}`, (t) => {
    const text = (lines: number) => `${head}\n${body(lines)}}${head.startsWith('class') ? '}' : ''}`;
    t.deepEqual(messages('src/graph/a.ts', text(60)), []);
    t.deepEqual(messages('src/graph/a.ts', text(61)), ['2: the function has 61 lines; at most 60']);
  });
}

test('tables, classes, types and plain blocks are not functions', (t) => {
  for (const head of [
    'const table = {',
    'class A extends B {',
    'interface A {',
    'if (a) {',
    'for await (const a of b()) {',
    'switch (f(a)) {',
    'try {',
    'type A = {',
  ]) {
    t.deepEqual(findFunctions(mask(`${head}\n${body(70)}}`).bare), [], head);
  }
});

test('braces inside literals and comments do not count', (t) => {
  const text =
    'function f() {\n  g("}", \'{\', `}${h({ a: `{` })}{`, /[/}]{2}/); // }\n  /* } */\n  return a / b / c;\n}';
  const [span, ...more] = findFunctions(mask(text).bare);
  t.is(text.slice(span!.start, span!.end + 1), text.slice('function f'.length));
  t.deepEqual(more, []);
});

test('a file of 501 lines is found', (t) => {
  t.deepEqual(messages('test/a.ts', 'f();\n'.repeat(499)), []);
  t.deepEqual(messages('test/a.ts', 'f();\n'.repeat(500)), ['501: the file has 501 lines; at most 500']);
});

test('a source without a header comment is found', (t) => {
  t.is(
    checkTypeScript({ path: 'src/graph/a.ts', text: 'f();' })[0]?.message.includes('begin with a comment'),
    true,
  );
});

test('a path of one machine is found', (t) => {
  const path = ['', 'home', 'me', 'data'].join('/');
  t.is(messages('test/a.ts', `const s = '${path}';`).length, 1);
  t.deepEqual(messages('test/a.ts', "const s = 'src/home/page';"), []);
});

const includes = (path: string, ...headers: string[]): string[] =>
  checkCpp({ path, text: `// A header.\n${headers.map((header) => `#include ${header}\n`).join('')}` }).map(
    ({ line, message }) => `${line}: ${message}`,
  );

test('includes that break the order of native folders are found', (t) => {
  t.deepEqual(includes('native/core/a.h', '<vector>', '"core/b.h"', '"kernels/k.h"'), [
    '4: core must not include kernels/k.h',
  ]);
  t.deepEqual(
    includes('native/accumulate/a.cc', '"core/a.h"', '"kernels/k.h"', '"accumulate/b.h"', '"collective/c.h"'),
    ['5: accumulate must not include collective/c.h'],
  );
  t.deepEqual(includes('native/node/a.cc', '<napi.h>', '"optimize/f.h"', '"native/tensorflow/s.h"'), [
    '4: node must not include native/tensorflow/s.h',
  ]);
  t.deepEqual(includes('native/core/a.cc', '"../node/a.h"').length, 1);
  t.deepEqual(includes('native/attic/a.cc', '<vector>'), ['1: "attic" is not a folder of native']);
});

test('foreign headers outside their files are found', (t) => {
  t.deepEqual(includes('native/optimize/a.cc', '<napi.h>'), [
    '2: native/optimize/a.cc must not include napi.h',
  ]);
  t.deepEqual(includes('native/collective/local_communicator.cc', '<nccl.h>').length, 1);
  t.deepEqual(includes('native/collective/nccl_communicator.cc', '<nccl.h>'), []);
  t.deepEqual(includes('native/node/a.cc', '<v8.h>').length, 1);
  t.deepEqual(includes('native/core/a.cc', '<tensorflow/c/c_api.h>').length, 1);
});

test('an include in a comment is let through, a header without a comment is found', (t) => {
  t.deepEqual(includes('native/core/a.h', '<vector>\n// #include "node/a.h"'), []);
  t.is(checkCpp({ path: 'native/core/a.h', text: '#pragma once\n' }).length, 1);
});
