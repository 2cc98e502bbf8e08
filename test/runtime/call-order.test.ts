/** Calls that are not awaited are carried out in the order in which they were made. */
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { openEmbeddedSession, type Session } from '../../src/runtime/index.js';
import { temporaryFolder } from '../helpers/folder.js';
import { handBuiltTasks, trainRequests } from '../helpers/hand-built.js';
import { PATIENT_MS } from '../helpers/patience.js';

const STEP = trainRequests([
  [1, 2],
  [1, 2],
]);
const READ = { feeds: {}, fetches: ['w/read:0'] };

async function open(t: ExecutionContext): Promise<{ session: Session; path: string }> {
  const session = await openEmbeddedSession({ tasks: handBuiltTasks(2), deadlineMs: PATIENT_MS });
  t.teardown(() => session.close());
  return { session, path: join(temporaryFolder(t), 'c.safetensors') };
}

async function read(session: Session): Promise<number[]> {
  const result = await session.runTask(0, READ);
  return [...(result['w/read:0']!.data as Float32Array)];
}

test.serial('initialize, steps, save, restore and reads follow each other', async (t) => {
  const { session, path } = await open(t);
  const calls: Promise<unknown>[] = [session.initialize(), session.run(STEP), session.save(path)];
  calls.push(session.run(STEP), session.run(STEP));
  const before = session.readVariables();
  const restoring = session.restore(path);
  const restored = read(session);
  calls.push(session.run(STEP));
  const after = read(session);
  await Promise.all([...calls, restoring]);
  t.deepEqual([...((await before).get('w')!.data as Float32Array)], [-3, -6]);
  t.deepEqual(await restored, [-1, -2]);
  t.deepEqual(await after, [-2, -4]);
});

test.serial('two saves to one file at once both succeed, also of two sessions', async (t) => {
  const { session, path } = await open(t);
  const other = (await open(t)).session;
  await Promise.all([session.initialize(), other.initialize()]);
  await Promise.all([session.save(path), session.save(path), other.save(path), other.save(path)]);
  await session.restore(path);
  t.deepEqual(await read(session), [0, 0]);
});

test.serial('a step before initialization is refused, and the session goes on', async (t) => {
  const { session, path } = await open(t);
  const refused = { code: 'FAILED_PRECONDITION', message: /initialize\(\)/ };
  await t.throwsAsync(session.run(STEP), refused);
  await t.throwsAsync(session.runTask(0, READ), { ...refused, message: /Variable "w": .*initialize\(\)/ });
  await session.initialize();
  await session.run(STEP);
  await session.save(path);
  const { session: second } = await open(t);
  await t.throwsAsync(second.run(STEP), refused);
  await second.restore(path);
  await second.run(STEP);
  t.deepEqual(await read(second), [-2, -4]);
});

test.serial('variables may be initialized by a step that nobody waits for', async (t) => {
  const { session } = await open(t);
  void session.runTask(0, { feeds: {}, fetches: ['w/init'] });
  t.deepEqual(await read(session), [0, 0]);
});
