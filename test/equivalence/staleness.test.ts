/**
 * Bounded staleness, embedded. One worker is held back, by counting steps: the others run ahead of it as far as they may, and no further. What
 * comes out is what an oracle comes to that replays the lags that were recorded.
 */
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { GradsyncError } from '../../src/errors.js';
import { decodeGraphDef, encodeGraphDef } from '../../src/graph/codec/graph-def.js';
import type { Plan } from '../../src/rewrite/index.js';
import { EmbeddedExecutor } from '../../src/runtime/embedded/executor.js';
import { type EmbeddedTask, openEmbeddedSession, type RunRequest, Session } from '../../src/runtime/index.js';
import { rewriteFixture, stepRequests } from '../helpers/embedded.js';
import { differencesFromOracle } from '../helpers/equivalence.js';
import { allFixtures, type Fixture, fixtureNamed, readFeeds, readOracle } from '../helpers/fixtures.js';
import { temporaryFolder } from '../helpers/folder.js';
import { PATIENT_MS } from '../helpers/patience.js';
import { replayLags } from '../helpers/replay-lags.js';
import { afterSteady } from '../helpers/steady.js';
import { largestDifference, variableTolerance } from '../helpers/tolerance.js';

const LAG = 'gradsync/lag:0';

interface Setting {
  readonly workers: number;
  readonly staleness: number;
  readonly deadlineMs?: number;
  /** How many shards variables are split into; none by default. */
  readonly shards?: number;
}

function tasksOf(fixture: Fixture, { workers, staleness, shards = 1 }: Setting): EmbeddedTask[] {
  const builder =
    shards === 1 ? { builder: 'ps-lb' } : { builder: 'partitioned-ps', shards, minShardBytes: 1 };
  const tasks = rewriteFixture(fixture, workers, JSON.stringify({ ...builder, staleness }));
  return tasks.map((task) => withProbes(task, workers));
}

async function withSession<T>(
  fixture: Fixture,
  setting: Setting,
  use: (session: Session) => Promise<T>,
): Promise<T> {
  const tasks = tasksOf(fixture, setting);
  const session = await openEmbeddedSession({ tasks, deadlineMs: setting.deadlineMs ?? PATIENT_MS });
  try {
    return await use(session);
  } finally {
    await session.close();
  }
}

function requestsOf(fixture: Fixture): (task: number, step: number) => RunRequest {
  const feeds = readFeeds(fixture);
  return (task, step) => ({ feeds: Object.fromEntries(feeds(task, step)), fetches: [fixture.trainOp, LAG] });
}

/** Lags by task and step, the last worker being held back: before each of its steps the others go as far ahead as they may. */
async function trainHeldBack(session: Session, fixture: Fixture, staleness: number): Promise<number[][]> {
  const request = requestsOf(fixture);
  const { steps } = fixture;
  const held = session.taskCount - 1;
  const lags = Array.from({ length: session.taskCount }, (): number[] => []);
  const run = async (task: number): Promise<void> => {
    const result = await session.runTask(task, request(task, lags[task]!.length));
    lags[task]!.push(Number(result[LAG]!.data[0]));
  };
  for (let round = 0; round < steps; round++) {
    const ahead: Promise<void>[] = [];
    for (let task = 0; task < held; task++) {
      const most = Math.min(round + staleness, steps);
      while (lags[task]!.length < most) await run(task);
      // The round has one gradient in hand, and the others wait.
      await waiting(session, task, most - round - 1);
      if (most === steps) continue;
      // The last step that may begin cannot end before the round has: it has read once its gradient waits, too.
      ahead.push(run(task));
      await waiting(session, task, most - round);
    }
    await run(held);
    await Promise.all(ahead);
    await session.readVariables();
  }
  return lags;
}

/** Until so many gradients of a task wait. The worker that is held back, and so has nothing to do, looks at the queue. */
async function waiting(session: Session, task: number, gradients: number): Promise<void> {
  const probe = `${probeOf(task)}:0`;
  for (;;) {
    const result = await session.runTask(session.taskCount - 1, { feeds: {}, fetches: [probe] });
    if (Number(result[probe]!.data[0]) === gradients) return;
  }
}

function probeOf(task: number): string {
  return `probe_${task}`;
}

/** Adds to a task's graph what tells how many gradients of each task wait. */
function withProbes({ graph: bytes, plan }: EmbeddedTask, workers: number): EmbeddedTask {
  const graph = decodeGraphDef(bytes);
  const { variables, partitions = {} } = plan as Plan;
  const [variable] = Object.keys(variables);
  const holder = partitions[variable!]?.shards[0] ?? variable;
  for (let task = 0; task < workers; task++) {
    const queue = graph.get(`gradsync/${holder}/grad_queue/${task}`);
    graph.add({ name: probeOf(task), type: 'QueueSizeV2', inputs: [queue.output()], device: queue.device });
  }
  return { graph: encodeGraphDef(graph), plan };
}

