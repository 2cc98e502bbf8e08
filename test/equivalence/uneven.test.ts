/**
 * Tasks that run out of data while others go on (`join`): every step is the mean over the tasks that have data for it, whichever these are, the
 * chief among them or not. What comes out is what one process comes to that averages the gradients of these tasks.
 */
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { openSession, type RunRequest, type Session } from '../../src/index.js';
import { type Fixture, fixtureNamed, graphPath, type Layout } from '../helpers/fixtures.js';
import { temporaryFolder } from '../helpers/folder.js';
import { nodesOf, taskFeeds } from '../helpers/layouts.js';
import { PATIENT_MS } from '../helpers/patience.js';
import {
  differencesFromReplay,
  lastOf,
  replaySchedule,
  type Schedule,
  stepsOf,
} from '../helpers/schedules.js';

async function open(
  t: ExecutionContext,
  fixture: Fixture,
  strategy: string,
  layout: Layout,
): Promise<Session> {
  const session = await openSession({
    graph: graphPath(fixture),
    resources: { nodes: nodesOf(layout) },
    strategy,
    uneven: 'join',
    deadlineMs: PATIENT_MS,
  });
  t.teardown(() => session.close());
  await session.initialize();
  return session;
}

function requestsOf(fixture: Fixture, layout: Layout): (task: number, step: number) => RunRequest {
  const feedsOf = taskFeeds(fixture, layout);
  return (task, step) => ({
    feeds: Object.fromEntries(feedsOf(task, step)),
    fetches: [fixture.loss, fixture.trainOp],
  });
}

/** By its batches, which end. */
async function train(
  t: ExecutionContext,
  session: Session,
  fixture: Fixture,
  layout: Layout,
  schedule: Schedule,
): Promise<void> {
  const requestOf = requestsOf(fixture, layout);
  const seen: number[] = [];
  const end = await session.train({
    batches: schedule.map((attended, task) =>
      Array.from({ length: lastOf(attended) }, (_, step) => requestOf(task, step).feeds),
    ),
    fetches: [fixture.loss, fixture.trainOp],
    onStep: (step, results) => {
      seen.push(step);
      for (const [task, attended] of schedule.entries()) {
        t.deepEqual(Object.keys(results[task]!), attended[step - 1] === '1' ? [fixture.loss] : []);
      }
    },
  });
  t.deepEqual(end.steps, schedule.map(lastOf));
  const ended = schedule.map((attended, task) => ({ task, step: lastOf(attended) }));
  t.deepEqual(
    end.ended,
    ended.sort((a, b) => a.step - b.step),
  );
  t.deepEqual(
    seen,
    Array.from({ length: Math.max(...end.steps) }, (_, i) => i + 1),
  );
}

/** Step by step, each ended before the next begins: without lag. */
async function run(session: Session, fixture: Fixture, layout: Layout, schedule: Schedule): Promise<void> {
  const requestOf = requestsOf(fixture, layout);
  for (let step = 0; step < stepsOf(schedule); step++) {
    await session.run(
      schedule.map((attended, task) => (attended[step] === '1' ? requestOf(task, step) : null)),
    );
    await session.readVariables();
  }
}

const joins = test.macro<
  [fixture: string, strategy: string, schedules: readonly Schedule[], layout?: Layout]
>({
  exec: async (t, name, strategy, schedules, layout = schedules[0]!.map(() => 1)) => {
    const fixture = fixtureNamed(name);
    const session = await open(t, fixture, strategy, layout);
    // What a session begins with is drawn: beginning again would draw the next numbers.
    const start = join(temporaryFolder(t), 'start.safetensors');
    await session.save(start);
    for (const schedule of schedules) {
      await session.restore(start);
      const ends = schedule.every((attended) => !attended.includes('01'));
      if (ends && !strategy.includes('staleness')) await train(t, session, fixture, layout, schedule);
      else await run(session, fixture, layout, schedule);
      const expected = await replaySchedule(fixture, layout, schedule);
      t.deepEqual(differencesFromReplay(fixture, schedule, expected, await session.readVariables()), []);
    }
  },
  title: (_, name, strategy, schedules, layout) =>
    `${name}, ${strategy}, ${layout === undefined ? '' : `${layout.join(' and ')} replicas, `}data as in ${schedules.map((schedule) => schedule.join('/')).join(', ')}: the mean over the tasks that have some`,
});

const EVERY: readonly Schedule[] = [
  ['100', '111'],
  ['111', '100'],
  ['000', '111'],
  ['111', '000'],
  ['101', '011'],
];
const EACH: readonly Schedule[] = [
  ['100', '111'],
  ['111', '100'],
];
const STALE = '{"builder": "ps-lb", "staleness": 1}';
const PROXIES = '{"builder": "ps-lb", "proxy": true}';
const SHARDS = '{"builder": "partitioned-ps", "minShardBytes": 16}';

test.serial(joins, 'linear-regression.resource', 'ps-lb', EVERY);
test.serial(joins, 'linear-regression.resource', 'ps', [
  ['1', '111', '11'],
  ['11', '1', '111'],
]);
test.serial(joins, 'mnist-cnn.resource', 'ps-lb', [['100', '111']]);
test.serial(joins, 'batch-norm.resource', 'ps-lb', EVERY);
test.serial(joins, 'words-adam-clipped.resource', 'ps-lb', EVERY);
test.serial(joins, 'decay-adam.resource', PROXIES, EACH);
test.serial(joins, 'words-adam-clipped.resource', SHARDS, EACH);
test.serial(joins, 'recurrent-while.resource', 'ps-lb', EACH);
test.serial(joins, 'words-adam-clipped.resource', STALE, EVERY);
test.serial(joins, 'words-adam-clipped.resource', 'all-reduce', EVERY);
test.serial(joins, 'arrays-frames.resource', 'all-reduce', EACH, [2, 1]);
test.serial(joins, 'words-adam-clipped.resource', 'parallax', EVERY);
