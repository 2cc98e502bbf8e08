/**
 * Asynchronous training, embedded. What it comes to depends on who comes when, but for two cases: one worker alone trains as one device does,
 * and updates that do not depend on the variables add up to the same in any order.
 */
import test from 'ava';
import { openEmbeddedSession, type Session } from '../../src/runtime/index.js';
import { rewriteFixture } from '../helpers/embedded.js';
import { differencesFromOracle } from '../helpers/equivalence.js';
import { type Fixture, fixtureNamed, readFeeds, readOracle } from '../helpers/fixtures.js';
import { PATIENT_MS } from '../helpers/patience.js';
import { afterSteady } from '../helpers/steady.js';

const ASYNCHRONOUS = '{"builder": "ps-lb", "sync": false}';

async function withSession(
  fixture: Fixture,
  workers: number,
  use: (session: Session) => Promise<void>,
): Promise<void> {
  const tasks = rewriteFixture(fixture, workers, ASYNCHRONOUS);
  const session = await openEmbeddedSession({ tasks, deadlineMs: PATIENT_MS });
  try {
    await session.initialize();
    await use(session);
  } finally {
    await session.close();
  }
}

const trainsAlone = test.macro<[fixture: Fixture, task: number]>({
  exec: async (t, fixture, task) => {
    const oracle = readOracle(fixture, 1);
    const feeds = readFeeds(fixture);
    await withSession(fixture, 2, async (session) => {
      for (let step = 1; step <= fixture.steps; step++) {
        await session.runTask(task, {
          feeds: Object.fromEntries(feeds(0, step - 1)),
          fetches: [fixture.loss, fixture.trainOp],
        });
        const own = await session.readVariables(task);
        t.deepEqual(differencesFromOracle(oracle, step, own), []);
      }
    });
  },
  title: (_, fixture, task) => `${fixture.name}: task ${task} of two, alone, trains as one device does`,
});

const ALONE = [
  'mnist-cnn.resource',
  'spam-clipped.resource',
  'words-adam.reference',
  'words-adam-clipped.resource',
  'decay-adagrad.resource',
  'decay-adam.reference',
  'two-optimizers.resource',
];
for (const name of ALONE) for (const task of [0, 1]) test.serial(trainsAlone, fixtureNamed(name), task);

for (const kind of ['resource', 'reference']) {
  test.serial(
    `steady-sgd.${kind}: no update of workers that never wait for each other is lost`,
    async (t) => {
      const fixture = fixtureNamed(`steady-sgd.${kind}`);
      const feeds = readFeeds(fixture);
      // One worker ends early and the others go on.
      const steps = [17, 12, 3].flatMap((count, task) =>
        Array.from({ length: count }, (_, step) => ({ task, feeds: feeds(task, step) })),
      );
      await withSession(fixture, 3, async (session) => {
        const runs = steps.map(({ task, feeds: given }) =>
          session.runTask(task, { feeds: Object.fromEntries(given), fetches: [fixture.trainOp] }),
        );
        await Promise.all(runs);
        const expected = afterSteady(steps.map((step) => step.feeds));
        const variables = await session.readVariables();
        t.deepEqual(variables.get('kernel')?.data, expected.kernel);
        t.deepEqual(variables.get('table')?.data, expected.table);
      });
    },
  );
}
