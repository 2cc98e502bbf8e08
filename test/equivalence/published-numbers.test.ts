/**
 * The published check on real TensorFlow, the way a stranger comes to it: `gradsync transform` in a shell, then two gRPC processes that know
 * only graph.pb and plan.json. Two workers, y = Wx + b from W = 5, b = 0, SGD 0.01: b becomes 0.0411517 in the first step.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { type Fixture, fixtureNamed, graphPath, readFeeds } from '../helpers/fixtures.js';
import { temporaryFolder } from '../helpers/folder.js';
import { runCli } from '../helpers/processes.js';
import { type PlanRun, runPlans } from '../helpers/run-plan.js';
import { findTensorflow, freePorts, tensorflowTest } from '../helpers/tensorflow.js';

const tensorflow = findTensorflow();

/** Half a unit of the published number's last digit. */
const HALF_A_DIGIT = 0.5e-7;

async function transformByCommand(
  t: ExecutionContext,
  fixture: Fixture,
  ports: readonly number[],
): Promise<PlanRun> {
  const folder = temporaryFolder(t);
  const resources = join(folder, 'resources.yml');
  const [chief, worker] = ports;
  writeFileSync(
    resources,
    `nodes:
  - {address: 127.0.0.1, port: ${chief}, cpus: [0], chief: true}
  - {address: 127.0.0.1, port: ${worker}, cpus: [0]}
`,
  );
  const folders = ['0', '1'].map((task) => join(folder, `task-${task}`));
  for (const [task, out] of folders.entries()) {
    const options = ['--resources', resources, '--strategy', 'ps', '--task', String(task), '--out', out];
    const { code, stderr } = await runCli('transform', graphPath(fixture), ...options);
    t.is(code, 0, stderr);
  }
  return {
    folders,
    steps: 1,
    feeds: readFeeds(fixture),
    fetches: [fixture.trainOp],
    read: fixture.trainable,
  };
}

tensorflowTest(tensorflow, 'two TensorFlow tasks come to the published b = 0.0411517', async (t, python) => {
  const fixtures = ['linear-regression.resource', 'linear-regression.reference'].map(fixtureNamed);
  const ports = await freePorts(4);
  const runs = [
    await transformByCommand(t, fixtures[0]!, ports.slice(0, 2)),
    await transformByCommand(t, fixtures[1]!, ports.slice(2)),
  ];
  const results = await runPlans(python, runs);
  for (const [index, result] of results.entries()) {
    if (result instanceof Error) throw result;
    const b = Number(result.variables.get('b')!.data[0]);
    t.true(Math.abs(b - 0.0411517) < HALF_A_DIGIT, `${fixtures[index]!.name}: b is ${b}`);
    t.is(Number(result.start.get('b')!.data[0]), 0);
  }
});
