import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { encodeGraphDef } from '../../src/graph/codec/graph-def.js';
import { decodeGraphFile } from '../../src/graph/codec/graph-file.js';
import { Graph } from '../../src/graph/graph.js';
import type { Plan } from '../../src/rewrite/plan.js';
import { temporaryFolder } from '../helpers/folder.js';
import { projectPath } from '../helpers/paths.js';
import { type ProcessResult, runCli } from '../helpers/processes.js';

const LINE = projectPath('test', 'fixtures', 'linear-regression.resource.meta');
const TWO = 'nodes: [{address: localhost, port: 2222, tasks: 2}]\n';

interface Setup {
  readonly folder: string;
  readonly out: string;
  /** The command line, with some options replaced; null leaves an option out. */
  readonly run: (
    changes?: Readonly<Record<string, string | null>>,
    ...more: string[]
  ) => Promise<ProcessResult>;
  readonly file: (name: string, content: string | Uint8Array) => string;
}

function setup(t: ExecutionContext): Setup {
  const folder = temporaryFolder(t);
  const out = join(folder, 'out');
  const file = (name: string, content: string | Uint8Array): string => {
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  };
  const resources = file('two.yml', TWO);
  const run: Setup['run'] = (changes = {}, ...more) => {
    const { graph, ...options } = { graph: LINE, resources, strategy: 'ps', task: '0', out, ...changes };
    const args = Object.entries(options).flatMap(([name, value]) =>
      value === null ? [] : [`--${name}=${value}`],
    );
    return runCli('transform', ...(graph === null ? [] : [graph]), ...args, ...more);
  };
  return { folder, out, run, file };
}

const readPlan = (out: string): Plan => JSON.parse(readFileSync(join(out, 'plan.json'), 'utf8'));

test('for data that may be uneven it also writes what a task without data runs, where that is something', async (t) => {
  const { out, run } = setup(t);
  const { code, stdout, stderr } = await run({}, '--uneven=join');
  t.is(code, 0, stderr);
  t.regex(stdout, /^wrote graph\.pb, without_data\.pb, and plan\.json into /);
  const { withoutData } = readPlan(out).rollCall!;
  const { graph } = decodeGraphFile(readFileSync(join(out, withoutData!)));
  t.is(graph.find('x'), undefined);
  t.not(graph.find('train_op'), undefined);

  const stopped = join(out, 'stopped');
  t.is((await run({ out: stopped }, '--uneven=stop')).code, 0);
  t.deepEqual(readdirSync(stopped).sort(), ['graph.pb', 'plan.json']);
  t.is(readPlan(stopped).rollCall!.uneven, 'stop');
});

test('transform writes graph.pb and plan.json for every task, with the same digest', async (t) => {
  const { folder, run } = setup(t);
  const plans: Plan[] = [];
  for (const task of ['0', '1']) {
    const out = join(folder, 'deep', task);
    const { code, stdout, stderr } = await run({ out, task });
    t.is(code, 0, stderr);
    t.regex(stdout, /^wrote graph\.pb and plan\.json into /);
    t.deepEqual(readdirSync(out).sort(), ['graph.pb', 'plan.json']);
    const { graph } = decodeGraphFile(readFileSync(join(out, 'graph.pb')));
    const plan = readPlan(out);
    for (const name of plan.initializers) t.not(graph.find(name), undefined, name);
    plans.push(plan);
  }
  const [first, second] = plans as [Plan, Plan];
  t.is(first.format, 1);
  t.regex(first.digest, /^[0-9a-f]{64}$/);
  t.is(second.digest, first.digest);
  t.deepEqual(first.cluster, { worker: ['localhost:2222', 'localhost:2223'] });
  t.deepEqual([first.task, second.task], [0, 1]);
  t.deepEqual(Object.keys(first.variables), ['W', 'b']);
});

test('the same inputs give the same bytes', async (t) => {
  const { folder, run } = setup(t);
  const outs = ['a', 'b'].map((name) => join(folder, name));
  for (const out of outs) t.is((await run({ out, strategy: 'ps-lb', task: '1' })).code, 0);
  for (const name of ['graph.pb', 'plan.json']) {
    const [a, b] = outs.map((out) => readFileSync(join(out, name))) as [Buffer, Buffer];
    t.true(a.equals(b), name);
  }
});

