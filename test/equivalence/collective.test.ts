/**
 * Variables of which every task has a copy, embedded: every fixture, under all-reduce and under Parallax, comes on every task to what one
 * process comes to that averages the gradients of all replicas; under all-reduce to the same bits on all tasks.
 */
import test from 'ava';
import { openSession, planTraining, transformAll } from '../../src/engine.js';
import { elementCount } from '../../src/graph/shape.js';
import { openEmbeddedSession, type Session, type TensorData } from '../../src/runtime/index.js';
import { differencesFromOracle } from '../helpers/equivalence.js';
import { fedProgram, type Gradients, openFed, trainFed, unevenValues } from '../helpers/fed-gradients.js';
import { allFixtures, type Fixture, fixtureNamed, graphPath, type Layout } from '../helpers/fixtures.js';
import { nodesOf, oracleOfReplicas, taskFeeds } from '../helpers/layouts.js';
import { MIXED_STRATEGY } from '../helpers/mixed-program.js';
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

/** Of 50 rows the first are looked up most: about six times each. */
const ROWS = 120;
const lookedUp = (task: number, step: number): number[] =>
  Array.from({ length: ROWS }, (_, i) => (i * i + 13 * task + 7 * step) % (i % 3 === 0 ? 40 : 11));

test.serial(
  'under Parallax each task sends every row that it touches once, as many bytes as the plan says',
  async (t) => {
    const shapes = { kernel: [4, 3], table: [50, 24] } as const;
    const gradients: Gradients = (task, step) => ({
      kernel: unevenValues(task + step, elementCount(shapes.kernel)),
      table: { indices: lookedUp(task, step), values: new Array<number>(ROWS * 24).fill(task + 1) },
    });
    const [indices, values] = [
      'gradsync/table/distinct_indices:0',
      'gradsync/table/distinct_values:0',
    ] as const;
    const program = fedProgram(shapes, gradients, 3, { sliced: ['table'], fetches: [indices, values] });
    const { graph, gradients: pairs } = program;
    const resources = { nodes: nodesOf([1, 1]) };
    const { variables } = planTraining({ graph, gradients: pairs, resources, strategy: 'parallax' });
    const planned = variables['table']!.traffic.map(({ sent }) => sent);
    const session = await openFed(program, 'parallax', 2);
    t.teardown(() => session.close());
    await session.initialize();
    const rowBytes = 24 * Float32Array.BYTES_PER_ELEMENT;
    const table = new Float32Array(50 * 24);
    for (const [step, results] of (await trainFed(session, program, 0, 3)).entries()) {
      for (const [task, result] of results.entries()) {
        const touched = new Set(lookedUp(task, step));
        t.true(touched.size < ROWS / 2);
        const [rows, sums] = [result[indices]!.data as Int32Array, result[values]!.data as Float32Array];
        t.deepEqual(new Set(rows), touched);
        const sent = rows.byteLength + sums.byteLength;
        t.true(sent <= 1.1 * touched.size * rowBytes, `${sent} bytes for ${touched.size} rows`);
        // The first task is the server.
        const { bytes, perRowRead, perRowGradient } = planned[task]!;
        t.deepEqual([bytes, perRowRead], [0, 0]);
        t.is(perRowGradient * touched.size, task === 0 ? 0 : sent);
        for (const row of lookedUp(task, step))
          for (let i = 0; i < 24; i++) table[row * 24 + i]! -= (task + 1) / 2;
      }
    }
    t.deepEqual((await session.readVariables()).get('table')!.data, table);
  },
);

test.serial(
  'graphs for TensorFlow, with collectives beside the steps, train embedded to the same bits',
  async (t) => {
    const shapes = { kernel: [3, 2], table: [6, 2], words: [5, 3], bias: [4] } as const;
    const gradients: Gradients = (task, step) => {
      const slices = (name: 'table' | 'words', rows: number) => ({
        indices: Array.from({ length: rows }, (_, i) => (3 * i + task + step) % shapes[name][0]),
        values: unevenValues(step + 3 * task, rows * shapes[name][1]),
      });
      return {
        kernel: unevenValues(task + step, 6),
        table: slices('table', 1 + task),
        words: slices('words', 4 + step),
        bias: unevenValues(7 * task + step, 4),
      };
    };
    const program = fedProgram(shapes, gradients, 3, {
      sliced: ['table', 'words'],
      trainOps: { first: ['kernel', 'table'], second: ['bias', 'words'] },
    });
    const options = {
      graph: program.graph,
      gradients: program.gradients,
      resources: { nodes: nodesOf([1, 1]) },
      strategy: MIXED_STRATEGY,
    };
    const waiting = { unevenBatches: 'allow', deadlineMs: PATIENT_MS } as const;
    const tasks = transformAll(options);
    t.deepEqual(
      tasks.map(({ plan }) => plan.background.length),
      [2, 2],
    );
    const trained: ReadonlyMap<string, TensorData>[] = [];
    for (const open of [
      () => openSession({ ...options, ...waiting }),
      () => openEmbeddedSession({ tasks, ...waiting }),
    ]) {
      const session = await open();
      t.teardown(() => session.close());
      await session.initialize();
      await trainFed(session, program, 0, 3);
      for (const task of [0, 1]) trained.push(await session.readVariables(task));
    }
    for (const name of Object.keys(shapes)) {
      for (const each of trained) t.deepEqual(each.get(name), trained[0]!.get(name), name);
    }
  },
);
