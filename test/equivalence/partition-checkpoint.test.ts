/** Checkpoints of variables in shards: they hold the variables of the program, whoever writes or reads them. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { transform } from '../../src/engine.js';
import { openEmbeddedSession, type Session } from '../../src/runtime/index.js';
import { rewriteFixture, trainSteps } from '../helpers/embedded.js';
import { differencesFromOracle } from '../helpers/equivalence.js';
import { type Fixture, fixtureNamed, graphPath, readOracle } from '../helpers/fixtures.js';
import { temporaryFolder } from '../helpers/folder.js';
import { projectPath } from '../helpers/paths.js';
import { PATIENT_MS } from '../helpers/patience.js';
import type { FileTensor } from '../helpers/tensor-file.js';
import { findTensorflow, freePorts, runPython, tensorflowTest } from '../helpers/tensorflow.js';

const split = (shards: number): string =>
  `{"builder": "partitioned-ps", "shards": ${shards}, "minShardBytes": 1}`;

type State = ReadonlyMap<string, FileTensor>;
const stateOf = async (session: Session): Promise<State> => (await session.readVariables()) as State;

async function withSession<T>(
  fixture: Fixture,
  strategy: string,
  use: (session: Session) => Promise<T>,
): Promise<T> {
  const tasks = rewriteFixture(fixture, 2, strategy);
  const session = await openEmbeddedSession({ tasks, deadlineMs: PATIENT_MS });
  try {
    return await use(session);
  } finally {
    await session.close();
  }
}

for (const file of ['state.safetensors', 'model.ckpt-1']) {
  test.serial(
    `${file}: what shards saved is read whole, and in another number of shards, and trains on to the oracle`,
    async (t) => {
      const fixture = fixtureNamed('words-adam.reference');
      const path = join(temporaryFolder(t), file);
      const saved = await withSession(fixture, split(3), async (session) => {
        await session.initialize();
        await trainSteps(session, fixture, 0, 1);
        await session.save(path);
        return stateOf(session);
      });
      t.deepEqual(saved.get('embedding/Adam')?.shape, [60, 4]);
      for (const strategy of ['ps-lb', split(7), split(3)]) {
        await withSession(fixture, strategy, async (session) => {
          await session.restore(path);
          const restored = await stateOf(session);
          for (const name of Object.keys(fixture.state))
            t.deepEqual(restored.get(name), saved.get(name), name);
          await trainSteps(session, fixture, 1, fixture.steps);
          t.deepEqual(
            differencesFromOracle(readOracle(fixture, 2), fixture.steps, await stateOf(session)),
            [],
          );
        });
      }
    },
  );
}

const tensorflow = findTensorflow();

/** Graph and plan of one task, written into a folder; gives its name. */
async function transformed(folder: string, fixture: Fixture, strategy: string): Promise<string> {
  const [port] = await freePorts(1);
  const resources = { nodes: [{ address: '127.0.0.1', port: port! }] };
  const { graph, plan } = transform({ graph: graphPath(fixture), resources, strategy, task: 0 });
  writeFileSync(join(folder, 'graph.pb'), graph);
  writeFileSync(join(folder, 'plan.json'), JSON.stringify(plan));
  return folder;
}

const SAVED: readonly (readonly [fixture: string, strategy: string])[] = [
  ['spam.resource', split(3)],
  ['spam-clipped.reference', split(7)],
];

tensorflowTest(
  tensorflow,
  "the graph's own Saver: the program restores what shards saved, and shards what the program saved, every variable bit for bit",
  async (t, python) => {
    const jobs = await Promise.all(
      SAVED.map(async ([name, strategy]) => {
        const fixture = fixtureNamed(name);
        return {
          folder: await transformed(temporaryFolder(t), fixture, strategy),
          graph: graphPath(fixture),
          feeds: projectPath('test', 'fixtures', 'feeds', `${fixture.feeds}.tensors`),
          train: fixture.trainOp,
          read: fixture.state,
        };
      }),
    );
    const file = join(temporaryFolder(t), 'jobs.json');
    writeFileSync(file, JSON.stringify(jobs));
    const { stdout } = await runPython(python, [projectPath('test', 'helpers', 'saver_run.py'), file]);
    const results = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    t.is(results.length, SAVED.length);
    for (const { saved, restored, shapes } of results) {
      t.deepEqual([saved, restored], [[], []]);
      t.deepEqual(shapes['embedding'], [500, 8]);
      t.deepEqual(shapes['embedding/Adagrad'], [500, 8]);
      t.is(Object.keys(shapes).length, 6);
    }
  },
);