test('--explain prints the decision, and its strategy gives the same result when passed back', async (t) => {
  const { folder, run, file } = setup(t);
  const explained = await run({ out: null, strategy: 'ps-lb' }, '--explain');
  t.is(explained.code, 0, explained.stderr);
  t.regex(explained.stdout, /variables\n {2}W +dense/);
  const strategy = file(
    'strategy.json',
    explained.stdout.slice(explained.stdout.indexOf('\nstrategy\n') + 10),
  );
  const byName = join(folder, 'name');
  const byFile = join(folder, 'file');
  t.is((await run({ out: byName, strategy: 'ps-lb' })).code, 0);
  t.is((await run({ out: byFile, strategy })).code, 0);
  t.is(readPlan(byFile).digest, readPlan(byName).digest);
});

test('--gradient gives a pair', async (t) => {
  const { run, out } = setup(t);
  const pair = [
    'W|gradients/mul_grad/tuple/control_dependency:0',
    'b|gradients/logits_grad/tuple/control_dependency_1:0',
  ];
  const result = await run({}, ...pair.map((text) => `--gradient=${text}`));
  t.is(result.code, 0, result.stderr);
  t.deepEqual(Object.keys(readPlan(out).variables), ['W', 'b']);
});

test('--feed and --fetch are heard', async (t) => {
  const { run, out } = setup(t);
  const result = await run({}, '--feed=x:0=all', '--fetch=loss:0');
  t.is(result.code, 0, result.stderr);
  t.is(readPlan(out).feeds['x:0']?.split ?? null, null);
});

/** Expects a failure with `code:` first on standard error, and nothing written. */
function expectFailure(
  t: ExecutionContext,
  result: ProcessResult,
  exit: number,
  ...parts: readonly string[]
): void {
  t.is(result.code, exit, result.stderr);
  t.is(result.stdout, '');
  t.regex(result.stderr, /^[A-Z_]+: /);
  for (const part of parts) t.true(result.stderr.includes(part), `"${part}" is not in: ${result.stderr}`);
}

interface BadInput {
  readonly exit?: number;
  readonly changes?: (setup: Setup) => Readonly<Record<string, string | null>>;
  readonly more?: readonly string[];
  readonly parts: readonly string[];
}

