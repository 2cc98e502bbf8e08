/**
 * Variables of which every task has a copy, embedded: every fixture, under all-reduce and under Parallax, comes on every task to what one
 * process comes to that averages the gradients of all replicas; under all-reduce to the same bits on all tasks.
 */
import test from 'ava';
import { openSession } from '../../src/engine.js';
import type { Session } from '../../src/runtime/index.js';
import { differencesFromOracle } from '../helpers/equivalence.js';
import { allFixtures, type Fixture, fixtureNamed, graphPath, type Layout } from '../helpers/fixtures.js';
import { nodesOf, oracleOfReplicas, taskFeeds } from '../helpers/layouts.js';
import { PATIENT_MS } from '../helpers/patience.js';

/** Moving averages of batch norm: every task's are of its own batches. */
const OF_OWN_DATA = /(^|\/)moving_(mean|variance)$/;

async function withSession<T>(
  fixture: Fixture,
  layout: Layout,
  strategy: string,
  use: (session: Session, step: (index: number) => Promise<void>) => Promise<T>,
): Promise<T> {
  const feedsOf = taskFeeds(fixture, layout);
  const session = await openSession({
    graph: graphPath(fixture),
    resources: { nodes: nodesOf(layout) },
    strategy,
    deadlineMs: PATIENT_MS,
  });
  try {
    await session.initialize();
    return await use(session, async (index) => {
      const requests = layout.map((_, task) => ({
        feeds: Object.fromEntries(feedsOf(task, index)),
        fetches: [fixture.loss, fixture.trainOp],
      }));
      await session.run(requests);
    });
  } finally {
    await session.close();
  }
}

const equalsOracle = test.macro({
  exec: async (t, fixture: Fixture, layout: Layout, strategy: string) => {
    const oracle = oracleOfReplicas(fixture, layout);
    await withSession(fixture, layout, strategy, async (session, step) => {
      for (let index = 0; index < fixture.steps; index++) {
        await step(index);
        const [chief, ...others] = await Promise.all(layout.map((_, task) => session.readVariables(task)));
        t.deepEqual(differencesFromOracle(oracle, index + 1, chief!), []);
        for (const other of others) {
          for (const name of Object.keys(fixture.state)) {
            if (!OF_OWN_DATA.test(name)) t.deepEqual(other.get(name), chief!.get(name), name);
          }
        }
      }
    });
  },
  title: (_, fixture: Fixture, layout: Layout, strategy: string) =>
    `${fixture.name} under ${strategy}, tasks with ${layout.join(' and ')} replicas: equal to the oracle, and to each other`,
});

for (const fixture of allFixtures()) {
  test.serial(equalsOracle, fixture, fixture.variableKind === 'resource' ? [1, 1, 1] : [1, 1], 'all-reduce');
  test.serial(equalsOracle, fixture, [1, 1], 'parallax');
}
for (const name of ['linear-regression.resource', 'words-adam.reference', 'spam-clipped.resource']) {
  const fixture = fixtureNamed(name);
  test.serial(equalsOracle, fixture, [1], 'all-reduce');
  test.serial(equalsOracle, fixture, [2], 'all-reduce');
  test.serial(equalsOracle, fixture, [2, 2], 'all-reduce');
  test.serial(equalsOracle, fixture, [2, 1], 'all-reduce');
  test.serial(equalsOracle, fixture, [2, 2], 'parallax');
  test.serial(equalsOracle, fixture, [1, 1, 1], 'parallax');
}
