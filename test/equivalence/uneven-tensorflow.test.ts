/**
 * Tasks that run out of data on real TensorFlow: gRPC processes call the roll before each step, and what they come to is the mean over those that
 * have data for it, the chief among them or not; or all end before the first step for which one has none.
 */
import test, { type ExecutionContext } from 'ava';
import { type Fixture, fixtureNamed, type Layout } from '../helpers/fixtures.js';
import type { PlanResult } from '../helpers/run-plan.js';
import {
  differencesFromReplay,
  lastOf,
  replaySchedule,
  type Schedule,
  stepsOf,
} from '../helpers/schedules.js';
import { findTensorflow, TENSORFLOW_TEST_MS } from '../helpers/tensorflow.js';
import { type ResultOf, runCases, type TrainingCase } from '../helpers/training-cases.js';

interface Case extends TrainingCase {
  readonly schedule: Schedule;
  readonly uneven: 'stop' | 'join';
}

function caseOf(
  uneven: Case['uneven'],
  name: string,
  strategy: string,
  schedule: Schedule,
  layout: Layout = schedule.map(() => 1),
): Case {
  const fixture = fixtureNamed(name);
  const hasData = (task: number, step: number): boolean => schedule[task]![step] === '1';
  return {
    uneven,
    fixture,
    strategy,
    layout,
    schedule,
    more: { hasData, steps: stepsOf(schedule) },
  };
}

/** Its gradients depend on the data alone: it comes to the same however stale the reads are. */
const STEADY = 'steady-sgd.resource';
const STALE = '{"builder": "ps-lb", "staleness": 1}';
const PROXIES = '{"builder": "ps-lb", "proxy": true}';
const SHARDS = '{"builder": "partitioned-ps", "minShardBytes": 16}';
const APART = '{"builder": "ps-lb", "sync": false}';

const JOINED: readonly Case[] = [
  caseOf('join', 'linear-regression.resource', 'ps-lb', ['100', '111']),
  caseOf('join', 'linear-regression.reference', 'ps-lb', ['111', '100']),
  caseOf('join', 'linear-regression.resource', 'ps', ['1', '111', '11']),
  caseOf('join', 'linear-regression.resource', 'ps-lb', ['101', '011']),
  caseOf('join', 'batch-norm.resource', 'ps-lb', ['100', '111']),
  caseOf('join', 'words-adam-clipped.resource', 'ps-lb', ['000', '111']),
  caseOf('join', 'words-adam-clipped.resource', 'ps-lb', ['111', '100']),
  caseOf('join', 'decay-adam.resource', PROXIES, ['100', '111']),
  caseOf('join', 'words-adam-clipped.resource', SHARDS, ['111', '100']),
  caseOf('join', STEADY, STALE, ['100', '111']),
  caseOf('join', STEADY, STALE, ['101', '011']),
  caseOf('join', 'words-adam-clipped.resource', 'all-reduce', ['100', '111']),
  caseOf('join', 'words-adam-clipped.resource', 'all-reduce', ['101', '011']),
  caseOf('join', 'arrays-frames.resource', 'all-reduce', ['111', '100'], [2, 1]),
  caseOf('join', 'spam-clipped.resource', 'parallax', ['100', '111']),
  caseOf('join', 'words-adam-clipped.resource', 'parallax', ['1', '111', '11']),
];

const STOPPED: readonly Case[] = [
  caseOf('stop', 'words-adam-clipped.resource', 'ps-lb', ['110', '111']),
  caseOf('stop', 'linear-regression.resource', 'ps-lb', ['111', '1', '11']),
  caseOf('stop', STEADY, STALE, ['111', '110']),
  caseOf('stop', 'words-adam-clipped.resource', 'all-reduce', ['111', '110']),
  caseOf('stop', 'spam-clipped.resource', 'parallax', ['110', '111']),
];

/** What is sent is rounded to 8 bits: a task without data sends zeros of that type. */
const ROUNDED = caseOf(
  'join',
  'linear-regression.resource',
  '{"builder": "all-reduce", "compressor": "bfloat16"}',
  ['100', '111'],
);
const PART_LOST = 2 ** -7;