async function assertReplays(
  t: ExecutionContext,
  session: Session,
  fixture: Fixture,
  lags: readonly (readonly number[])[],
): Promise<void> {
  const expected = await replayLags(fixture, lags);
  const { bounds } = readOracle(fixture, lags.length)[fixture.steps]!;
  const actual = await session.readVariables();
  for (const name of Object.keys(fixture.state)) {
    const value = expected.get(name)!.data as Float32Array;
    const difference = largestDifference(actual.get(name)!.data as Float32Array, value);
    const tolerance = variableTolerance(bounds.get(name) ?? 0, value, fixture.steps);
    t.true(difference <= tolerance, `${name}: ${difference} > ${tolerance}`);
  }
}

const holdsBack = test.macro<[fixture: string, workers: number, staleness: number, shards?: number]>({
  exec: async (t, name, workers, staleness, shards = 1) => {
    const fixture = fixtureNamed(name);
    await withSession(fixture, { workers, staleness, shards }, async (session) => {
      await session.initialize();
      const lags = await trainHeldBack(session, fixture, staleness);
      const expected = Array.from({ length: fixture.steps }, (_, step) => Math.min(step, staleness));
      for (const [task, own] of lags.entries()) {
        t.deepEqual(own, task < workers - 1 ? expected : expected.map(() => 0));
        t.is(session.lags(task).reads, fixture.steps);
        t.is(session.lags(task).max, Math.max(...own));
      }
      await assertReplays(t, session, fixture, lags);
    });
  },
  title: (_, name, workers, staleness, shards = 1) =>
    `${name}${shards === 1 ? '' : ` in ${shards} shards`}, ${workers} workers of which one is held back: lags reach ${staleness} and no more, and replayed come to the same`,
});

test.serial(holdsBack, 'linear-regression.resource', 2, 3);
test.serial(holdsBack, 'linear-regression-clipped.resource', 3, 1);
test.serial(holdsBack, 'words-adam.resource', 2, 1);
test.serial(holdsBack, 'words-adam-clipped.resource', 3, 2);
test.serial(holdsBack, 'decay-adam.resource', 2, 2);
test.serial(holdsBack, 'decay-adagrad.resource', 3, 1);
test.serial(holdsBack, 'spam-clipped.resource', 2, 1);
test.serial(holdsBack, 'words-adam-clipped.resource', 2, 2, 3);
test.serial(holdsBack, 'mnist-cnn.resource', 2, 1, 4);

test.serial(
  'workers that run freely come to rounds of all steps, and no read is staler than allowed',
  async (t) => {
    const fixture = fixtureNamed('steady-sgd.resource');
    await withSession(fixture, { workers: 3, staleness: 2 }, async (session) => {
      await session.initialize();
      const request = requestsOf(fixture);
      const steps = 12;
      const feeds = readFeeds(fixture);
      const runs = [0, 1, 2].flatMap((task) =>
        Array.from({ length: steps }, (_, step) =>
          session.runTask(task, request(task, step % fixture.steps)),
        ),
      );
      await Promise.all(runs);
      for (const task of [0, 1, 2]) {
        const { reads, max, counts } = session.lags(task);
        t.is(reads, steps);
        t.true(max <= 2, JSON.stringify(counts));
      }
      const all = [0, 1, 2].flatMap((task) =>
        Array.from({ length: steps }, (_, step) => feeds(task, step % fixture.steps)),
      );
      const variables = await session.readVariables();
      for (const [name, start] of [
        ['kernel', 0.5],
        ['table', 0.25],
      ] as const) {
        // Gradients do not depend on the variables: rounds are a third of what all updates one by one come to.
        const expected = afterSteady(all)[name].map((value) => start + (value - start) / 3);
        const difference = largestDifference(variables.get(name)!.data as Float32Array, expected);
        t.true(difference <= variableTolerance(0, expected, steps), `${name}: ${difference}`);
      }
    });
  },
);

test.serial('a worker that never comes: the deadline error of who waits names it', async (t) => {
  const fixture = fixtureNamed('linear-regression.resource');
  await withSession(fixture, { workers: 3, staleness: 1, deadlineMs: 500 }, async (session) => {
    await session.initialize();
    const request = requestsOf(fixture);
    await session.runTask(0, request(0, 0));
    const runs = [session.runTask(0, request(0, 1)), session.runTask(1, request(1, 0))];
    const [error] = await Promise.all([
      t.throwsAsync(runs[0]!, { instanceOf: GradsyncError }),
      runs[1]!.catch(() => undefined),
    ]);
    t.is(error?.code, 'DEADLINE_EXCEEDED');
    t.regex(
      error?.message ?? '',
      /^Task 0, step \d, operation "gradsync\/take_token".*missing: task 2 \(has begun no step\)$/,
    );
  });
});

test.serial('a pause in training is no failure, however long', async (t) => {
  const fixture = fixtureNamed('linear-regression.resource');
  await withSession(fixture, { workers: 2, staleness: 1, deadlineMs: 400 }, async (session) => {
    await session.initialize();
    const request = requestsOf(fixture);
    await session.run([request(0, 0), request(1, 0)]);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    await session.run([request(0, 1), request(1, 1)]);
    t.is(session.lags(1).reads, 2);
  });
});

