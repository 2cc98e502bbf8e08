/** Where checkpoints may be written and read, and what a file must say: everything else is a typed error that names the file. */
import { lstat, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { type ErrorCode, GradsyncError } from '../../src/errors.js';
import { readCheckpoint, writeCheckpoint } from '../../src/runtime/checkpoint.js';
import { openEmbeddedSession } from '../../src/runtime/index.js';
import { decodeSafetensors, encodeSafetensors, type TensorFile } from '../../src/runtime/safetensors.js';
import { temporaryFolder } from '../helpers/folder.js';
import { handBuiltTasks } from '../helpers/hand-built.js';
import { throwsTyped } from '../helpers/throws.js';

const EMPTY: TensorFile = { tensors: new Map(), metadata: {} };

async function rejects(t: ExecutionContext, promise: Promise<unknown>, code: ErrorCode, ...parts: string[]) {
  const error = await t.throwsAsync(promise, { instanceOf: GradsyncError });
  t.is(error?.code, code, error?.message);
  for (const part of parts) t.true(error?.message.includes(part), error?.message);
}

test('a folder, a device and a path with a null byte are refused', async (t) => {
  const folder = temporaryFolder(t);
  const below = join(folder, 'below');
  await mkdir(below);
  await rejects(t, writeCheckpoint(below, EMPTY), 'FAILED_PRECONDITION', below, 'a folder');
  await rejects(t, writeCheckpoint('/dev/null', EMPTY), 'FAILED_PRECONDITION', '/dev/null', 'a device');
  await rejects(t, writeCheckpoint('a\0b', EMPTY), 'INVALID_ARGUMENT', 'null bytes');
  await rejects(t, readCheckpoint(below), 'FAILED_PRECONDITION', below);
  await rejects(t, readCheckpoint('a\0b'), 'INVALID_ARGUMENT', 'null bytes');
  const nowhere = join(folder, 'no', 'c');
  await rejects(
    t,
    writeCheckpoint(nowhere, EMPTY),
    'NOT_FOUND',
    nowhere,
    join(folder, 'no'),
    'make the folder',
  );
  const error = await t.throwsAsync(writeCheckpoint(join(folder, 'c'.repeat(250)), EMPTY));
  t.notRegex(error?.message ?? '', /\.part/, 'a file that the caller does not know');
  t.deepEqual(await readdir(folder), ['below']);
  t.deepEqual(await readdir(below), []);
});

test('through a symbolic link its target is written', async (t) => {
  const folder = temporaryFolder(t);
  await mkdir(join(folder, 'real'));
  for (const name of ['there', 'not-there']) {
    const target = join(folder, 'real', name);
    if (name === 'there') await writeFile(target, 'old');
    const link = join(folder, name);
    await symlink(join('real', name), link);
    await writeCheckpoint(link, EMPTY);
    t.true((await lstat(link)).isSymbolicLink());
    t.true((await lstat(target)).isFile());
    t.deepEqual(await readCheckpoint(target), EMPTY);
  }
  t.deepEqual((await readdir(join(folder, 'real'))).sort(), ['not-there', 'there']);
  await symlink('circle', join(folder, 'circle'));
  await rejects(t, writeCheckpoint(join(folder, 'circle'), EMPTY), 'FAILED_PRECONDITION', 'nowhere');
});

test('metadata that are none are DATA_LOSS naming the file', (t) => {
  for (const value of ['null', '5', '[]', '{"a":5}']) {
    const json = `{"__metadata__": ${value}}`;
    const bytes = new Uint8Array(8 + json.length);
    bytes[0] = json.length;
    bytes.set(Buffer.from(json), 8);
    throwsTyped(t, () => decodeSafetensors(bytes, 'odd.safetensors'), 'DATA_LOSS', 'odd.safetensors');
  }
});

test('generators that the session does not have are refused naming the file, and change nothing', async (t) => {
  const folder = temporaryFolder(t);
  const session = await openEmbeddedSession({ tasks: handBuiltTasks(2) });
  t.teardown(() => session.close());
  await session.initialize();
  const path = join(folder, 'good');
  await session.save(path);
  const { tensors, metadata } = decodeSafetensors(await readFile(path), path);
  const changed = async (name: string, generators: object): Promise<string> => {
    const progress = JSON.stringify([
      { steps: 77, generators: {} },
      { steps: 77, generators },
    ]);
    const file = join(folder, name);
    await writeFile(file, Buffer.concat(encodeSafetensors({ tensors, metadata: { ...metadata, progress } })));
    return file;
  };
  const unknown = await changed('unknown', { nobody: [1, 2] });
  await rejects(t, session.restore(unknown), 'NOT_FOUND', unknown, '"nobody"');
  const silent = await changed('silent', { loss: [1, 2] });
  await rejects(t, session.restore(silent), 'NOT_FOUND', silent, '"loss"');
  const wrong = await changed('wrong', { loss: 5 });
  await rejects(t, session.restore(wrong), 'INVALID_ARGUMENT', wrong);
  const again = join(folder, 'again');
  await session.save(again);
  t.deepEqual(await readFile(again), await readFile(path));
});
