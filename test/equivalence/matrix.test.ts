/**
 * The equivalence matrix on the embedded runtime: every case under every strategy and on every cluster comes, after each step, to what one
 * process comes to that averages each task's replicas, then the tasks; or, as collectives do, all replicas.
 */
import test from 'ava';
import { openSession } from '../../src/engine.js';
import { differencesFromOracle } from '../helpers/equivalence.js';
import { graphPath } from '../helpers/fixtures.js';
import { nodesOf, taskFeeds, taskLoss } from '../helpers/layouts.js';
import { type Cell, cellsOf, oracleOfCell, summary, titleOf } from '../helpers/matrix.js';
import { PATIENT_MS } from '../helpers/patience.js';
import { sumTolerance } from '../helpers/tolerance.js';

type Session = Awaited<ReturnType<typeof openSession>>;

const { cells, absent } = cellsOf('embedded');

function open({ fixture, row, layout }: Cell): Promise<Session> {
  return openSession({
    graph: graphPath(fixture),
    resources: { nodes: nodesOf(layout) },
    strategy: row.strategy,
    deadlineMs: PATIENT_MS,
    // Every replica has the same share here, and so a task with more of them a larger one.
    unevenBatches: new Set(layout).size === 1 ? 'refuse' : 'allow',
  });
}

const equalsOracle = test.macro({
  exec: async (t, cell: Cell) => {
    const { fixture, layout } = cell;
    const oracle = oracleOfCell(cell);
    const feedsOf = taskFeeds(fixture, layout);
    const session = await open(cell);
    try {
      await session.initialize();
      t.deepEqual(differencesFromOracle(oracle, 0, await session.readVariables(), 1), []);
      for (let step = 1; step <= fixture.steps; step++) {
        const requests = layout.map((_, task) => ({
          feeds: Object.fromEntries(feedsOf(task, step - 1)),
          fetches: [fixture.loss, fixture.trainOp],
        }));
        const results = await session.run(requests);
        t.deepEqual(differencesFromOracle(oracle, step, await session.readVariables()), []);
        // Weights differ by rounding from the second step on.
        if (step > 1) continue;
        for (const [task, result] of results.entries()) {
          const loss = taskLoss(oracle[step]!, layout, task);
          const fetched = Number(result[fixture.loss]!.data[0]);
          t.true(Math.abs(fetched - loss) <= sumTolerance(16, Math.abs(loss)), `${fetched}, not ${loss}`);
        }
      }
    } finally {
      await session.close();
    }
  },
  title: (_, cell: Cell) => titleOf(cell, 'embedded'),
});

for (const cell of cells) test.serial(equalsOracle, cell);

test.serial('what of the matrix is not trained has a reason', (t) => {
  t.log(`${cells.length} combinations trained`, ...summary(absent));
  t.true(absent.every(({ reason }) => reason !== ''));
});
