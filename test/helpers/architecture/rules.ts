/**
 * The rules of the house for one source file: who may import whom, how long files and functions may be, where names are parsed, which
 * language features are not used. Each rule is a function from a file to its violations, so that tests can show it fails when it should.
 */
import { posix } from 'node:path';
import { findFunctions } from './functions.js';
import { lineOf, type MaskedSource, mask } from './mask.js';

export interface SourceFile {
  /** From the project's root, with forward slashes. */
  readonly path: string;
  readonly text: string;
}

export interface Violation {
  readonly path: string;
  readonly line: number;
  readonly message: string;
}

export const MAX_FILE_LINES = 500;
export const MAX_FUNCTION_LINES = 60;

/** All violations of a TypeScript file. */
export function checkTypeScript(file: SourceFile): Violation[] {
  const masked = mask(file.text);
  const inSource = file.path.startsWith('src/');
  return [
    ...checkLength(file),
    ...checkFunctions(file, masked),
    ...checkFeatures(file, masked),
    ...checkMachinePaths(file),
    ...(inSource ? checkSource(file, masked) : []),
  ];
}

/** What holds in src only. */
function checkSource(file: SourceFile, masked: MaskedSource): Violation[] {
  return [
    ...checkImports(file, masked),
    ...checkNames(file, masked),
    ...checkHeader(file),
    ...checkState(file, masked),
  ];
}

function violation({ path, text }: SourceFile, at: number, message: string): Violation {
  return { path, line: lineOf(text, at), message };
}

export function checkLength({ path, text }: SourceFile): Violation[] {
  const lines = text.trimEnd().split('\n').length;
  if (lines <= MAX_FILE_LINES) return [];
  return [{ path, line: lines, message: `the file has ${lines} lines; at most ${MAX_FILE_LINES}` }];
}

function checkFunctions(file: SourceFile, { bare }: MaskedSource): Violation[] {
  return findFunctions(bare).flatMap(({ start, end }) => {
    const lines = lineOf(bare, end) - lineOf(bare, start) + 1;
    if (lines <= MAX_FUNCTION_LINES) return [];
    return [violation(file, start, `the function has ${lines} lines; at most ${MAX_FUNCTION_LINES}`)];
  });
}

