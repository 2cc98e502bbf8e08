/**
 * Bounded staleness on real TensorFlow: as test/equivalence/staleness.test.ts, with gRPC processes as tasks and the rounds in a loop of the
 * chief's. The last worker is held back by counting rounds and the gradients that wait.
 */
import type { ExecutionContext } from 'ava';
import { transformAll } from '../../src/engine.js';
import { type Fixture, fixtureNamed, graphPath, readFeeds, readOracle } from '../helpers/fixtures.js';
import { temporaryFolder } from '../helpers/folder.js';
import { nodesOf } from '../helpers/layouts.js';
import { replayLags } from '../helpers/replay-lags.js';
import { type PlanResult, type PlanRun, runPlans, writeTasks } from '../helpers/run-plan.js';
import { findTensorflow, freePorts, tensorflowTest } from '../helpers/tensorflow.js';
import { largestDifference, variableTolerance } from '../helpers/tolerance.js';

interface Case {
  readonly fixture: Fixture;
  readonly workers: number;
  readonly staleness: number;
}

const CASES: readonly Case[] = [
  { fixture: fixtureNamed('linear-regression-clipped.resource'), workers: 2, staleness: 1 },
  { fixture: fixtureNamed('words-adam-clipped.resource'), workers: 2, staleness: 2 },
  { fixture: fixtureNamed('decay-adam.resource'), workers: 2, staleness: 1 },
  { fixture: fixtureNamed('words-momentum.resource'), workers: 2, staleness: 1 },
  { fixture: fixtureNamed('spam-clipped.resource'), workers: 3, staleness: 2 },
  { fixture: fixtureNamed('words-adam.resource'), workers: 3, staleness: 1 },
];

const LAG = 'gradsync/lag:0';

function runOf(
  t: ExecutionContext,
  { fixture, workers, staleness }: Case,
  ports: readonly number[],
): PlanRun {
  const strategy = JSON.stringify({ builder: 'ps-lb', staleness });
  const resources = { nodes: nodesOf(Array<number>(workers).fill(1), ports) };
  const root = temporaryFolder(t);
  const results = transformAll({ graph: graphPath(fixture), resources, strategy });
  const folders = writeTasks(root, results);
  const [variable] = Object.keys(results[0]!.plan.variables);
  const queues = Array.from(
    { length: workers - 1 },
    (_, task) => `gradsync/${variable}/grad_queue/${task}:0`,
  );
  return {
    folders,
    steps: fixture.steps,
    feeds: readFeeds(fixture),
    fetches: [fixture.trainOp, LAG],
    read: { ...fixture.state, 'rounds applied': 'gradsync/rounds/read:0' },
    holdBack: { task: workers - 1, ahead: staleness, rounds: 'gradsync/rounds/read:0', queues },
  };
}

async function assertReplays(
  t: ExecutionContext,
  one: Case,
  { fetched, variables }: PlanResult,
): Promise<void> {
  const { fixture, workers, staleness } = one;
  const steps = Array.from({ length: fixture.steps }, (_, step) => step);
  const lags = fetched.map((values) => steps.map((step) => Number(values.get(`${step}/${LAG}`)!.data[0])));
  const expected = steps.map((step) => Math.min(step, staleness));
  for (const [task, own] of lags.entries()) {
    t.deepEqual(own, task < workers - 1 ? expected : steps.map(() => 0), `${fixture.name}, task ${task}`);
  }
  t.is(Number(variables.get('rounds applied')!.data[0]), fixture.steps);
  const replayed = await replayLags(fixture, lags);
  const { bounds } = readOracle(fixture, workers)[fixture.steps]!;
  for (const name of Object.keys(fixture.state)) {
    const value = replayed.get(name)!.data as Float32Array;
    const difference = largestDifference(variables.get(name)!.data as Float32Array, value);
    const tolerance = variableTolerance(bounds.get(name) ?? 0, value, fixture.steps);
    t.true(difference <= tolerance, `${fixture.name}, ${name}: ${difference} > ${tolerance}`);
  }
}

const tensorflow = findTensorflow();

for (const workers of [2, 3]) {
  const cases = CASES.filter((one) => one.workers === workers);
  tensorflowTest(
    tensorflow,
    `on TensorFlow, ${workers} workers of which one is held back: lags reach the staleness and no more, and replayed come to the same`,
    async (t, python) => {
      const ports = await freePorts(workers * cases.length);
      const runs = cases.map((one, i) => runOf(t, one, ports.slice(workers * i, workers * (i + 1))));
      const results = await runPlans(python, runs);
      for (const [i, result] of results.entries()) {
        if (result instanceof Error) t.fail(`${cases[i]!.fixture.name}: ${result.message}`);
        else await assertReplays(t, cases[i]!, result);
      }
    },
  );
}
