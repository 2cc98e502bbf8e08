import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { Overview, TaskTraffic } from '../../src/engine.js';
import { fixtureNamed, graphPath } from '../helpers/fixtures.js';
import { temporaryFolder } from '../helpers/folder.js';
import { type ProcessResult, runCli } from '../helpers/processes.js';

function planOf(
  t: ExecutionContext,
  fixture: string,
  tasks: number,
  ...more: readonly string[]
): Promise<ProcessResult> {
  const resources = join(temporaryFolder(t), 'resources.yml');
  writeFileSync(resources, `nodes: [{address: localhost, port: 2222, tasks: ${tasks}}]\n`);
  const strategy = more.some((each) => each.startsWith('--strategy')) ? [] : ['--strategy', 'ps'];
  return runCli('plan', graphPath(fixtureNamed(fixture)), '--resources', resources, ...strategy, ...more);
}

async function overviewOf(
  t: ExecutionContext,
  fixture: string,
  tasks: number,
  ...more: readonly string[]
): Promise<Overview> {
  const { code, stdout, stderr } = await planOf(t, fixture, tasks, '--json', ...more);
  t.is(code, 0, stderr);
  return JSON.parse(stdout) as Overview;
}

/** `[sent, received]` of each task. */
function bytes(traffic: readonly TaskTraffic[]): readonly (readonly [number, number])[] {
  return traffic.map(({ sent, received }) => [sent.bytes, received.bytes]);
}

test('a dense variable goes to every other task once, and its gradient comes back', async (t) => {
  const { variables, traffic, shared } = await overviewOf(t, 'mnist-cnn.resource', 3);
  const size = 7 * 7 * 16 * 10 * 4;
  t.is(variables['dense/kernel']?.bytes, size);
  // Two workers read the kernel on the chief; the backward pass takes it by the same read.
  t.deepEqual(bytes(variables['dense/kernel']!.traffic), [
    [2 * size, 2 * size],
    [size, size],
    [size, size],
  ]);
  const all = Object.values(variables).reduce((sum, variable) => sum + variable.bytes, 0);
  t.deepEqual(bytes(traffic), [
    [2 * all, 2 * all],
    [all, all],
    [all, all],
  ]);
  t.deepEqual(bytes(shared), [
    [0, 0],
    [0, 0],
    [0, 0],
  ]);
});

test('staleness is told, and what the rounds in the background send is counted with the steps', async (t) => {
  const strategy = '{"builder": "ps", "staleness": 2}';
  const { stdout } = await planOf(t, 'words-adam.resource', 2, `--strategy=${strategy}`);
  t.regex(stdout, /dense\/kernel +dense +parameter-server, staleness 2/);
  t.regex(stdout, /embedding +sparse \(concatenated\) +parameter-server, staleness 2/);
  const size = 7 * 7 * 16 * 10 * 4;
  const { variables } = await overviewOf(t, 'mnist-cnn.resource', 3, `--strategy=${strategy}`);
  t.is(variables['dense/kernel']?.staleness, 2);
  t.deepEqual(bytes(variables['dense/kernel']!.traffic), [
    [2 * size, 2 * size],
    [size, size],
    [size, size],
  ]);
});

test('a sparse variable costs by the row: the row that is read, the gradient row, and an index for both', async (t) => {
  for (const kind of ['resource', 'reference']) {
    const { variables } = await overviewOf(t, `words-sgd.${kind}`, 2);
    const { traffic, sparseForm } = variables['embedding']!;
    t.is(sparseForm, 'combined');
    const row = 4 * 4;
    const index = 4;
    const nothing = { bytes: 0, perRowRead: 0, perRowServed: 0, perRowGradient: 0 };
    t.deepEqual(traffic[1]!.sent, { ...nothing, perRowRead: index, perRowGradient: row });
    t.deepEqual(traffic[1]!.received, { ...nothing, perRowRead: row });
    t.deepEqual(traffic[0]!.received, { ...nothing, perRowServed: index, perRowGradient: row });
    t.deepEqual(traffic[0]!.sent, { ...nothing, perRowServed: row });
  }
});

