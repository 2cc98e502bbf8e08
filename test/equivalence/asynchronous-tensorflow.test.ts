/** Asynchronous training on real TensorFlow: as test/equivalence/asynchronous.test.ts, with gRPC processes as tasks. */
import type { ExecutionContext } from 'ava';
import { transformAll } from '../../src/engine.js';
import { differencesFromOracle } from '../helpers/equivalence.js';
import { type Fixture, fixtureNamed, graphPath, readFeeds, readOracle } from '../helpers/fixtures.js';
import { temporaryFolder } from '../helpers/folder.js';
import { nodesOf } from '../helpers/layouts.js';
import { type PlanResult, type PlanRun, runPlans, writeTasks } from '../helpers/run-plan.js';
import { afterSteady } from '../helpers/steady.js';
import { findTensorflow, freePorts, tensorflowTest } from '../helpers/tensorflow.js';

interface Case {
  readonly fixture: Fixture;
  /** Steps of each of the two tasks. */
  readonly steps: readonly [number, number];
  readonly check: (t: ExecutionContext, result: PlanResult) => void;
}

/** One task trains alone, on the first share of the data, whichever task it is. */
function alone(name: string, task: 0 | 1): Case {
  const fixture = fixtureNamed(name);
  return {
    fixture,
    steps: task === 0 ? [fixture.steps, 0] : [0, fixture.steps],
    check: (t, { variables }) =>
      t.deepEqual(differencesFromOracle(readOracle(fixture, 1), fixture.steps, variables), [], name),
  };
}

/** Two tasks that end at different steps. */
function together(name: string): Case {
  const fixture = fixtureNamed(name);
  const steps = [9, 4] as const;
  return {
    fixture,
    steps,
    check: (t, { variables }) => {
      const feeds = readFeeds(fixture);
      const done = steps.flatMap((count, task) =>
        Array.from({ length: count }, (_, step) => feeds(task, step)),
      );
      const expected = afterSteady(done);
      t.deepEqual(variables.get('kernel')?.data, expected.kernel, name);
      t.deepEqual(variables.get('table')?.data, expected.table, name);
    },
  };
}

const CASES: readonly Case[] = [
  together('steady-sgd.resource'),
  together('steady-sgd.reference'),
  alone('spam-clipped.resource', 1),
  alone('words-adam.resource', 0),
  alone('words-adam.resource', 1),
  alone('decay-adagrad.reference', 1),
  alone('two-optimizers.resource', 1),
];

function runOf(t: ExecutionContext, { fixture, steps }: Case, ports: readonly number[]): PlanRun {
  const strategy = '{"builder": "ps-lb", "sync": false}';
  const resources = { nodes: nodesOf([1, 1], ports) };
  const root = temporaryFolder(t);
  const folders = writeTasks(root, transformAll({ graph: graphPath(fixture), resources, strategy }));
  const shareOf = readFeeds(fixture);
  const isAlone = steps.includes(0);
  return {
    folders,
    steps: Math.max(...steps),
    hasData: (task, step) => step < steps[task]!,
    feeds: (task, step) => shareOf(isAlone ? 0 : task, step),
    fetches: [fixture.trainOp],
    read: fixture.state,
  };
}

const tensorflow = findTensorflow();

tensorflowTest(
  tensorflow,
  'on TensorFlow one worker alone trains as one device does, and of two no update is lost',
  async (t, python) => {
    const ports = await freePorts(2 * CASES.length);
    const runs = CASES.map((one, i) => runOf(t, one, ports.slice(2 * i, 2 * i + 2)));
    const results = await runPlans(python, runs);
    for (const [i, result] of results.entries()) {
      if (result instanceof Error) t.fail(`${CASES[i]!.fixture.name}: ${result.message}`);
      else CASES[i]!.check(t, result);
    }
  },
);
