/** The training job of the README, run as a process on real e-mails, and what it says to bad options. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { shuffledRows } from '../../examples/train/dataset.js';
import { maxDifference, type Row, type WorkerBytes } from '../../examples/train/table.js';
import { temporaryFolder } from '../helpers/folder.js';
import { projectPath } from '../helpers/paths.js';
import { runProgram } from '../helpers/processes.js';

const SCRIPT = projectPath('dist', 'examples', 'train.js');
/** The two runs sum the same gradients in another order; the job promises this bound after 100 steps. */
const WEIGHT_BOUND = 1e-5;

const train = (...args: readonly string[]) => runProgram(SCRIPT, args);

/** Of both workers: their steps, what they computed and what they waited for. */
function checkTrace(t: ExecutionContext, file: string): void {
  const { traceEvents } = JSON.parse(readFileSync(file, 'utf8')) as {
    traceEvents: { name: string; cat?: string; tid: number }[];
  };
  for (const task of [0, 1]) {
    const events = traceEvents.filter(({ tid }) => tid === task);
    const kinds = new Set(events.map(({ cat }) => cat));
    for (const kind of ['step', 'kernel', 'copy', 'wait']) t.true(kinds.has(kind), `${kind} of task ${task}`);
    t.true(events.some(({ name }) => name === 'MatMul'));
  }
  t.true(traceEvents.some(({ tid, cat }) => tid === 0 && cat === 'update'));
}

test.serial(
  'the spam classifier trains alike with one worker and with two, and the table says so',
  async (t) => {
    const folder = temporaryFolder(t);
    const [json, trace] = [join(folder, 'table.json'), join(folder, 'trace.json')];
    const { code, stdout, stderr } = await train(
      '--job',
      'spam',
      '--epochs',
      '2',
      '--batch',
      '64',
      '--json',
      json,
      '--trace',
      trace,
    );
    t.is(code, 0, stderr);
    checkTrace(t, trace);
    t.regex(stdout, /job +workers +examples\/s +speed-up +ceiling +test accuracy +max weight difference/);
    t.regex(stderr, /spam 100 % 1 worker: .*; 2 workers: .*test accuracy/);
    const { jobs } = JSON.parse(readFileSync(json, 'utf8')) as { jobs: Row[] };
    t.deepEqual(
      jobs.map(({ name, workers }) => [name, workers]),
      [
        ['spam', 1],
        ['spam', 2],
      ],
    );
    const [one, two] = jobs as [Row, Row];
    t.regex(
      stdout,
      /job +worker +sent per step +received per step\n[- ]+\nspam +0 +\d+ bytes +\d+ bytes\nspam +1 /,
    );
    t.deepEqual(one.bytesPerStep, [{ sent: 0, received: 0 }]);
    const [first, second] = two.bytesPerStep as [WorkerBytes, WorkerBytes];
    t.true(first.sent > 0 && second.sent > 0);
    t.deepEqual(first, { sent: second.received, received: second.sent });
    t.true(one.accuracy > 90, `accuracy ${one.accuracy}`);
    t.true(Math.abs(one.accuracy - two.accuracy) <= 0.5);
    t.true(two.maxWeightDifference <= WEIGHT_BOUND, `difference ${two.maxWeightDifference}`);
    t.true(two.examplesPerSecond > 0 && two.ceiling > 0 && two.speedup > 0);
  },
);

test.serial('with both jobs each has a trace of its own, and no file is left empty', async (t) => {
  const folder = temporaryFolder(t);
  const args = ['--workers', '1', '--epochs', '1', '--batch', '480'];
  const { code, stderr } = await train(...args, '--trace', join(folder, 'trace.json'));
  t.is(code, 0, stderr);
  t.deepEqual(readdirSync(folder).sort(), ['trace.mnist.json', 'trace.spam.json']);
  for (const file of readdirSync(folder)) {
    const { traceEvents } = JSON.parse(readFileSync(join(folder, file), 'utf8')) as {
      traceEvents: unknown[];
    };
    t.true(traceEvents.length > 100, file);
  }
});