test.serial('the thread of the rounds dies: whoever waits for one is told', async (t) => {
  const fixture = fixtureNamed('linear-regression.resource');
  const tasks = tasksOf(fixture, { workers: 2, staleness: 1 });
  const plans = tasks.map((task) => task.plan);
  const background = plans.map((plan) => plan.background);
  const executor = await EmbeddedExecutor.open({ graphs: tasks.map((task) => task.graph), background });
  const session = new Session(executor, plans);
  await session.initialize();
  const request = requestsOf(fixture);
  await session.run([request(0, 0), request(1, 0)]);
  await session.runTask(0, request(0, 1));
  const run = session.runTask(0, request(0, 2));
  await waiting(session, 0, 1);
  await executor.workers[2]!.terminate();
  const error = await t.throwsAsync(run, { instanceOf: GradsyncError });
  t.is(error?.code, 'ABORTED');
  t.regex(error?.message ?? '', /^Task 0, round 2 in the background, operation .*ended by itself/);
  await session.close();
});

test.serial(
  'training saved and resumed, in a session that never initialized, comes to the same bits',
  async (t) => {
    const fixture = fixtureNamed('words-adam-clipped.resource');
    const setting = { workers: 2, staleness: 1 };
    const path = join(temporaryFolder(t), 'checkpoint.safetensors');
    const request = requestsOf(fixture);
    const step = async (session: Session, number: number): Promise<void> => {
      await session.run([request(0, number), request(1, number)]);
      await session.readVariables();
    };
    const whole = await withSession(fixture, setting, async (session) => {
      await session.initialize();
      await step(session, 0);
      await session.save(path);
      await step(session, 1);
      await step(session, 2);
      return session.readVariables();
    });
    const resumed = await withSession(fixture, setting, async (session) => {
      await session.restore(path);
      await step(session, 1);
      await session.runTask(0, request(0, 2));
      const ahead = { code: 'FAILED_PRECONDITION', message: /3, 2 steps|2, 1 steps/ };
      await t.throwsAsync(session.save(path), ahead);
      await session.runTask(1, request(1, 2));
      return session.readVariables();
    });
    const own = (values: typeof whole) => [...values].filter(([name]) => name in fixture.state);
    t.deepEqual(own(resumed), own(whole));
  },
);

test.serial('a session that is initialized again begins again', async (t) => {
  const fixture = fixtureNamed('linear-regression.resource');
  await withSession(fixture, { workers: 2, staleness: 2 }, async (session) => {
    const request = requestsOf(fixture);
    const train = async (): Promise<unknown> => {
      await session.initialize();
      for (let step = 0; step < 3; step++) {
        await session.run([request(0, step), request(1, step)]);
        await session.readVariables();
      }
      return session.readVariables();
    };
    t.deepEqual(await train(), await train());
  });
});

const inStep = test.macro<[fixture: Fixture, strategy: string]>({
  exec: async (t, fixture, strategy) => {
    const session = await openEmbeddedSession({
      tasks: rewriteFixture(fixture, 2, strategy),
      deadlineMs: PATIENT_MS,
    });
    t.teardown(() => session.close());
    await session.initialize();
    const requests = stepRequests(fixture, 2);
    for (let step = 0; step < fixture.steps; step++) {
      await session.run(requests(step));
      await session.readVariables();
    }
    t.deepEqual(Object.keys(session.lags(1).counts), ['0']);
    t.deepEqual(
      differencesFromOracle(readOracle(fixture, 2), fixture.steps, await session.readVariables()),
      [],
    );
  },
  title: (_, { name }, strategy) =>
    `${name}, ${strategy}: without lag, rounds in the background come to what synchronous training comes to`,
});

for (const fixture of allFixtures()) {
  if (fixture.variableKind === 'resource')
    test.serial(inStep, fixture, '{"builder": "ps-lb", "staleness": 1}');
}
for (const name of [
  'words-adam-clipped.resource',
  'spam-clipped.resource',
  'decay-adam.resource',
  'tied.resource',
]) {
  test.serial(
    inStep,
    fixtureNamed(name),
    '{"builder": "partitioned-ps", "staleness": 1, "minShardBytes": 16}',
  );
}

test('what rounds in the background compute anew cannot be fed in a step that trains', async (t) => {
  const fixture = fixtureNamed('linear-regression.resource');
  await withSession(fixture, { workers: 2, staleness: 1 }, async (session) => {
    await session.initialize();
    const rate = 'train_op/learning_rate:0';
    const [chief, worker] = [0, 1].map((task) => requestsOf(fixture)(task, 0)) as [RunRequest, RunRequest];
    const zero = { dtype: 'float32', shape: [], data: Float32Array.of(0) } as const;
    const fed = { ...chief, feeds: { ...chief.feeds, [rate]: zero } };
    const error = await t.throwsAsync(session.run([fed, worker]), { instanceOf: GradsyncError });
    t.is(error.code, 'INVALID_ARGUMENT');
    t.regex(error.message, new RegExp(`${rate}.*staleness`));
    await session.runTask(0, { ...fed, fetches: [fixture.loss] });
    await session.run([chief, worker]);
  });
});
