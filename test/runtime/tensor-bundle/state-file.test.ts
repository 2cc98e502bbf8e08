/** The file `checkpoint`: what TensorFlow writes is read, what is written keeps the checkpoints named before. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { replaceFiles } from '../../../src/runtime/replace-file.js';
import {
  latestCheckpoint,
  nextState,
  parseState,
  printState,
  stateFile,
} from '../../../src/runtime/tensor-bundle/state-file.js';
import { temporaryFolder } from '../../helpers/folder.js';
import { fc } from '../../helpers/properties.js';

/** As tf.compat.v1.train.Saver writes it. */
const TENSORFLOWS = `model_checkpoint_path: "model.ckpt-2"
all_model_checkpoint_paths: "model.ckpt-1"
all_model_checkpoint_paths: "/else/where/n\\303\\240me \\"x\\".ckpt"
all_model_checkpoint_paths: "model.ckpt-2"
all_model_checkpoint_timestamps: 1732360000.5
all_model_checkpoint_timestamps: 1732360001.25
last_preserved_timestamp: 1732360000.125
`;

test('what TensorFlow writes is read: relative, absolute and escaped paths', async (t) => {
  const all = ['model.ckpt-1', '/else/where/nàme "x".ckpt', 'model.ckpt-2'];
  t.deepEqual(parseState(TENSORFLOWS), { latest: 'model.ckpt-2', all });
  const folder = temporaryFolder(t);
  writeFileSync(stateFile(folder), TENSORFLOWS);
  t.is(await latestCheckpoint(folder), join(folder, 'model.ckpt-2'));
});

test('the checkpoints named before stay, and none is named twice', async (t) => {
  const folder = temporaryFolder(t);
  for (const name of ['a.ckpt', 'b.ckpt', 'a.ckpt'])
    await replaceFiles([await nextState(join(folder, name))]);
  t.is(
    readFileSync(stateFile(folder), 'utf8'),
    'model_checkpoint_path: "a.ckpt"\nall_model_checkpoint_paths: "b.ckpt"\nall_model_checkpoint_paths: "a.ckpt"\n',
  );
});

test('a file of that name that is something else is neither read nor replaced', async (t) => {
  const folder = temporaryFolder(t);
  await t.throwsAsync(latestCheckpoint(folder), { code: 'NOT_FOUND' });
  for (const text of ['my notes', '{"a": 1}', 'model_checkpoint_path: ""', '']) {
    writeFileSync(stateFile(folder), text);
    await t.throwsAsync(latestCheckpoint(folder), { code: 'DATA_LOSS' }, text);
    await t.throwsAsync(nextState(join(folder, 'c.ckpt')), { code: 'FAILED_PRECONDITION' }, text);
    t.is(readFileSync(stateFile(folder), 'utf8'), text);
  }
});

test('any path is read back as it was written', (t) => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', minLength: 1 }), (path) => {
      t.deepEqual(parseState(printState({ latest: path, all: [path] })), { latest: path, all: [path] });
    }),
  );
});