const BAD: Readonly<Record<string, BadInput>> = {
  'a truncated file': {
    changes: ({ file }) => ({ graph: file('cut.meta', readFileSync(LINE).subarray(0, 1000)) }),
    parts: ['DATA_LOSS: ', 'cut.meta'],
  },
  'a file that is no graph': {
    changes: ({ file }) => ({ graph: file('text.meta', 'This is not a graph.') }),
    parts: ['text.meta', 'expected'],
  },
  'an empty file': { changes: ({ file }) => ({ graph: file('empty.meta', '') }), parts: ['empty.meta'] },
  'a graph that does not exist': {
    changes: () => ({ graph: 'missing.meta' }),
    parts: ['NOT_FOUND: ', 'missing.meta'],
  },
  'a graph without variables': {
    changes: ({ file }) => {
      const graph = new Graph();
      graph.add({ name: 'a', type: 'NoOp' });
      return { graph: file('none.pb', encodeGraphDef(graph)) };
    },
    parts: ['variable'],
  },
  'a gradient pair of an unknown variable': { more: ['--gradient=V|loss:0'], parts: ['"V'] },
  'a gradient pair with an unknown gradient': { more: ['--gradient=W|nothing:0'], parts: ['nothing'] },
  'a gradient pair without separator': { more: ['--gradient=W'], parts: ['"W"'] },
  'a resource specification without chief': {
    changes: ({ file }) => ({ resources: file('none.yml', 'nodes: [{address: a}, {address: b}]') }),
    parts: ['INVALID_ARGUMENT: ', 'exactly one node with "chief: true"', 'none.yml'],
  },
  'a resource specification with two chiefs': {
    changes: ({ file }) => ({
      resources: file('both.yml', 'nodes: [{address: a, chief: true}, {address: b, chief: true}]'),
    }),
    parts: ['INVALID_ARGUMENT: ', 'exactly one node with "chief: true"', 'both.yml'],
  },
  'a resource specification that does not exist': {
    changes: () => ({ resources: 'missing.yml' }),
    parts: ['NOT_FOUND: ', 'missing.yml'],
  },
  'an unknown strategy': {
    changes: () => ({ strategy: 'pss' }),
    parts: ['INVALID_ARGUMENT: ', 'one of ps, ps-lb', '"pss"'],
  },
  'a strategy file that does not exist': {
    changes: () => ({ strategy: 'missing.json' }),
    parts: ['NOT_FOUND: ', 'missing.json'],
  },
  'a strategy file that holds no strategy': {
    changes: ({ file }) => ({ strategy: file('mine.strategy', 'ps, please') }),
    parts: ['INVALID_ARGUMENT: ', 'mine.strategy', 'one of ps, ps-lb', '"ps, please"'],
  },
  'a strategy that is a folder': {
    changes: ({ folder }) => ({ strategy: folder }),
    parts: ['FAILED_PRECONDITION: '],
  },
  'a strategy with a wrong field': {
    changes: () => ({
      strategy: '{"format": 1, "builder": "x", "replicas": [], "variables": [{"variable": 1}]}',
    }),
    parts: ['INVALID_ARGUMENT: ', 'strategy.variables[0]'],
  },
  'a task out of range': { changes: () => ({ task: '2' }), parts: ['OUT_OF_RANGE: ', 'from 0 to 1', '2'] },
  'a negative task': { changes: () => ({ task: '-1' }), parts: ['OUT_OF_RANGE: ', '-1'] },
  'a folder that cannot be written': {
    changes: ({ file }) => ({ out: join(file('plain', 'a file'), 'out') }),
    parts: ['FAILED_PRECONDITION: ', 'plain'],
  },
  'an out that is a file': {
    changes: ({ file }) => ({ out: file('plain', 'a file') }),
    parts: ['FAILED_PRECONDITION: '],
  },
  'a feed that does not exist': { more: ['--feed=nothing:0=all'], parts: ['nothing'] },
  'two rules for a feed': { more: ['--feed=x=all', '--feed=x:0=split:0'], parts: ['"x:0"', 'under "x"'] },
  'a graph without a name': { exit: 2, changes: () => ({ graph: '' }), parts: ['one graph file'] },
  'a fetch that does not exist': { more: ['--fetch=nothing:0'], parts: ['NOT_FOUND: ', 'nothing'] },
  'another word for them': { exit: 2, more: ['--uneven=wait'], parts: ['stop or join', '"wait"'] },
  'no graph': { exit: 2, changes: () => ({ graph: null }), parts: ['INVALID_ARGUMENT: ', 'one graph file'] },
  'two graphs': { exit: 2, more: [LINE], parts: ['one graph file'] },
  'no strategy': { exit: 2, changes: () => ({ strategy: null }), parts: ['--strategy'] },
  'no out': { exit: 2, changes: () => ({ out: null }), parts: ['--out'] },
  'a task that is no number': { exit: 2, changes: () => ({ task: 'one' }), parts: ['--task', '"one"'] },
  'an unknown option': { exit: 2, more: ['--fast'], parts: ['--fast'] },
  'a feed without rule': { exit: 2, more: ['--feed=x:0'], parts: ['--feed', 'name=split:axis'] },
};

for (const [title, { exit = 1, changes, more = [], parts }] of Object.entries(BAD)) {
  test(`refused: ${title}`, async (t) => {
    const made = setup(t);
    const result = await made.run(changes?.(made) ?? {}, ...more);
    expectFailure(t, result, exit, ...parts);
    t.false(existsSync(join(made.folder, 'out', 'graph.pb')));
  });
}

