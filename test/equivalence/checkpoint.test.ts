/**
 * Checkpoints between the embedded runtime and TensorFlow: what one writes the other restores bit for bit, and trains on as if nothing had
 * happened.
 */
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openEmbeddedSession, type Session } from '../../src/runtime/index.js';
import { encodeBundle } from '../../src/runtime/tensor-bundle/write-bundle.js';
import { readAll } from '../helpers/bundles.js';
import { rewriteFixture, trainSteps } from '../helpers/embedded.js';
import { differencesFromOracle } from '../helpers/equivalence.js';
import { type Fixture, fixtureNamed, graphPath, readOracle } from '../helpers/fixtures.js';
import { projectPath } from '../helpers/paths.js';
import { type FileTensor, readTensors } from '../helpers/tensor-file.js';
import { findTensorflow, runPython, tensorflowTest } from '../helpers/tensorflow.js';

const tensorflow = findTensorflow();
const scratch = (): string => mkdtempSync(join(tmpdir(), 'gradsync-checkpoint-'));

/** Optimizer slots, powers of Adam, a global step; resource and reference variables. */
const FIXTURES = ['mnist-cnn.resource', 'words-adam.resource', 'words-momentum.reference', 'spam.reference'];

type State = ReadonlyMap<string, Pick<FileTensor, 'shape' | 'data'>>;

async function withSession<T>(
  fixture: Fixture,
  workers: number,
  use: (session: Session) => Promise<T>,
): Promise<T> {
  const session = await openEmbeddedSession({
    tasks: rewriteFixture(fixture, workers),
    deadlineMs: PATIENT_MS,
  });
  try {
    return await use(session);
  } finally {
    await session.close();
  }
}

/** What the original program is to do on TensorFlow; see checkpoint_run.py. */
interface ProgramRun {
  readonly restore?: string;
  readonly steps?: readonly [from: number, to: number];
  readonly save?: string;
}

/** Runs the original program in one process after the other; gives the variables that each ends with. */
async function runProgram(
  python: string,
  runs: readonly (readonly [Fixture, ProgramRun])[],
): Promise<State[]> {
  const folder = scratch();
  const cases = runs.map(([fixture, run], i) => ({
    ...run,
    graph: graphPath(fixture),
    init: fixture.init,
    trainOp: fixture.trainOp,
    feeds: projectPath('test', 'fixtures', 'feeds', `${fixture.feeds}.tensors`),
    read: fixture.state,
    out: join(folder, `${i}.tensors`),
  }));
  writeFileSync(join(folder, 'cases.json'), JSON.stringify(cases));
  await runPython(python, [projectPath('test', 'helpers', 'checkpoint_run.py'), join(folder, 'cases.json')]);
  return cases.map(({ out }) => readTensors(out));
}

/** Variables whose shape or any bit differs, or that are missing. */
function differentBits(fixture: Fixture, actual: State, expected: State): readonly string[] {
  const bits = ({ data }: Pick<FileTensor, 'data'>) =>
    Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return Object.keys(fixture.state).filter((name) => {
    const [a, b] = [actual.get(name), expected.get(name)];
    return !a || !b || String(a.shape) !== String(b.shape) || !bits(a).equals(bits(b));
  });
}

const stateOf = async (session: Session): Promise<State> => (await session.readVariables()) as State;

for (const name of FIXTURES) {
  const fixture = fixtureNamed(name);

  tensorflowTest(
    tensorflow,
    `${name}: TensorFlow restores what the embedded runtime saved, every variable bit for bit, and trains on to the oracle`,
    async (t, python) => {
      const prefix = join(scratch(), 'model.ckpt-1');
      const saved = await withSession(fixture, 1, async (session) => {
        await session.initialize();
        await trainSteps(session, fixture, 0, 1);
        await session.save(prefix);
        return stateOf(session);
      });
      const [restored, trained] = await runProgram(python, [
        [fixture, { restore: prefix }],
        [fixture, { restore: prefix, steps: [1, fixture.steps] }],
      ]);
      t.deepEqual(differentBits(fixture, saved, restored!), []);
      t.deepEqual(differencesFromOracle(readOracle(fixture, 1), fixture.steps, trained!), []);
    },
  );

  tensorflowTest(
    tensorflow,
    `${name}: saved, restored and saved by TensorFlow, restored: two workers train to the bits of those that never stopped`,
    async (t, python) => {
      const [ours, theirs] = [join(scratch(), 'ours.ckpt'), join(scratch(), 'theirs.ckpt-1')];
      const whole = await withSession(fixture, 2, async (session) => {
        await session.initialize();
        await trainSteps(session, fixture, 0, 1);
        await session.save(ours);
        await trainSteps(session, fixture, 1, fixture.steps);
        return stateOf(session);
      });
      await runProgram(python, [[fixture, { restore: ours, save: theirs }]]);
      const resumed = await withSession(fixture, 2, async (session) => {
        await session.restore(theirs);
        await trainSteps(session, fixture, 1, fixture.steps);
        return stateOf(session);
      });
      t.deepEqual(differentBits(fixture, resumed, whole), []);
    },
  );

  tensorflowTest(
    tensorflow,
    `${name}: the embedded runtime restores what TensorFlow trained, every variable bit for bit, and trains on to the oracle`,
    async (t, python) => {
      const prefix = join(scratch(), 'model.ckpt-2');
      const [theirs] = await runProgram(python, [[fixture, { steps: [0, 2], save: prefix }]]);
      await withSession(fixture, 1, async (session) => {
        await session.restore(prefix);
        t.deepEqual(differentBits(fixture, await stateOf(session), theirs!), []);
        await trainSteps(session, fixture, 2, fixture.steps);
        const oracle = readOracle(fixture, 1);
        t.deepEqual(differencesFromOracle(oracle, fixture.steps, await stateOf(session)), []);
      });
      const again = join(scratch(), 'again.ckpt');
      for (const { path, chunks } of encodeBundle(again, await readAll(prefix)))
        writeFileSync(path, Buffer.concat(chunks));
      t.deepEqual(await readAll(again), await readAll(prefix));
    },
  );
}

