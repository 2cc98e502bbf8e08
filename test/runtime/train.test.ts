/** Training until the data end: on graphs small enough to know every number, whoever runs out first, and whatever goes wrong with the data. */
import test from 'ava';
import { type EmbeddedSessionOptions, openEmbeddedSession, type Session } from '../../src/runtime/index.js';
import { handBuiltTasks, trainRequests, vector } from '../helpers/hand-built.js';
import { PATIENT_MS } from '../helpers/patience.js';

async function withSession<T>(
  tasks: number,
  options: Partial<EmbeddedSessionOptions>,
  use: (session: Session) => Promise<T>,
): Promise<T> {
  const session = await openEmbeddedSession({
    tasks: handBuiltTasks(tasks),
    deadlineMs: PATIENT_MS,
    ...options,
  });
  try {
    await session.initialize();
    return await use(session);
  } finally {
    await session.close();
  }
}

type Feeds = ReturnType<typeof feeds>;
const feeds = (gradient: number) => ({ 'x:0': vector(gradient, 10 * gradient) });
const batches = (count: number, task: number): Feeds[] => new Array<Feeds>(count).fill(feeds(task + 1));
const fetches = ['loss:0', 'train_op'];

async function weights(session: Session): Promise<number[]> {
  return [...((await session.readVariables()).get('w')!.data as Float32Array)];
}

const counts = test.macro<[tables: readonly (readonly number[])[]]>({
  exec: async (t, tables) => {
    let sum = 0;
    await withSession(tables[0]!.length, { uneven: 'stop' }, async (session) => {
      for (const lengths of tables) {
        const seen: number[] = [];
        const end = await session.train({
          batches: lengths.map(batches),
          fetches,
          onStep: (step, results) => {
            seen.push(step);
            const losses = results.map((result) => result['loss:0']!.data[0]);
            t.deepEqual(
              losses,
              lengths.map((_, task) => task + 1),
            );
          },
        });
        const steps = Math.min(...lengths);
        t.deepEqual(end.steps, new Array(lengths.length).fill(steps));
        const ended = lengths.flatMap((length, task) => (length === steps ? [{ task, step: steps }] : []));
        t.deepEqual(end.ended, ended);
        t.deepEqual(
          seen,
          Array.from({ length: steps }, (_, i) => i + 1),
        );
        sum += ((lengths.length + 1) / 2) * steps;
        t.deepEqual(await weights(session), [0 - sum, 0 - 10 * sum]);
      }
    });
  },
  title: (_, tables) =>
    `stop: of ${tables.map((lengths) => lengths.join('+')).join(', ')} batches as many steps as the task with the fewest has, and who ran out is told`,
});

test.serial(counts, [
  [0, 3],
  [2, 4],
  [4, 2],
  [3, 3],
  [3, 0],
  [0, 0],
]);
test.serial(counts, [[5, 1, 2]]);

test.serial(
  'data that end at different steps, in a session opened for neither: an error after the steps of all, and the session goes on',
  async (t) => {
    await withSession(2, {}, async (session) => {
      const error = await t.throwsAsync(session.train({ batches: [batches(3, 0), batches(2, 1)], fetches }), {
        code: 'FAILED_PRECONDITION',
      });
      t.regex(
        error?.message ?? '',
        /received 2 on task 1 and more on task 0; .*uneven: "stop".*uneven: "join"/,
      );
      t.deepEqual(await weights(session), [-3, -30]);
      const end = await session.train({ batches: [batches(1, 0), batches(1, 1)], fetches });
      t.deepEqual(end, { steps: [1, 1], ended: [0, 1].map((task) => ({ task, step: 1 })) });
      t.deepEqual(await weights(session), [-4.5, -45]);
    });
  },
);

test.serial(
  'a task without data that others would wait for is refused at once, whichever it is; one that nobody waits for is not',
  async (t) => {
    await withSession(3, { uneven: 'stop' }, async (session) => {
      for (const task of [0, 1, 2]) {
        const requests = trainRequests([
          [1, 1],
          [1, 1],
          [1, 1],
        ]).map((each, i) => (i === task ? null : each));
        await t.throwsAsync(session.run(requests), {
          code: 'FAILED_PRECONDITION',
          message: new RegExp(`null for task ${task}, while task \\d trains; .*"join"`),
        });
      }
      const [loss] = trainRequests([[7, 7]], ['loss:0']);
      const results = await session.run([null, loss!, null]);
      t.deepEqual(
        results.map((result) => result['loss:0']?.data[0]),
        [undefined, 7, undefined],
      );
      t.deepEqual(await session.run([null, null, null]), [{}, {}, {}]);
      t.deepEqual(await weights(session), [0, 0]);
    });
  },
);

