/** The runner of plans does what a plan says: a hand-written plan of two gRPC tasks gives the published numbers. */
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fixtureNamed, readFeeds, readOracle } from '../helpers/fixtures.js';
import { projectPath } from '../helpers/paths.js';
import { PlanFailure, type PlanRun, runPlans } from '../helpers/run-plan.js';
import { findTensorflow, freePorts, runPython, tensorflowTest } from '../helpers/tensorflow.js';
import { largestDifference, variableTolerance } from '../helpers/tolerance.js';

const tensorflow = findTensorflow();
const fixture = fixtureNamed('linear-regression.reference');

async function handWrittenRun(python: string): Promise<PlanRun> {
  const root = mkdtempSync(join(tmpdir(), 'gradsync-plan-'));
  const ports = (await freePorts(2)).map(String);
  await runPython(python, [projectPath('test', 'tensorflow', 'hand_written_plan.py'), root, ...ports]);
  return {
    folders: [join(root, 'task-0'), join(root, 'task-1')],
    steps: fixture.steps,
    feeds: readFeeds(fixture),
    fetches: ['loss:0', 'x:0', 'train_op'],
    read: fixture.trainable,
  };
}

/** Makes the plan of task 1 name an initializer that does not exist. */
function spoil(run: PlanRun): void {
  const path = join(run.folders[1]!, 'plan.json');
  const plan = JSON.parse(readFileSync(path, 'utf8')) as { initializers: string[] };
  writeFileSync(path, JSON.stringify({ ...plan, initializers: ['no_such_operation'] }));
}

tensorflowTest(
  tensorflow,
  'a hand-written plan of two tasks trains to the oracle, also after one that fails',
  async (t, python) => {
    const [spoilt, sound] = [await handWrittenRun(python), await handWrittenRun(python)];
    spoil(spoilt);
    const [failure, result] = await runPlans(python, [spoilt, sound]);
    t.true(failure instanceof PlanFailure);
    t.regex((failure as PlanFailure).message, /no_such_operation/);

    if (result === undefined || result instanceof PlanFailure) return t.fail(result?.message);
    const oracle = readOracle(fixture, 2);
    t.is(Number(result.start.get('W')!.data[0]), 5);
    const last = oracle[fixture.steps]!;
    for (const [name, expected] of last.variables) {
      const difference = largestDifference(result.variables.get(name)!.data, expected.data);
      t.true(difference <= variableTolerance(last.bounds.get(name)!, expected.data, fixture.steps), name);
    }
    for (const [task, fetched] of result.fetched.entries()) {
      t.is(Number(fetched.get('0/loss:0')!.data[0]).toFixed(4), oracle[1]!.losses[task]!.toFixed(4));
      t.deepEqual(
        fetched.get('0/x:0'),
        readFeeds(fixture)(task, 0).get('x:0'),
        'split and put together again',
      );
    }
  },
);
