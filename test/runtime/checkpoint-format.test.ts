/** Sessions save and restore in the format that is asked for, or that path and files say. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { openEmbeddedSession, type Session } from '../../src/runtime/index.js';
import { findTensor, openBundle, tensorNames } from '../../src/runtime/tensor-bundle/read-bundle.js';
import { encodeBundle } from '../../src/runtime/tensor-bundle/write-bundle.js';
import { readAll } from '../helpers/bundles.js';
import { temporaryFolder } from '../helpers/folder.js';
import { handBuiltTasks, trainRequests } from '../helpers/hand-built.js';

async function opened(t: ExecutionContext, tasks: number): Promise<Session> {
  const session = await openEmbeddedSession({ tasks: handBuiltTasks(tasks) });
  t.teardown(() => session.close());
  return session;
}

async function trained(t: ExecutionContext, tasks: number, steps: number): Promise<Session> {
  const session = await opened(t, tasks);
  await session.initialize();
  const gradients = Array.from({ length: tasks }, (_, task) => [task, 1]);
  for (let step = 0; step < steps; step++) await session.run(trainRequests(gradients));
  return session;
}

const stateOf = async (session: Session) =>
  Promise.all(Array.from({ length: session.taskCount }, (_, task) => session.readVariables(task)));

test('a path that ends as TensorFlow names checkpoints has its format, another that of safetensors', async (t) => {
  const folder = temporaryFolder(t);
  const session = await trained(t, 2, 2);
  await session.save(join(folder, 'm.ckpt'));
  await session.save(join(folder, 'm.ckpt-12'));
  await session.save(join(folder, 'm.safetensors'));
  await session.save(join(folder, 'n'), { format: 'tensorflow' });
  await session.save(join(folder, 'p.ckpt'), { format: 'safetensors' });
  const filesOf = (name: string) => [`${name}.data-00000-of-00001`, `${name}.index`];
  t.deepEqual(
    readdirSync(folder).sort(),
    ['checkpoint', ...['m.ckpt', 'm.ckpt-12', 'n'].flatMap(filesOf), 'm.safetensors', 'p.ckpt'].sort(),
  );
  for (const name of ['m.ckpt', 'm.ckpt-12', 'm.ckpt.index', 'm.safetensors', 'n', 'p.ckpt', '']) {
    const other = await opened(t, 2);
    await other.restore(join(folder, name));
    t.deepEqual(await stateOf(other), await stateOf(session), name);
    const again = join(folder, 'again.ckpt');
    await other.save(again);
    t.deepEqual(await readAll(again), await readAll(join(folder, 'n')), `${name}: progress`);
    await other.close();
  }
});

test('where a file and a checkpoint of TensorFlow have one name, the format must be given', async (t) => {
  const path = join(temporaryFolder(t), 'm.ckpt');
  const session = await trained(t, 1, 1);
  await session.save(path);
  await session.run(trainRequests([[3, 3]]));
  await session.save(path, { format: 'safetensors' });
  const later = await stateOf(session);
  await t.throwsAsync(session.restore(path), { code: 'FAILED_PRECONDITION', message: /give the format/ });
  await session.restore(path, { format: 'tensorflow' });
  t.notDeepEqual(await stateOf(session), later);
  await session.restore(path, { format: 'safetensors' });
  t.deepEqual(await stateOf(session), later);
});

test('a session of other tasks takes the variables, and those of its own tasks from those of the program', async (t) => {
  const path = join(temporaryFolder(t), 'm.ckpt');
  const two = await trained(t, 2, 3);
  await two.save(path);
  const [chief] = await stateOf(two);
  const three = await opened(t, 3);
  await three.restore(path);
  const states = await stateOf(three);
  t.deepEqual(states[0], chief);
  t.deepEqual(states[2]!.get('count'), chief!.get('count'));
  await t.notThrowsAsync(three.run(trainRequests([[1], [1], [1]].map(([a]) => [a!, 1]))));
});

test('a checkpoint that lacks a variable, or has another dtype or shape, is refused and changes nothing', async (t) => {
  const folder = temporaryFolder(t);
  const session = await trained(t, 1, 1);
  const path = join(folder, 'm.ckpt');
  await session.save(path);
  const before = await stateOf(session);
  const tensors = await readAll(path);
  const w = tensors.get('w')!;
  const odd = [
    { w: undefined, code: 'NOT_FOUND' },
    { w: { ...w, dtype: 'int32' as const }, code: 'INVALID_ARGUMENT' },
    { w: { ...w, shape: [1, ...w.shape] }, code: 'INVALID_ARGUMENT' },
    { w: { ...w, dtype: 'uint32' as const }, code: 'INVALID_ARGUMENT' },
  ] as const;
  for (const { w: value, code } of odd) {
    const changed = new Map(tensors);
    if (value === undefined) changed.delete('w');
    else changed.set('w', value);
    for (const file of encodeBundle(path, changed)) writeFileSync(file.path, Buffer.concat(file.chunks));
    await t.throwsAsync(session.restore(path), { code, message: /m\.ckpt/ });
  }
  t.deepEqual(await stateOf(session), before);
});

test('a bad format, and a folder without checkpoints, are typed errors', async (t) => {
  const folder = temporaryFolder(t);
  const session = await trained(t, 1, 0);
  const bad = { format: 'onnx' } as unknown as { format: 'tensorflow' };
  await t.throwsAsync(session.save(join(folder, 'a'), bad), { code: 'INVALID_ARGUMENT' });
  await t.throwsAsync(session.restore(join(folder, 'a'), bad), { code: 'INVALID_ARGUMENT' });
  await t.throwsAsync(session.restore(folder), {
    code: 'NOT_FOUND',
    message: /Checkpoint ".*": expected a file "checkpoint" in this folder.*name the checkpoint itself/,
  });
  await t.throwsAsync(session.restore(join(folder, 'none.ckpt')), { code: 'NOT_FOUND' });
  await t.throwsAsync(session.restore(join(folder, 'n'), { format: 'tensorflow' }), { code: 'NOT_FOUND' });
});

test('a checkpoint that cannot be written leaves the old one, and no drafts', async (t) => {
  const folder = temporaryFolder(t);
  const path = join(folder, 'm.ckpt');
  const session = await trained(t, 1, 1);
  await session.save(path);
  const files = () => readdirSync(folder).sort();
  const [names, old] = [files(), readFileSync(`${path}.index`)];
  await session.run(trainRequests([[5, 5]]));
  writeFileSync(join(folder, 'checkpoint'), 'something else');
  await t.throwsAsync(session.save(path), { code: 'FAILED_PRECONDITION' });
  rmSync(join(folder, 'checkpoint'));
  mkdirSync(join(folder, 'checkpoint'));
  await t.throwsAsync(session.save(path), { code: 'FAILED_PRECONDITION' });
  t.deepEqual(files(), names);
  t.deepEqual(readFileSync(`${path}.index`), old);
  await t.notThrowsAsync(readAll(path));
});

test('what a session adds to the variables is one tensor, which no variable can be called', async (t) => {
  const path = join(temporaryFolder(t), 'm.ckpt');
  await (await trained(t, 2, 1)).save(path);
  const bundle = await openBundle(path);
  t.deepEqual(tensorNames(bundle), ['_gradsync_metadata', 'count', 'task_1/count', 'w']);
  t.is(findTensor(bundle, '_gradsync_metadata')!.dtype, 'uint8');
  t.false(existsSync(path));
});