test.serial(
  'batches come from generators of both sorts, a new one for each training, and those left over are told to end',
  async (t) => {
    await withSession(2, { uneven: 'stop' }, async (session) => {
      const closed: string[] = [];
      async function* slow() {
        try {
          for (;;) yield feeds(1);
        } finally {
          closed.push('slow');
        }
      }
      function* short() {
        yield feeds(3);
        yield feeds(3);
      }
      for (const epoch of [1, 2]) {
        const end = await session.train({ batches: [slow(), short()], fetches });
        t.deepEqual(end, { steps: [2, 2], ended: [{ task: 1, step: 2 }] });
        t.is(closed.length, epoch);
        t.deepEqual(await weights(session), [-4 * epoch, -40 * epoch]);
      }
    });
  },
);

test.serial(
  'a session may be saved and asked for other things between the steps of a training',
  async (t) => {
    await withSession(2, { uneven: 'stop' }, async (session) => {
      const seen: number[][] = [];
      await session.train({
        batches: [batches(3, 0), batches(3, 1)],
        fetches,
        onStep: async () => void seen.push(await weights(session)),
      });
      t.is(seen.length, 3);
      t.deepEqual(seen.at(-1), [-4.5, -45]);
    });
  },
);

test.serial(
  'batches that do not come while others wait: the error names the task, and the session goes on',
  async (t) => {
    await withSession(3, { uneven: 'stop', deadlineMs: 3000 }, async (session) => {
      const nothing = trainRequests([0, 0, 0].map(() => [0, 0]));
      // Once, so that nothing is left to prepare while the deadline counts.
      await session.run(nothing);
      async function* stuck() {
        yield feeds(1);
        await new Promise(() => undefined);
      }
      const training = session.train({ batches: [batches(9, 0), stuck(), batches(9, 2)], fetches });
      const error = await t.throwsAsync(training, { code: 'DEADLINE_EXCEEDED' });
      t.regex(
        error?.message ?? '',
        /batches of step 2 within 3000 ms of each other but received none for task 1;/,
      );
      t.is((await session.run(nothing)).length, 3);
    });
  },
);

test.serial(
  'what an iterable, a step or its observer throws ends the training, with nothing under way',
  async (t) => {
    await withSession(2, { uneven: 'stop' }, async (session) => {
      function* broken() {
        yield feeds(1);
        throw new Error('disk');
      }
      await t.throwsAsync(session.train({ batches: [batches(9, 0), broken()], fetches }), {
        message: 'disk',
      });
      t.deepEqual(await weights(session), [-1, -10]);
      const onStep = (step: number): void => {
        if (step === 2) throw new Error('seen enough');
      };
      await t.throwsAsync(session.train({ batches: [batches(9, 0), batches(9, 1)], fetches, onStep }), {
        message: 'seen enough',
      });
      const wrong = [{ 'x:0': vector(1) }];
      await t.throwsAsync(session.train({ batches: [wrong, wrong], fetches }), { code: 'INVALID_ARGUMENT' });
      await session.run(
        trainRequests([
          [0, 0],
          [0, 0],
        ]),
      );
    });
  },
);

test.serial('a session that is closed ends a training that waits for data', async (t) => {
  const session = await openEmbeddedSession({ tasks: handBuiltTasks(2), uneven: 'stop' });
  await session.initialize();
  let isAsked = (): void => undefined;
  const asked = new Promise<void>((resolve) => {
    isAsked = resolve;
  });
  async function* never() {
    isAsked();
    await new Promise(() => undefined);
    yield feeds(1);
  }
  const training = session.train({ batches: [never(), never()], fetches });
  await asked;
  await session.close();
  await t.throwsAsync(training, { code: 'FAILED_PRECONDITION', message: /one that was closed/ });
});

test.serial(
  'anything that is no training is refused, and so are other words than stop and join',
  async (t) => {
    await withSession(2, {}, async (session) => {
      const bad: readonly [given: unknown, message: RegExp][] = [
        [undefined, /expected an object with batches, fetches, onStep/],
        [{ batches: [], fetches }, /2 iterables of feeds, one per task but received 0/],
        [{ batches: [batches(1, 0), 5], fetches }, /something else for task 1/],
        [{ batches: [batches(1, 0), batches(1, 1)], fetches: 'train_op' }, /"fetches"/],
        [{ batches: [batches(1, 0), batches(1, 1)], fetches, onStep: 1 }, /"onStep"/],
      ];
      for (const [given, message] of bad) {
        await t.throwsAsync(session.train(given as never), { code: 'INVALID_ARGUMENT', message });
      }
      const none = { code: 'INVALID_ARGUMENT', message: /Request of task 1: .*null to run\(\)/ };
      await t.throwsAsync(session.runTask(1, null as never), none);
    });
    const opening = withSession(2, { uneven: 'wait' as 'stop' }, async () => undefined);
    await t.throwsAsync(opening, { message: /"uneven": expected one of stop, join but received "wait"/ });
  },
);