const LOADER = `
import sys, tensorflow as tf
folder, = sys.argv[1:]
assert tf.train.latest_checkpoint(folder) == folder + '/b.ckpt', tf.train.latest_checkpoint(folder)
state = tf.train.get_checkpoint_state(folder)
assert list(state.all_model_checkpoint_paths) == [folder + '/a.ckpt', folder + '/b.ckpt'], state
reader = tf.train.load_checkpoint(folder)
print(sorted(reader.get_variable_to_dtype_map()))
`;

tensorflowTest(
  tensorflow,
  'TensorFlow finds the latest checkpoint of a folder and lists its variables',
  async (t, python) => {
    const folder = scratch();
    const fixture = fixtureNamed('linear-regression.resource');
    await withSession(fixture, 2, async (session) => {
      await session.initialize();
      await session.save(join(folder, 'a.ckpt'));
      await session.save(join(folder, 'b.ckpt'));
    });
    const { stdout } = await runPython(python, ['-c', LOADER, folder]);
    t.is(stdout.trim(), "['W', '_gradsync_metadata', 'b']");
  },
);

const PARTITIONED = `
import sys, tensorflow as tf
v1 = tf.compat.v1
v1.disable_eager_execution()
prefix, = sys.argv[1:]
partitioner = v1.fixed_size_partitioner(3)
rows = v1.get_variable('rows', [7, 5], partitioner=partitioner, initializer=v1.random_uniform_initializer(seed=1))
columns = v1.get_variable(
    'columns', [2, 200], partitioner=v1.fixed_size_partitioner(3, axis=1), initializer=v1.random_uniform_initializer(seed=2))
whole = {v.name: tf.convert_to_tensor(v) for v in (rows, columns)}
with v1.Session() as session:
  session.run(v1.global_variables_initializer())
  v1.train.Saver().save(session, prefix, write_meta_graph=False)
  for name, value in session.run(whole).items():
    print(name, list(value.shape), value.tobytes().hex())
`;

tensorflowTest(
  tensorflow,
  'variables that TensorFlow partitioned by rows and by columns, and saved in parts, are read whole',
  async (t, python) => {
    const prefix = join(scratch(), 'parts.ckpt');
    const { stdout } = await runPython(python, ['-c', PARTITIONED, prefix]);
    const tensors = await readAll(prefix);
    const read = [...tensors].map(
      ([name, { shape, bytes }]) => `${name} [${shape.join(', ')}] ${Buffer.from(bytes).toString('hex')}`,
    );
    t.is(read.length, 2);
    t.deepEqual(read.sort(), stdout.trim().replaceAll(':0 ', ' ').split('\n').sort());
  },
);

const MANY = `
import sys, tensorflow as tf
prefix, = sys.argv[1:]
names = [f'scope/{"x" * 60}/{i:05d}' for i in range(4000)]
values = [tf.constant(i, tf.int32) for i in range(4000)]
tf.raw_ops.SaveV2(prefix=prefix, tensor_names=names, shape_and_slices=[''] * 4000, tensors=values)
`;

import { PATIENT_MS } from '../helpers/patience.js';

tensorflowTest(
  tensorflow,
  'an index of several blocks has the bytes of the one that TensorFlow writes',
  async (t, python) => {
    const prefix = join(scratch(), 'many.ckpt');
    await runPython(python, ['-c', MANY, prefix]);
    const tensors = await readAll(prefix);
    t.is(tensors.size, 4000);
    for (const { path, chunks } of encodeBundle(prefix, tensors))
      t.true(Buffer.concat(chunks).equals(readFileSync(path)), path);
  },
);