test('what one task sends another receives, whatever the strategy and the fixture', async (t) => {
  for (const fixture of ['spam-clipped.resource', 'words-adam.reference', 'mnist-cnn-clipped.resource']) {
    const { traffic, unmeasured } = await overviewOf(t, fixture, 3, '--strategy', 'ps-lb');
    const total = (way: 'sent' | 'received'): number =>
      traffic.reduce((sum, task) => sum + task[way].bytes, 0);
    t.true(total('sent') > 0);
    t.is(total('sent'), total('received'));
    t.deepEqual(unmeasured, []);
  }
});

test('a collective goes around a ring: twice for a sum, once for slices, in the type in which it travels', async (t) => {
  const size = 7 * 7 * 16 * 10 * 4;
  const all = size + 4 * (3 * 3 * 8 + 8 + 3 * 3 * 8 * 16 + 16 + 10);
  const dense = (compressor: string): Promise<Overview> => {
    const strategy = JSON.stringify({ builder: 'all-reduce', compressor });
    return overviewOf(t, 'mnist-cnn.resource', 3, '--strategy', strategy);
  };
  const whole = await dense('none');
  // They travel together: of the third that is rounded up, each variable has a part.
  const [each, own] = [Math.ceil((all * 4) / 3), (size * 4) / 3];
  t.deepEqual(bytes(whole.traffic), [
    [each, each],
    [each, each],
    [each, each],
  ]);
  t.true(Math.abs(whole.variables['dense/kernel']!.traffic[0]!.sent.bytes - own) < 1);
  t.is((await dense('bfloat16')).traffic[0]!.sent.bytes, Math.ceil((all * 2) / 3));
  // A thousandth of the elements goes to two others, each with its position.
  const largest = (await dense('top-k-error-feedback')).variables['dense/kernel']!.traffic;
  t.is(largest[0]!.sent.bytes, 2 * Math.round(size / 4 / 1000) * (4 + 4));
  const { variables } = await overviewOf(t, 'words-sgd.resource', 3, '--strategy', 'all-reduce');
  const { traffic, synchronizer, sparseForm } = variables['embedding']!;
  t.deepEqual([synchronizer, sparseForm], ['collective', 'concatenated']);
  // A row of four elements and its index go to two others, and one count.
  t.deepEqual(traffic[1]!.sent, {
    bytes: 2 * 4,
    perRowRead: 0,
    perRowServed: 0,
    perRowGradient: 2 * (4 * 4 + 4),
  });
  t.deepEqual(traffic[1]!.received, traffic[1]!.sent);
});

test('from how many rows of a task on a variable is reduced as a dense gradient is told, with its bytes', async (t) => {
  const { variables } = await overviewOf(t, 'words-sgd.resource', 3, '--strategy', 'all-reduce');
  const bytes = (4 * 60 * (4 * 4 + 4)) / 3;
  t.deepEqual(variables['embedding']!.denseFrom, [{ rows: 33, bytes }]);
  const { stdout } = await planOf(t, 'words-sgd.resource', 3, '--strategy', 'all-reduce');
  t.regex(
    stdout,
    /collective, distinct .+, as a dense gradient from 33 gradient rows of a task on \(1600 bytes\)/,
  );
  const always = '{"builder": "all-reduce", "sparse": "dense"}';
  const forced = await overviewOf(t, 'words-sgd.resource', 3, '--strategy', always);
  t.like(forced.variables['embedding']!.traffic[1]!.sent, { bytes, perRowGradient: 0 });
  const text = await planOf(t, 'words-sgd.resource', 3, '--strategy', always);
  t.regex(text.stdout, /as a dense gradient \(1600 bytes\)/);
});

test('one task sends nothing', async (t) => {
  const { traffic } = await overviewOf(t, 'spam-clipped.resource', 1);
  t.deepEqual(bytes(traffic), [[0, 0]]);
});

