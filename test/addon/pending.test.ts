/** Every kind of wait against the garbage collector, the end of its thread and the end of its process. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import test from 'ava';
import { sessionOf } from '../helpers/addon.js';
import { projectPath } from '../helpers/paths.js';
import type { WaitingThread } from '../helpers/wait-in-thread.js';
import { WAITS } from '../helpers/waits.js';

const urlOf = (...path: string[]): string => JSON.stringify(pathToFileURL(projectPath('dist', ...path)).href);
const PRELUDE = `
import { Worker } from 'node:worker_threads';
import { loadAddon } from ${urlOf('src', 'addon', 'load.js')};
import { waitOf } from ${urlOf('test', 'helpers', 'waits.js')};
const addon = loadAddon();
const collect = async () => {
  for (let i = 0; i < 5; i++) { gc(); await new Promise(setImmediate); }
};
`;

/** Runs a program on a wait; everything it printed, on both streams, and how it ended. Late is a failure. */
async function run(title: string, program: string): Promise<{ text: string; code: number | null }> {
  const source = `${PRELUDE}const wait = waitOf(${JSON.stringify(title)});${program}`;
  const child = spawn(process.execPath, ['--expose-gc', '--input-type=module', '--eval', source], {
    timeout: 60_000,
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (part: string) => {
      text += part;
    });
  }
  const [code] = (await once(child, 'close')) as [number | null];
  return { text, code };
}

for (const { title } of WAITS) {
  test(`${title}: goes on when everything JavaScript had of it is collected`, async (t) => {
    const result = await run(
      title,
      `let id;
       (() => {
         const session = addon.createSession({ name: 'x' });
         id = session.id;
         wait.begin(session).promise.then(() => console.log('ended well'));
       })();
       await collect();
       (() => { void wait.finish(addon.attachSession(id)); })();
       await collect();`,
    );
    t.deepEqual(result, { text: 'ended well\n', code: 0 });
  });

  test(`${title}: a promise that nobody holds settles without harm, well or badly`, async (t) => {
    const result = await run(
      title,
      `for (let i = 0; i < 20; i++) {
         const session = addon.createSession({ name: 'x', threads: 1 });
         const pending = wait.begin(session);
         pending.promise.catch(() => {});
         if (i % 2 === 0) await wait.finish(session);
         else pending.cancel();
         await collect();
         session.close('done');
       }
       console.log('done');`,
    );
    t.deepEqual(result, { text: 'done\n', code: 0 });
  });

  test(`${title}: the process can exit, and says nothing`, async (t) => {
    const result = await run(
      title,
      `wait.begin(addon.createSession({ name: 'x' })).promise.catch(() => {});
       setTimeout(() => process.exit(7), 10);`,
    );
    t.deepEqual(result, { text: '', code: 7 });
  });

  test(`${title}: the process can exit while a thread waits`, async (t) => {
    const result = await run(
      title,
      `const session = addon.createSession({ name: 'x' });
       const workerData = { session: session.id, title: ${JSON.stringify(title)} };
       const worker = new Worker(new URL(${urlOf('test', 'helpers', 'wait-in-thread.js')}), { workerData, execArgv: [] });
       // Not before: a session that nobody holds any more would be gone.
       worker.once('message', () => process.exit(session.id === '' ? 1 : 7));`,
    );
    t.deepEqual(result, { text: '', code: 7 });
  });

  for (const how of ['terminate', 'exit', 'throw'] as const) {
    test(`${title}: a thread that ends by ${how} takes nothing with it`, async (t) => {
      const session = sessionOf(t);
      const workerData: WaitingThread = { session: session.id, title };
      const worker = new Worker(new URL('../helpers/wait-in-thread.js', import.meta.url), { workerData });
      worker.on('error', () => {});
      const exited = new Promise((resolve) => worker.once('exit', resolve));
      await once(worker, 'message');
      if (how === 'terminate') await worker.terminate();
      else worker.postMessage(how);
      await exited;
      const { outlive, outlived } = WAITS.find((one) => one.title === title)!;
      t.is(await outlive(session), outlived);
    });
  }
}