test('mistakes of the command line are told in words of ours', async (t) => {
  const cases: readonly [args: string[], exit: number, ...parts: string[]][] = [
    [['--task', '-1', '--out', 'x', '--resources', 'none.yml', '--strategy', 'ps'], 1, 'none.yml'],
    [['--task', '-one'], 2, '--task <value>', 'the option "-one"'],
    [['--task', '--out', 'x'], 2, '--task <value>', 'the option "--out"'],
    [['--out', 'x', '--task'], 2, '--task <value> but received none'],
    [['--out='], 2, '--out <value> but received none'],
    [['-t', '1'], 2, '--task', '"-t"'],
    [['--explain=yes'], 2, '--explain without a value', '"yes"'],
    [['--strategy', 'ps', '--strategy', 'ps-lb'], 2, '--strategy once'],
  ];
  for (const [args, exit, ...parts] of cases) {
    const result = await runCli('transform', LINE, ...args);
    expectFailure(t, result, exit, ...parts);
    t.notRegex(result.stderr, /argument is ambiguous|Did you|Unknown option/, 'words of Node');
  }
});

test('a failed write leaves no temporary file and no half of the result', async (t) => {
  const { run, out } = setup(t);
  mkdirSync(join(out, 'plan.json'), { recursive: true });
  expectFailure(t, await run(), 1, 'FAILED_PRECONDITION: ');
  t.deepEqual(readdirSync(out), ['plan.json']);
});

test('--help, --version and an unknown command', async (t) => {
  for (const args of [['--help'], ['transform', '--help']]) {
    const help = await runCli(...args);
    t.is(help.code, 0);
    t.true(help.stdout.includes('--resources <yml>'));
  }
  const { version } = JSON.parse(readFileSync(projectPath('package.json'), 'utf8')) as { version: string };
  t.is((await runCli('--version')).stdout, `${version}\n`);
  expectFailure(t, await runCli('translate'), 2, '"translate"');
  expectFailure(t, await runCli(), 2, 'none');
});

test('an output folder that cannot be made is a typed error, also where making folders never ends', async (t) => {
  const { folder, run, file } = setup(t);
  const inFile = await run({ out: join(file('a-file', ''), 'deep', 'er') });
  t.is(inFile.code, 1);
  t.regex(inFile.stderr, /^FAILED_PRECONDITION: /);
  const isFile = await run({ out: join(folder, 'a-file') });
  t.regex(isFile.stderr, /^FAILED_PRECONDITION: /);
  if (process.platform !== 'linux') return;
  const { code, stderr } = await run({ out: '/proc/no-such-folder/x' });
  t.is(code, 1);
  t.regex(stderr, /^(NOT_FOUND|PERMISSION_DENIED): Writing into "\/proc\/no-such-folder\/x"/);
});

test('of a binary file in place of a strategy or a specification, little is shown and all of it can be printed', async (t) => {
  const { run, file } = setup(t);
  const noise = Buffer.concat([
    Buffer.of(0x7f),
    Buffer.from('ELF\x02\x01\x00\x00'),
    Buffer.alloc(3000, 0xfe),
  ]);
  const quoted = (before: string, after: string) =>
    Buffer.concat([Buffer.from(before), Buffer.alloc(3000, 0xfe), Buffer.from(after)]);
  const cases = [
    { strategy: file('noise.json', noise) },
    { strategy: file('name.json', quoted('{"builder": "', '"}')) },
    { strategy: file('key.json', quoted('{"builder": "ps", "', '": 1}')) },
    { strategy: file('cut.json', quoted('{', '')) },
    { resources: file('noise.yml', noise) },
    { resources: file('text.yml', quoted('nodes: "', '"')) },
    { resources: file('key.yml', `${quoted('', '').subarray(0, 900).toString()}: 3\n`) },
    { resources: file('address.yml', quoted('nodes: [{address: "', '"}]')) },
  ];
  for (const changes of cases) {
    const { code, stderr } = await run(changes);
    t.is(code, 1, stderr);
    t.regex(stderr, /^INVALID_ARGUMENT: [\p{L}\p{N}\p{P}\p{S} ]+\n$/u);
    t.false(stderr.includes('\uFFFD'), stderr);
    t.true(stderr.length < 450, stderr);
  }
});