test('the text has every variable, why its sparse form, its device, and bytes by task', async (t) => {
  const { code, stdout, stderr } = await planOf(t, 'spam-clipped.resource', 2, '--strategy', 'ps-lb');
  t.is(code, 0, stderr);
  t.regex(
    stdout,
    /embedding +sparse \(concatenated\) +parameter-server +\/job:worker\/task:0\S+ +1 shard +16000 bytes +L2Loss/,
  );
  t.regex(stdout, /embedding +task 1 +sends 4 per row read \+ 36 per gradient row +receives 32 per row read/);
  t.regex(stdout, /how many there are depends on the data/);
  t.notRegex(stdout, /only the chief runs/);
});

test('--explain lists what only the chief runs, shared operations with device and why, and names not to be fetched alone', async (t) => {
  const { stdout } = await planOf(t, 'spam-clipped.resource', 2, '--strategy', 'ps-lb', '--explain');
  t.regex(stdout, /operations that only the chief runs\n(.+\n)* {2}global_norm\/L2Loss\n/);
  t.regex(
    stdout,
    /shared operations\n(.+\n)* {2}global_norm\/stack +\S+task:1\S+ +computed from aggregates on/,
  );
  t.regex(stdout, /not to be fetched alone on the chief\n(.+\n)* {2}gradsync\/embedding\/enqueue_gradient /);
  t.regex(stdout, /not to be fetched on the other tasks\n(.+\n)* {2}save\/restore_all /);
  const { chiefOnly, placement, notFetchable } = await overviewOf(t, 'spam-clipped.resource', 2, '--explain');
  t.true(chiefOnly.includes('global_norm/L2Loss'));
  t.deepEqual(placement, {});
  t.true('save/restore_all' in notFetchable.workers);
});

test('two runs print the same bytes', async (t) => {
  const [one, two] = await Promise.all([0, 1].map(() => planOf(t, 'words-adam.resource', 2, '--explain')));
  t.is(one?.stdout, two?.stdout);
});

const refuses = test.macro<[args: readonly string[], exit: number, message: RegExp]>({
  exec: async (t, args, exit, message) => {
    const { code, stdout, stderr } = await planOf(t, 'linear-regression.resource', 2, ...args);
    t.is(code, exit);
    t.is(stdout, '');
    t.regex(stderr, message);
  },
  title: (_, args) => `refused: plan ${args.join(' ')}`,
});

test(refuses, ['--task', '0'], 2, /^INVALID_ARGUMENT: .*gradsync plan.*--task/);
test(refuses, ['another.meta'], 2, /^INVALID_ARGUMENT: .*one graph file.*another\.meta/);
test(refuses, ['--strategy', ''], 2, /^INVALID_ARGUMENT: .*--strategy <value>/);
test(refuses, ['--strategy', 'pss'], 1, /^INVALID_ARGUMENT: .*"pss"/);
test(refuses, ['--fetch', 'nothing:0'], 1, /^NOT_FOUND: Fetch.*"nothing:0"/);
test(refuses, ['--gradient', 'nothing|x:0'], 1, /nothing/);
test(
  refuses,
  ['--strategy', '{"builder": "ps", "staleness": 1, "proxy": true}'],
  1,
  /^UNIMPLEMENTED: Plan of variable "W"/,
);

test('a variable in shards has one line: where they are, how many, the bytes of all', async (t) => {
  const strategy = '{"builder": "partitioned-ps", "shards": 3, "minShardBytes": 1}';
  const { code, stdout, stderr } = await planOf(t, 'words-prime.resource', 2, '--strategy', strategy);
  t.is(code, 0, stderr);
  const line = stdout.split('\n').find((each) => /^ *embedding .*shards/.test(each)) ?? '';
  t.regex(
    line,
    /sparse \(combined\) +parameter-server, distinct rows in gradients +(\/job:worker\/task:\d\/device:CPU:0 ?){3} +3 shards +732 bytes/,
  );
  t.false(stdout.includes('part_0'));
});
