/**
 * Variables in shards, embedded: every fixture, split whatever its dimensions and optimizer, comes to what one process comes to that averages
 * the gradients of all replicas and updates once.
 */
import test from 'ava';
import { openSession } from '../../src/engine.js';
import { GradsyncError } from '../../src/errors.js';
import type { Session } from '../../src/runtime/index.js';
import { findBuilder, type StrategyBuilder } from '../../src/strategy/index.js';
import { differencesFromOracle } from '../helpers/equivalence.js';
import { allFixtures, type Fixture, fixtureNamed, graphPath, type Layout } from '../helpers/fixtures.js';
import { nodesOf, oracleOf, oracleOfReplicas, taskFeeds } from '../helpers/layouts.js';
import { PATIENT_MS } from '../helpers/patience.js';
import type { FileTensor } from '../helpers/tensor-file.js';

const split = (builder: string, shards: number, more = ''): string =>
  `{"builder": "${builder}", "shards": ${shards}, "minShardBytes": 1${more}}`;

const nameOf = (strategy: string | StrategyBuilder): string =>
  typeof strategy === 'string' ? strategy : strategy.name;

type Variables = ReadonlyMap<string, FileTensor>;

async function withSession<T>(
  fixture: Fixture,
  layout: Layout,
  strategy: string | StrategyBuilder,
  use: (session: Session) => Promise<T>,
): Promise<T> {
  const resources = { nodes: nodesOf(layout) };
  const session = await openSession({
    graph: graphPath(fixture),
    resources,
    strategy,
    deadlineMs: PATIENT_MS,
    unevenBatches: new Set(layout).size === 1 ? 'refuse' : 'allow',
  });
  try {
    await session.initialize();
    return await use(session);
  } finally {
    await session.close();
  }
}

const read = async (session: Session, task = 0): Promise<Variables> =>
  (await session.readVariables(task)) as Variables;

const equalsOracle = test.macro({
  exec: async (t, fixture: Fixture, layout: Layout, strategy: string | StrategyBuilder) => {
    const isCollective = /all-reduce|copies/.test(nameOf(strategy));
    const oracle = isCollective ? oracleOfReplicas(fixture, layout) : oracleOf(fixture, layout);
    const feedsOf = taskFeeds(fixture, layout);
    await withSession(fixture, layout, strategy, async (session) => {
      for (let step = 1; step <= fixture.steps; step++) {
        const requests = layout.map((_, task) => ({
          feeds: Object.fromEntries(feedsOf(task, step - 1)),
          fetches: [fixture.loss, fixture.trainOp],
        }));
        await session.run(requests);
        t.deepEqual(differencesFromOracle(oracle, step, await read(session)), []);
      }
      const names = Object.keys(fixture.state);
      const variables = await read(session);
      const others = isCollective ? layout.map((_, task) => task) : [];
      for (const task of others) {
        const own = await read(session, task);
        for (const name of names) t.deepEqual(own.get(name), variables.get(name), `${name} of task ${task}`);
      }
      // Fetched under the names of their reads, variables are whole.
      const fetches = Object.values(fixture.state);
      const [fetched] = await session.run(layout.map(() => ({ feeds: {}, fetches })));
      for (const name of names) {
        const { data, shape } = fetched![fixture.state[name]!]!;
        t.deepEqual([data, shape], [variables.get(name)!.data, variables.get(name)!.shape], name);
      }
    });
  },
  title: (_, fixture: Fixture, layout: Layout, strategy: string | StrategyBuilder) =>
    `${fixture.name}, tasks with ${layout.join(' and ')} replicas, ${nameOf(strategy)}: the variables of the oracle`,
});

/** Whatever the arithmetic of the runtime makes of it: every bit as without shards. */
const equalsUnsplit = test.macro({
  exec: async (t, fixture: Fixture, strategy: string) => {
    const layout = [1, 1];
    const feedsOf = taskFeeds(fixture, layout);
    const train = (under: string): Promise<Variables> =>
      withSession(fixture, layout, under, async (session) => {
        for (let step = 0; step < fixture.steps; step++) {
          const fetches = [fixture.loss, fixture.trainOp];
          await session.run(
            layout.map((_, task) => ({ feeds: Object.fromEntries(feedsOf(task, step)), fetches })),
          );
        }
        return read(session);
      });
    const [shards, whole] = [await train(strategy), await train('ps')];
    for (const name of Object.keys(fixture.state)) t.deepEqual(shards.get(name), whole.get(name), name);
  },
  title: (_, fixture: Fixture, strategy: string) =>
    `${fixture.name}, ${strategy}: every bit as without shards`,
});

