/** Every kind of wait against the garbage collector, the end of its thread and the end of its process. */
import { once } from 'node:events';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import test from 'ava';
import { sessionOf } from '../helpers/addon.js';
import { projectPath } from '../helpers/paths.js';
import { runText } from '../helpers/processes.js';
import type { WaitingThread } from '../helpers/wait-in-thread.js';
import { WAITS } from '../helpers/waits.js';

const urlOf = (...path: string[]): string => JSON.stringify(pathToFileURL(projectPath('dist', ...path)).href);
const PRELUDE = `
import { Worker } from 'node:worker_threads';
import { loadAddon } from ${urlOf('src', 'addon', 'load.js')};
import { WAITS } from ${urlOf('test', 'helpers', 'waits.js')};
const addon = loadAddon();
const collect = async () => {
  for (let i = 0; i < 5; i++) { gc(); await new Promise(setImmediate); }
};
`;

/** Runs a program on all waits, in one process; everything it printed, on both streams, and how it ended. */
async function run(program: string): Promise<{ text: string; code: number }> {
  const { stdout, stderr, code } = await runText(`${PRELUDE}${program}`);
  return { text: `${stdout}${stderr}`, code };
}

const TITLES = WAITS.map(({ title }) => `${title}\n`).join('');

test.serial('every wait goes on when everything JavaScript had of it is collected', async (t) => {
  const result = await run(
    `for (const wait of WAITS) {
       let id, ended;
       (() => {
         const session = addon.createSession({ name: 'x' });
         id = session.id;
         ended = wait.begin(session).promise.then(() => console.log(wait.title));
       })();
       await collect();
       (() => { void wait.finish(addon.attachSession(id)); })();
       await collect();
       await ended;
     }`,
  );
  t.deepEqual(result, { text: TITLES, code: 0 });
});

test.serial(
  'a promise that nobody holds settles without harm, well or badly, whatever the wait',
  async (t) => {
    const result = await run(
      `for (const wait of WAITS) {
       for (let i = 0; i < 10; i++) {
         const session = addon.createSession({ name: 'x', threads: 1 });
         const pending = wait.begin(session);
         pending.promise.catch(() => {});
         if (i % 2 === 0) await wait.finish(session);
         else pending.cancel();
         await collect();
         session.close('done');
       }
       console.log(wait.title);
     }`,
    );
    t.deepEqual(result, { text: TITLES, code: 0 });
  },
);

test.serial('the process can exit in the middle of every wait, and says nothing', async (t) => {
  const result = await run(
    `for (const wait of WAITS) wait.begin(addon.createSession({ name: 'x' })).promise.catch(() => {});
     setTimeout(() => process.exit(7), 10);`,
  );
  t.deepEqual(result, { text: '', code: 7 });
});

test.serial('the process can exit while threads are in the middle of every wait', async (t) => {
  const result = await run(
    `let begun = 0;
     const sessions = WAITS.map(({ title }) => {
       const session = addon.createSession({ name: 'x' });
       const workerData = { session: session.id, title };
       const worker = new Worker(new URL(${urlOf('test', 'helpers', 'wait-in-thread.js')}), { workerData, execArgv: [] });
       worker.once('message', () => { if (++begun === WAITS.length) process.exit(sessions.length === begun ? 7 : 1); });
       return session;
     });`,
  );
  t.deepEqual(result, { text: '', code: 7 });
});

for (const { title, outlive, outlived } of WAITS) {
  for (const how of ['terminate', 'exit', 'throw'] as const) {
    test.serial(`${title}: a thread that ends by ${how} takes nothing with it`, async (t) => {
      const session = sessionOf(t);
      const workerData: WaitingThread = { session: session.id, title };
      const worker = new Worker(new URL('../helpers/wait-in-thread.js', import.meta.url), { workerData });
      worker.on('error', () => {});
      const exited = new Promise((resolve) => worker.once('exit', resolve));
      await once(worker, 'message');
      if (how === 'terminate') await worker.terminate();
      else worker.postMessage(how);
      await exited;
      t.is(await outlive(session), outlived);
    });
  }
}