/** Tasks that wait for nobody; one has no data at all. */
const JOINED_APART = caseOf('join', 'words-adam.resource', APART, ['111', '000']);
const STOPPED_APART = caseOf('stop', 'words-adam.resource', APART, ['111', '000']);

const tensorflow = findTensorflow();
let resultOf: ResultOf;

if (tensorflow.found) {
  test.before('training on TensorFlow', async (t) => {
    t.timeout(TENSORFLOW_TEST_MS);
    resultOf = await runCases(tensorflow.python, [
      ...JOINED,
      ROUNDED,
      JOINED_APART,
      ...STOPPED,
      STOPPED_APART,
    ]);
  });
}

/** The steps of a task whose results are there. */
function stepsIn({ fetched }: PlanResult, { loss }: Fixture, task: number): readonly number[] {
  return [...fetched[task]!.keys()].flatMap((key) =>
    key.endsWith(`/${loss}`) ? [Number.parseInt(key, 10)] : [],
  );
}

function attendedSteps(attended: string): readonly number[] {
  return [...attended].flatMap((each, step) => (each === '1' ? [step] : []));
}

function onTensorflow(title: string, body: (t: ExecutionContext) => void | Promise<void>): void {
  if (tensorflow.found) test(title, body);
  else if (process.env['GRADSYNC_REQUIRE_TENSORFLOW'] === '1') test(title, (t) => t.fail(tensorflow.reason));
  else test.skip(`${title} (skipped: ${tensorflow.reason})`, () => {});
}

const nameOf = ({ fixture, strategy, layout, schedule }: Case): string =>
  `${fixture.name}, ${strategy}, ${layout.join(' and ')} replicas, data as in ${schedule.join('/')}`;

async function assertReplays(t: ExecutionContext, one: Case, schedule: Schedule): Promise<void> {
  const { fixture, layout } = one;
  const result = resultOf(one);
  for (const [task, attended] of schedule.entries()) {
    t.deepEqual(stepsIn(result, fixture, task), attendedSteps(attended), `steps of task ${task}`);
  }
  const expected = await replaySchedule(fixture, layout, schedule);
  t.deepEqual(differencesFromReplay(fixture, schedule, expected, result.variables), []);
}

for (const one of [...JOINED, JOINED_APART]) {
  onTensorflow(`on TensorFlow, ${nameOf(one)}: the mean over the tasks that have some`, (t) =>
    assertReplays(t, one, one.schedule),
  );
}

for (const one of STOPPED) {
  onTensorflow(`on TensorFlow, ${nameOf(one)}: all end with the first that has none`, (t) => {
    const last = Math.min(...one.schedule.map(lastOf));
    return assertReplays(
      t,
      one,
      one.schedule.map((attended) => attended.slice(0, last)),
    );
  });
}

onTensorflow(`on TensorFlow, ${nameOf(STOPPED_APART)}: the other one ends when it finds out`, (t) => {
  const { fixture, schedule } = STOPPED_APART;
  const [trained, none] = schedule.map((_, task) => stepsIn(resultOf(STOPPED_APART), fixture, task));
  t.deepEqual(none, []);
  return assertReplays(t, STOPPED_APART, ['1'.repeat(trained!.length), '']);
});

onTensorflow(`on TensorFlow, ${nameOf(ROUNDED)}: tasks agree, up to what rounding takes`, async (t) => {
  const { fixture, layout, schedule } = ROUNDED;
  const [own, other] = resultOf(ROUNDED).variablesOf;
  t.deepEqual(own, other);
  const expected = await replaySchedule(fixture, layout, schedule);
  for (const name of Object.keys(fixture.state)) {
    const [actual, wanted] = [own!, expected].map((values) => Number(values.get(name)!.data[0]));
    t.true(Math.abs(actual! - wanted!) <= PART_LOST * Math.abs(wanted!), `${name}: ${actual}, not ${wanted}`);
  }
});