test('a command line that is refused leaves no files', async (t) => {
  const folder = temporaryFolder(t);
  const args = ['--json', join(folder, 't.json'), '--trace', join(folder, 'trace.json'), '--strategy', 'pss'];
  t.is((await train(...args)).code, 1);
  t.deepEqual(readdirSync(folder), []);
});

test.serial('a strategy may be a file, and a training of one step has a speed', async (t) => {
  const folder = temporaryFolder(t);
  const [json, strategy] = [join(folder, 'table.json'), join(folder, 'strategy.json')];
  writeFileSync(strategy, '{"builder": "ps"}');
  const args = ['--job', 'spam', '--epochs', '1', '--batch', '4000', '--workers', '1'];
  const { code, stderr } = await train(...args, '--strategy', strategy, '--json', json);
  t.is(code, 0, stderr);
  const { jobs } = JSON.parse(readFileSync(json, 'utf8')) as { jobs: Row[] };
  t.true(jobs[0]!.examplesPerSecond > 0);
});

const refuses = test.macro({
  title: (_, args: readonly string[]) => `the training job refuses ${args.join(' ')}`,
  exec: async (t, args: readonly string[], message: RegExp) => {
    const { code, stderr } = await train(...args);
    t.is(code, 1);
    t.regex(stderr, message);
    t.notRegex(stderr, /at .*\.js:\d+/, 'no stack trace');
  },
});

for (const [args, message] of [
  [['--workers', '0'], /^INVALID_ARGUMENT: --workers: expected a whole number from 1 to 64 but received "0"/],
  [['--workers', '1.5'], /--workers: expected a whole number/],
  [['--epochs', 'many'], /--epochs: expected a whole number/],
  [['--batch', '7', '--workers', '2'], /--batch: expected a multiple of the 2 workers but received 7/],
  [
    ['--job', 'spam', '--batch', '9999', '--workers', '1'],
    /--batch: expected at most the \d+ training examples/,
  ],
  [['--job', 'none'], /--job: expected mnist or spam but received "none"/],
  [['--job', 'spam', '--strategy', 'pss'], /expected .*ps-lb.* but received/],
  [['--json', '/nonexistent/table.json'], /--json: expected a file that can be written/],
  [['--batch', '5000'], /--batch: expected at most the \d+ training examples but received 5000/],
  [['--nonsense'], /expected only --workers, .* but received "--nonsense"/],
  [['spam'], /expected only --workers, .* but received "spam"/],
  [
    ['--workers', '-2'],
    /^INVALID_ARGUMENT: --workers: expected a whole number from 1 to 64 but received "-2"/,
  ],
  [['--workers'], /^INVALID_ARGUMENT: --workers: expected a value but received none/],
  [['--json', '--trace'], /^INVALID_ARGUMENT: --json: expected a value but received "--trace"/],
  [['--batch', '4', '--batch', '8'], /^INVALID_ARGUMENT: --batch: expected one value but received two/],
] as const) {
  test(refuses, args, message);
}

test('a shuffle is a permutation, the same for the same seed', (t) => {
  const rows = shuffledRows(1000, 3);
  t.deepEqual([...rows], [...shuffledRows(1000, 3)]);
  t.notDeepEqual([...rows], [...shuffledRows(1000, 4)]);
  t.deepEqual(
    [...rows].sort((a, b) => a - b),
    Array.from({ length: 1000 }, (_, i) => i),
  );
});

test('a difference that is not a number counts as larger than any', (t) => {
  const weights = (value: number) =>
    new Map([['w', { dtype: 'float32' as const, shape: [1], data: Float32Array.of(value) }]]);
  t.is(maxDifference(weights(1), weights(1.5)), 0.5);
  t.is(maxDifference(weights(1), new Map()), Number.POSITIVE_INFINITY);
  t.true(Number.isNaN(maxDifference(weights(1), weights(Number.NaN))));
});