const isRefused = test.macro({
  exec: async (t, fixture: Fixture) => {
    const error = await t.throwsAsync(
      withSession(fixture, [1, 1], EVEN, async () => undefined),
      { instanceOf: GradsyncError },
    );
    t.is(error?.code, 'UNIMPLEMENTED');
    t.regex(error?.message ?? '', /no loop, condition or function/);
  },
  title: (_, fixture: Fixture) => `${fixture.name}: refused, as control flow takes its variables`,
});

const EVEN = split('partitioned-ps', 3);
/** Programs whose variables go into loops, conditions or functions. */
const CONTROL_FLOW = /^(recurrent|arrays|branching|calling|capturing)/;
for (const fixture of allFixtures()) {
  const isResource = fixture.variableKind === 'resource';
  if (CONTROL_FLOW.test(fixture.name) && isResource) test(isRefused, fixture);
  else if (fixture.mixesExamples) test.serial(equalsUnsplit, fixture, EVEN);
  else test.serial(equalsOracle, fixture, [1, 1], EVEN);
}

const LAYOUTS: readonly Layout[] = [[1], [2], [2, 2], [1, 1, 1], [2, 1]];
const THROUGH_ALL = [
  'words-adam.resource',
  'words-momentum.reference',
  'spam-clipped.reference',
  'linear-regression.resource',
];
for (const name of THROUGH_ALL) {
  const fixture = fixtureNamed(name);
  for (const layout of LAYOUTS) {
    if (oracleOf(fixture, layout)[1]!.variables.size > 0) test.serial(equalsOracle, fixture, layout, EVEN);
  }
}

/** As many shards as rows, one row more than another, and a number that is prime. */
for (const shards of [2, 7, 60]) {
  test.serial(
    equalsOracle,
    fixtureNamed('words-adam.resource'),
    [1, 1],
    split('uneven-partitioned-ps', shards),
  );
}
test.serial(equalsOracle, fixtureNamed('words-adam-clipped.reference'), [1, 1], split('partitioned-ps', 7));
test.serial(
  equalsOracle,
  fixtureNamed('mnist-cnn.resource'),
  [1, 1, 1],
  split('partitioned-ps', 3, ', "proxy": true'),
);

const REDUCED = [
  'words-adam.resource',
  'spam-clipped.reference',
  'mnist-cnn.resource',
  'decay-adam.reference',
];
for (const name of REDUCED) {
  for (const builder of ['partitioned-all-reduce', 'random-axis-partitioned-all-reduce']) {
    test.serial(equalsOracle, fixtureNamed(name), [1, 1], split(builder, 3));
  }
}
test.serial(equalsOracle, fixtureNamed('words-adam.reference'), [2, 2], split('partitioned-all-reduce', 7));
test.serial(
  equalsOracle,
  fixtureNamed('spam-clipped.resource'),
  [1, 1, 1],
  split('partitioned-all-reduce', 3),
);

/** Shards of which every task has a copy, those of a sparse gradient too. */
const COPIES: StrategyBuilder = {
  name: 'copies-of-shards',
  build: (summary, cluster) => {
    const plan = { kind: 'collective', algorithm: 'auto', compressor: 'none', group: 0 } as const;
    const strategy = findBuilder(EVEN).build(summary, cluster);
    const variables = strategy.variables.map(({ partition, ...whole }) => ({
      ...whole,
      synchronizer: plan,
      ...(partition && { partition: { ...partition, shards: partition.shards.map(() => plan) } }),
    }));
    return { ...strategy, variables };
  },
};
for (const name of ['words-adam.resource', 'spam-clipped.reference']) {
  test.serial(equalsOracle, fixtureNamed(name), [1, 1], COPIES);
}

test.serial('initial values are those of the program that is not split, every bit', async (t) => {
  for (const name of ['mnist-cnn.resource', 'words-adam.reference']) {
    const fixture = fixtureNamed(name);
    const whole = await withSession(fixture, [1, 1], 'ps', (session) => read(session));
    for (const builder of ['uneven-partitioned-ps', 'random-axis-partitioned-all-reduce']) {
      const shards = await withSession(fixture, [1, 1], split(builder, 5), (session) => read(session));
      for (const each of Object.keys(fixture.state)) t.deepEqual(shards.get(each), whole.get(each), each);
    }
  }
});