function checkHeader(file: SourceFile): Violation[] {
  if (/^(#!.*\n)?\/\*\*/.test(file.text)) return [];
  return [violation(file, 0, 'the file does not begin with a comment that says what it is')];
}

/** Two engines in one process must not meet in a module's variable. */
function checkState(file: SourceFile, { bare }: MaskedSource): Violation[] {
  return [...bare.matchAll(/^(?:export )?(?:let|var)\b/gm)].map((match) =>
    violation(file, match.index, 'no mutable state of a module'),
  );
}

const FEATURES: readonly [pattern: RegExp, message: string][] = [
  [/\bexport\s+default\b/g, 'no default export'],
  [/\benum\s+[A-Za-z_]\w*\s*\{/g, 'no enum'],
  [/\b(namespace|module)\s+[A-Za-z_][\w.]*\s*\{/g, 'no namespace'],
  [/([:<|&,([=]|\b(?:as|extends|satisfies|keyof))\s*any\b(?!\s*[:(.])/g, 'no any'],
];

function checkFeatures(file: SourceFile, { bare }: MaskedSource): Violation[] {
  return FEATURES.flatMap(([pattern, message]) =>
    [...bare.matchAll(pattern)].map((match) => violation(file, match.index, message)),
  );
}

/** Absolute paths of somebody's machine. Put together from parts, so that this file passes its own rule. */
const MACHINE_PATH = new RegExp(`(?<![\\w.~-])/(${['home', 'root', 'Users', 'work'].join('|')})/\\w`, 'g');

export function checkMachinePaths(file: SourceFile): Violation[] {
  return [...file.text.matchAll(MACHINE_PATH)].map((match) =>
    violation(file, match.index, `a path of one machine: ${match[0]}...`),
  );
}

/**
 * What each room may import: a room, or one module of it (`graph/device`); `type ` before it admits types only. Its own room is always
 * open to it.
 */
const ROOMS: Readonly<Record<string, readonly string[]>> = {
  errors: [],
  check: ['errors'],
  graph: ['errors'],
  cluster: ['errors', 'graph/device'],
  // A builder reads a graph and cannot edit it: not the Graph class, the codec or verify.
  strategy: [
    'errors',
    'cluster',
    ...['attributes', 'dtype', 'shape', 'name', 'operation', 'training-graph'].map((file) => `graph/${file}`),
  ],
  rewrite: ['errors', 'graph', 'cluster', 'strategy'],
  addon: ['errors', 'graph/dtype'],
  runtime: ['errors', 'check', 'graph', 'cluster', 'addon', 'type rewrite/plan'],
  tfjs: ['errors', 'graph', 'strategy', 'addon', 'engine'],
  launch: ['errors', 'cluster', 'strategy', 'engine', 'report'],
  report: ['errors', 'graph', 'type rewrite', 'type runtime'],
  engine: ['errors', 'check', 'graph', 'cluster', 'strategy', 'rewrite', 'runtime', 'addon', 'report'],
};

/** Packages that belong to one room; all others are free. */
const PACKAGES: readonly [pattern: RegExp, rooms: readonly string[]][] = [
  [/^yaml$/, ['cluster']],
  [/^@tensorflow\//, ['runtime', 'tfjs']],
  [/^node-gyp-build$/, ['addon']],
];

interface Import {
  readonly at: number;
  readonly target: string;
  readonly typeOnly: boolean;
}

function findImports({ code, bare }: MaskedSource): Import[] {
  const patterns = [
    /\b(import|export)\b(\s+type\b)?[^;'"`]*?\bfrom\s*['"]([^'"]+)['"]/g,
    /\b(import)\b(\s+type\b)?\s*\(?\s*['"]([^'"]+)['"]/g,
  ];
  return patterns.flatMap((pattern) =>
    [...code.matchAll(pattern)]
      .filter((match) => bare.startsWith(match[1]!, match.index))
      .map((match) => ({ at: match.index, target: match[3]!, typeOnly: match[2] !== undefined })),
  );
}

function checkImports(file: SourceFile, masked: MaskedSource): Violation[] {
  const room = roomOf(file.path);
  if (room === 'index') return [];
  const allowed = ROOMS[room];
  if (allowed === undefined) return [violation(file, 0, `"${room}" is not a room of src`)];
  return findImports(masked).flatMap(({ at, target, typeOnly }) => {
    const wrong = target.startsWith('.')
      ? relativeProblem(file.path, target, room, allowed, typeOnly)
      : packageProblem(target, room);
    return wrong === undefined ? [] : [violation(file, at, wrong)];
  });
}

function relativeProblem(
  path: string,
  target: string,
  room: string,
  allowed: readonly string[],
  typeOnly: boolean,
): string | undefined {
  const module = posix.join(posix.dirname(path), target).replace(/\.js$/, '');
  if (!module.startsWith('src/')) return `src must not import ${target}`;
  const inside = module.slice('src/'.length);
  const other = roomOf(module);
  const open = (rule: string): boolean => rule === other || rule === inside;
  if (other === room || allowed.some(open)) return undefined;
  if (typeOnly && allowed.some((rule) => rule.startsWith('type ') && open(rule.slice('type '.length))))
    return undefined;
  return `${room} must not import ${inside}`;
}

function packageProblem(target: string, room: string): string | undefined {
  const rule = PACKAGES.find(([pattern]) => pattern.test(target));
  return rule === undefined || rule[1].includes(room) ? undefined : `${room} must not import ${target}`;
}

/** `src/graph/name.ts` -> graph; `src/errors.ts` -> errors. */
function roomOf(path: string): string {
  return path.replace(/^src\//, '').replace(/[./].*$/, '');
}

/** The two files that take names of operations, tensors and devices apart. */
const NAME_PARSERS = ['src/graph/name.ts', 'src/graph/device.ts'];
const SEARCH =
  /\.(?:split|indexOf|lastIndexOf|startsWith|endsWith|includes|charAt)\(\s*(['"`])([/:^]|:0|loc:@|\/?(?:job|task|device|replica):?)\1/g;
const COMPARE = /[!=]==\s*(['"`])[/:^]\1|(['"`])[/:^]\2\s*[!=]==/g;
/** A pattern for an output index or a control mark. */
const INDEX_PATTERN = /(?<![a-z]):(\\d|0\$|\(\\d)|^\/\^\\\^/;
/** A template that is nothing but a name: `${a}/b`, `${a}:0`, `^${a}`. Messages have blanks in them. */
const COMPOSE = /^`(?:\^|loc:@)?(?:\$\{[^{}]*\}|[\w.])+(?:[/:](?:\$\{[^{}]*\}|[\w.])+)*`$/;
/** Rooms that handle names of operations; elsewhere such a template is an address or a ratio. */
const NAMING_ROOMS = ['graph', 'rewrite', 'strategy', 'runtime'];

function checkNames(file: SourceFile, masked: MaskedSource): Violation[] {
  if (NAME_PARSERS.includes(file.path)) return [];
  const { code, bare } = masked;
  const parsed = [SEARCH, COMPARE].flatMap((pattern) =>
    [...code.matchAll(pattern)]
      .filter((match) => bare[match.index] === match[0][0])
      .map((match) => match.index),
  );
  const matched = masked.regexps.filter(({ text }) => INDEX_PATTERN.test(text)).map(({ at }) => at);
  const composed = NAMING_ROOMS.includes(roomOf(file.path))
    ? masked.templates.filter(({ text }) => isName(text)).map(({ at }) => at)
    : [];
  return [
    ...[...parsed, ...matched].map((at) =>
      violation(file, at, 'names are parsed in graph/name.ts and graph/device.ts only'),
    ),
    ...composed.map((at) =>
      violation(file, at, 'names are composed in graph/name.ts and graph/device.ts only'),
    ),
  ];
}

function isName(template: string): boolean {
  return (
    COMPOSE.test(template) && template.includes('${') && /[/:^]/.test(template.replace(/\$\{[^{}]*\}/g, ''))
  );
}
