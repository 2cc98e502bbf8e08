/** How processes end while something waits, and what the garbage collector may take: each in a process of its own, with a time limit. */
import { pathToFileURL } from 'node:url';
import test from 'ava';
import { projectPath } from '../helpers/paths.js';
import { runText } from '../helpers/processes.js';

const PRELUDE = `
import { loadAddon } from ${JSON.stringify(pathToFileURL(projectPath('dist', 'src', 'addon', 'load.js')).href)};
const addon = loadAddon();
const spec = { dtype: 'float32', shape: null, reduction: 'mean' };
const FOREVER = { deadlineMs: Infinity };
`;

/** Runs a program; gives its exit code and what it printed on both streams. */
async function run(program: string): Promise<{ code: number; lines: readonly string[] }> {
  const { code, stdout, stderr } = await runText(`${PRELUDE}${program}`);
  return { code, lines: `${stdout}${stderr}`.split('\n').filter((line) => line !== '') };
}

const COLLECT = `
const collect = async () => {
  for (let i = 0; i < 5; i++) { gc(); await new Promise(setImmediate); }
};
`;

const CASES: readonly [title: string, program: string, lines: readonly string[], code: number][] = [
  [
    'process.exit works while something waits',
    `addon.createSession({ name: 'x' }).denseAccumulator('g', spec).take(1, FOREVER).promise.catch(() => {});
     setTimeout(() => { console.log('exiting'); process.exit(7); }, 10);`,
    ['exiting'],
    7,
  ],
  [
    'process.exit works while the threads of a session reduce',
    `const a = addon.createSession({ name: 'x' }).denseAccumulator('g', spec);
     const gradient = new Float32Array(1 << 21);
     for (let i = 0; i < 8; i++) a.apply(0, i, gradient, [gradient.length]);
     a.take(8, FOREVER);
     process.exit(0);`,
    [],
    0,
  ],
  [
    'a wait keeps the process alive until it ends',
    `addon.createSession({ name: 'x' }).denseAccumulator('g', spec).take(1, { deadlineMs: 50 }).promise
       .catch((error) => console.log(error.code));`,
    ['DEADLINE_EXCEEDED'],
    0,
  ],
  [
    'after close nothing keeps the process alive',
    `const s = addon.createSession({ name: 'x' });
     s.denseAccumulator('g', spec).take(1, FOREVER).promise.catch((error) => console.log(error.code));
     s.tokenQueue('q', { dtypes: ['int64'], shapes: null, capacity: 1 }).dequeue(FOREVER).promise.catch((error) => console.log(error.code));
     s.close('done');`,
    ['CANCELLED', 'CANCELLED'],
    0,
  ],
  [
    'an open session without a wait does not keep the process alive',
    `addon.createSession({ name: 'x' });`,
    [],
    0,
  ],
  [
    'a wait goes on when everything JavaScript had of it is collected',
    `${COLLECT}
     let id;
     (() => {
       const s = addon.createSession({ name: 'x' });
       id = s.id;
       s.denseAccumulator('g', spec).take(2, FOREVER).promise.then(({ data }) => console.log(data.join()));
     })();
     await collect();
     addon.attachSession(id).denseAccumulator('g', spec).apply(0, 0, new Float32Array([1]), [1]);
     await collect();
     addon.attachSession(id).denseAccumulator('g', spec).apply(0, 1, new Float32Array([3]), [1]);`,
    ['2'],
    0,
  ],
  [
    'a session that nobody holds goes, and takes its threads along',
    `${COLLECT}
     let id;
     (() => { const s = addon.createSession({ name: 'x' }); id = s.id; s.variable('w', { dtype: 'float32', shape: null }); })();
     await collect();
     try { addon.attachSession(id); } catch (error) { console.log(error.code); }`,
    ['NOT_FOUND'],
    0,
  ],
  [
    'an object keeps its session',
    `${COLLECT}
     const { variable, id } = (() => {
       const s = addon.createSession({ name: 'x' });
       return { variable: s.variable('w', { dtype: 'float32', shape: null }), id: s.id };
     })();
     await collect();
     variable.assign(new Float32Array([4]), [1]);
     console.log(addon.attachSession(id).variable('w', { dtype: 'float32', shape: null }).read().data.join());`,
    ['4'],
    0,
  ],
  [
    'memory that was taken outlives session and collection',
    `${COLLECT}
     const taken = await (async () => {
       const s = addon.createSession({ name: 'x' });
       const a = s.denseAccumulator('g', spec);
       a.apply(0, 0, new Float32Array(1 << 16).fill(3), [1 << 16]);
       const { data } = await a.take(1, FOREVER).promise;
       s.close('done');
       return data;
     })();
     await collect();
     console.log(taken.every((value) => value === 3));`,
    ['true'],
    0,
  ],
  [
    'a worker that dies of an error while it waits does not take the process along',
    `import { Worker } from 'node:worker_threads';
     const s = addon.createSession({ name: 'x' });
     const worker = new Worker(${JSON.stringify(`
       import { workerData } from 'node:worker_threads';
       import(workerData.load).then(({ loadAddon }) => {
         const spec = { dtype: 'float32', shape: null, reduction: 'mean' };
         loadAddon().attachSession(workerData.id).denseAccumulator('g', spec).take(1, { deadlineMs: Infinity });
         setImmediate(() => { throw new Error('died'); });
       });`)}, { eval: true, workerData: { id: s.id, load: ${JSON.stringify(
       pathToFileURL(projectPath('dist', 'src', 'addon', 'load.js')).href,
     )} } });
     worker.on('error', (error) => console.log(error.message));
     worker.on('exit', async () => {
       const a = s.denseAccumulator('g', spec);
       a.apply(0, 0, new Float32Array([6]), [1]);
       console.log((await a.take(1, FOREVER).promise).data.join());
     });`,
    ['died', '6'],
    0,
  ],
];

for (const [title, program, lines, code] of CASES) {
  test(title, async (t) => {
    t.deepEqual(await run(program), { code, lines });
  });
}
