/** The rules of the house for native sources: which folder includes which, who may include foreign headers, how long files may be. */
import { lineOf, mask } from './mask.js';
import { checkLength, checkMachinePaths, type SourceFile, type Violation } from './rules.js';

/** core <- kernels <- {accumulate, collective, optimize} <- step <- {node, tensorflow}; neighbours never see each other. */
const FOLDERS: Readonly<Record<string, readonly string[]>> = {
  core: [],
  kernels: ['core'],
  accumulate: ['core', 'kernels'],
  collective: ['core', 'kernels'],
  optimize: ['core', 'kernels'],
  step: ['core', 'kernels', 'accumulate', 'optimize'],
  node: ['core', 'kernels', 'accumulate', 'collective', 'optimize', 'step'],
  tensorflow: ['core', 'kernels', 'accumulate', 'collective', 'optimize', 'step'],
};

/** Headers of other projects, and the only files that may include them. */
const FOREIGN: readonly [header: RegExp, files: RegExp][] = [
  [/^(napi|node_api|js_native_api|uv)\.h$|^napi-inl\.h$/, /^native\/node\//],
  [/^(v8|node|nan)\.h$/, /^$/],
  [/^nccl\.h$/, /^native\/collective\/nccl_communicator\.(h|cc|cu)$/],
  [/^gloo\//, /^native\/collective\/gloo_communicator\.(h|cc)$/],
  [/^tensorflow\//, /^native\/tensorflow\//],
];

/** Violations of one file of native/ or bench/native/. */
export function checkCpp(file: SourceFile): Violation[] {
  return [
    ...checkLength(file),
    ...checkMachinePaths(file),
    ...checkIncludes(file),
    ...checkHeaderComment(file),
  ];
}

function checkIncludes({ path, text }: SourceFile): Violation[] {
  const folder = /^native\/([^/]+)\//.exec(path)?.[1];
  if (folder === undefined) return [];
  const allowed = FOLDERS[folder];
  if (allowed === undefined) return [{ path, line: 1, message: `"${folder}" is not a folder of native` }];
  const { code } = mask(text);
  return [...code.matchAll(/^[ \t]*#[ \t]*include[ \t]*["<]([^">]+)[">]/gm)].flatMap((match) => {
    const message = includeProblem(path, folder, allowed, match[1]!);
    return message === undefined ? [] : [{ path, line: lineOf(text, match.index), message }];
  });
}

function includeProblem(
  path: string,
  folder: string,
  allowed: readonly string[],
  header: string,
): string | undefined {
  if (header.includes('..')) return `include ${header} from the root of native, without ".."`;
  const other = /^(?:native\/)?([^/]+)\//.exec(header)?.[1];
  if (other !== undefined && Object.hasOwn(FOLDERS, other) && !header.startsWith('tensorflow/c')) {
    return other === folder || allowed.includes(other) ? undefined : `${folder} must not include ${header}`;
  }
  const rule = FOREIGN.find(([pattern]) => pattern.test(header));
  return rule === undefined || rule[1].test(path) ? undefined : `${path} must not include ${header}`;
}

function checkHeaderComment({ path, text }: SourceFile): Violation[] {
  if (!path.endsWith('.h') || text.startsWith('//') || text.startsWith('/*')) return [];
  return [
    { path, line: 1, message: 'the header does not open with a comment (what, who owns, thread safety)' },
  ];
}
