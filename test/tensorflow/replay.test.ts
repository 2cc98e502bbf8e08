/**
 * The accumulators are TensorFlow's: thousands of random sequences of legal and illegal calls, made on TensorFlow and repeated here.
 * GRADSYNC_SEED repeats a failure, GRADSYNC_SEQUENCES makes it more or fewer.
 */
import { addon } from '../helpers/addon.js';
import { type AccumulatorKind, replay, type Sequence } from '../helpers/replay.js';
import { findTensorflow, runPython, tensorflowTest } from '../helpers/tensorflow.js';

const tensorflow = findTensorflow();
const SEED = Number(process.env['GRADSYNC_SEED'] ?? 1);
const SEQUENCES = Number(process.env['GRADSYNC_SEQUENCES'] ?? 1500);

for (const kind of ['dense', 'sparse'] as const satisfies readonly AccumulatorKind[]) {
  tensorflowTest(
    tensorflow,
    `the ${kind} accumulator answers random calls as TensorFlow does`,
    async (t, python) => {
      const args = ['test/tensorflow/replay.py', kind, `${SEED}`, `${SEQUENCES}`];
      const { stdout } = await runPython(python, args);
      const sequences = stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Sequence);
      t.log(`seeds ${SEED} to ${SEED + SEQUENCES - 1}`);
      const session = addon.createSession({ name: 'replay', threads: 2 });
      t.teardown(() => session.close('the test is over'));
      for (const sequence of sequences) t.is(await replay(session, kind, sequence), null);
      t.true(sequences.length >= SEQUENCES);
    },
  );
}
