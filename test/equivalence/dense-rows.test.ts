/**
 * Rows of sparse gradients that are gathered in steps that have few and summed as a dense gradient in steps that have many, embedded: the same
 * on all tasks to the bit, what one process comes to on the batches of all, and no row but those that somebody touched.
 */
import test, { type ExecutionContext } from 'ava';
import { openSession, planTraining } from '../../src/engine.js';
import type { Session } from '../../src/runtime/index.js';
import { allReduce, type StrategyBuilder } from '../../src/strategy/index.js';
import {
  ATTENDS,
  type Attends,
  CHOOSING_FEEDS,
  CHOOSING_NAMES,
  CHOOSING_STEPS,
  choosingProgram,
  choosingResult,
  EXCHANGED,
  exchangedIndices,
} from '../helpers/choosing-program.js';
import type { FedProgram } from '../helpers/fed-gradients.js';
import { fixtureNamed, graphPath, type Layout } from '../helpers/fixtures.js';
import { nodesOf } from '../helpers/layouts.js';
import { PATIENT_MS } from '../helpers/patience.js';
import { plannedBytes } from '../helpers/touched-rows.js';
import {
  DENSE,
  differencesAfter,
  trainedAlone,
  WIDE,
  type WideFixture,
  wideFeeds,
} from '../helpers/wide-feeds.js';

type Strategy = string | StrategyBuilder;

async function open(
  t: ExecutionContext,
  { graph, gradients }: Pick<FedProgram, 'gradients'> & { readonly graph: Uint8Array | string },
  layout: Layout,
  strategy: Strategy,
  more: { readonly uneven?: 'join' } = {},
): Promise<Session> {
  const resources = { nodes: nodesOf(layout) };
  // A task may have no rows at all.
  const feeds = gradients.length > 0 ? CHOOSING_FEEDS : {};
  const options = {
    graph,
    gradients,
    resources,
    strategy,
    feeds,
    unevenBatches: 'allow',
    deadlineMs: PATIENT_MS,
  } as const;
  const session = await openSession({ ...options, ...more });
  t.teardown(() => session.close());
  await session.initialize();
  return session;
}

const oneEach = (tasks: number): Layout => new Array<number>(tasks).fill(1);

const choosesAlike = test.macro({
  exec: async (t, tasks: number, attends: Attends | undefined) => {
    const program = choosingProgram();
    const more = attends === undefined ? {} : ({ uneven: 'join' } as const);
    const session = await open(t, program, oneEach(tasks), 'all-reduce', more);
    for (let step = 0; step < CHOOSING_STEPS; step++) {
      const requests = oneEach(tasks).map((_, task) =>
        attends?.(task, step) === false
          ? null
          : { feeds: Object.fromEntries(program.feeds(task, step)), fetches: program.fetches },
      );
      for (const [task, result] of (await session.run(requests)).entries()) {
        if (requests[task] === null) continue;
        for (const name of CHOOSING_NAMES) {
          const wanted = exchangedIndices(name, tasks, step, attends);
          t.deepEqual([...(result[EXCHANGED[name]]!.data as Int32Array)], wanted, `step ${step}, ${name}`);
        }
      }
    }
    for (const task of oneEach(tasks).keys()) {
      const variables = await session.readVariables(task);
      for (const name of CHOOSING_NAMES) {
        t.deepEqual([...(variables.get(name)!.data as Float32Array)], choosingResult(name, tasks, attends));
      }
    }
  },
  title: (_, tasks: number, attends: Attends | undefined) =>
    `${tasks} tasks${attends === undefined ? '' : ', not all with data'}: exact, on both ways, which all tasks take alike`,
});

for (const tasks of [2, 3, 4]) test.serial(choosesAlike, tasks, undefined);
for (const tasks of [2, 3]) test.serial(choosesAlike, tasks, ATTENDS);

/** Three shards of a table, rows of 4. */
const SHARDS: StrategyBuilder = {
  name: 'by-hand',
  build: (model, cluster) => {
    const copies = allReduce().build(model, cluster);
    const variables = copies.variables.map((plan) =>
      plan.variable === 'table'
        ? {
            ...plan,
            partition: { axis: 0, shards: [plan.synchronizer, plan.synchronizer, plan.synchronizer] },
          }
        : plan,
    );
    return { ...copies, builder: 'by-hand', variables };
  },
};

for (const [title, strategy] of [
  ['always', '{"builder": "all-reduce", "sparse": "dense"}'],
  ['never', '{"builder": "all-reduce", "sparse": "gather"}'],
  ['shard by shard', SHARDS],
] as const) {
  test.serial(`rows summed as a dense gradient ${title}: exact, on all tasks`, async (t) => {
    const program = choosingProgram([]);
    const session = await open(t, program, [1, 1, 1], strategy);
    for (let step = 0; step < CHOOSING_STEPS; step++) {
      const feedsOf = (task: number) => Object.fromEntries(program.feeds(task, step));
      await session.run([0, 1, 2].map((task) => ({ feeds: feedsOf(task), fetches: program.fetches })));
    }
    for (const task of [0, 1, 2]) {
      const variables = await session.readVariables(task);
      for (const name of CHOOSING_NAMES)
        t.deepEqual([...(variables.get(name)!.data as Float32Array)], choosingResult(name, 3), name);
    }
  });
}

const equalsUnion = test.macro({
  exec: async (t, wide: WideFixture, layout: Layout) => {
    const fixture = fixtureNamed(wide.name);
    const expected = await trainedAlone(wide, layout.length);
    const session = await open(t, { graph: graphPath(fixture), gradients: [] }, layout, 'all-reduce');
    const isMany = 'gradsync/embedding/is_many:0';
    const overview = planTraining({
      graph: graphPath(fixture),
      resources: { nodes: nodesOf(layout) },
      strategy: 'all-reduce',
    });
    const sent = layout.map(() => 0);
    for (const [step, dense] of DENSE.entries()) {
      const results = await session.run(
        layout.map((_, task) => ({ feeds: wideFeeds(wide, task, step), fetches: [fixture.trainOp, isMany] })),
      );
      const rows = layout.map((_, task) => Array.from(wideFeeds(wide, task, step)['ids:0']!.data, Number));
      for (const task of layout.keys()) {
        sent[task]! += plannedBytes(overview, task, { embedding: { count: wide.rows, rows } }).sent;
        t.is(session.traffic(task).sent, sent[task]!, `step ${step}`);
      }
      for (const result of results) t.is(Number(result[isMany]!.data[0]), Number(dense), `step ${step}`);
      const [chief, ...others] = await Promise.all(layout.map((_, task) => session.readVariables(task)));
      t.deepEqual(differencesAfter(step + 1, wide, expected[step]!, chief!), []);
      for (const name of Object.keys(fixture.state)) {
        for (const other of others) t.deepEqual(other.get(name), chief!.get(name), name);
      }
    }
  },
  title: (_, { name }: WideFixture, layout: Layout) =>
    `${name}, tasks with ${layout.join(' and ')} replicas, few rows in some steps and many in others: the variables of one process, and the bytes of the plan`,
});

for (const [i, wide] of WIDE.entries()) {
  test.serial(equalsUnion, wide, [1, 1]);
  test.serial(
    equalsUnion,
    wide,
    [
      [1, 1, 1],
      [1, 1, 1, 1],
      [2, 2],
    ][i % 3]!,
  );
}
