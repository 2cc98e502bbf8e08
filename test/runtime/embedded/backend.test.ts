/** The wasm backend opens in the main thread and in workers, once per thread, and leaves the process as it was. */
import { once } from 'node:events';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import test from 'ava';
import { openBackend } from '../../../src/runtime/embedded/backend.js';
import { projectPath } from '../../helpers/paths.js';

const moduleUrl = (...path: string[]): string =>
  JSON.stringify(pathToFileURL(projectPath('dist', 'src', 'runtime', 'embedded', ...path)));

test('callers in one thread share one backend, however early they come', async (t) => {
  const [first, second] = await Promise.all([openBackend(), openBackend()]);
  t.is(first, second);
  t.is(await openBackend(), first);
});

test('opening leaves no listener for uncaught errors behind', async (t) => {
  await openBackend();
  const listeners = process.listeners('uncaughtException').map(String).join('\n');
  t.notRegex(listeners, /ExitStatus/);
});

test('each worker thread opens a backend of its own and computes with it', async (t) => {
  const backend = moduleUrl('backend.js');
  const kernels = moduleUrl('kernels', 'wasm.js');
  const code = `
    import { parentPort } from 'node:worker_threads';
    const { openBackend } = await import(${backend});
    const { wasmKernel } = await import(${kernels});
    const backend = await openBackend();
    const x = backend.makeOutput([100], 'float32');
    backend.typedArrayFromHeap(x).fill(3);
    const y = wasmKernel('Square')(backend, { x });
    parentPort.postMessage({ first: backend.typedArrayFromHeap(y)[0], ids: backend.numDataIds() });
  `;
  const start = (): Worker => new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`));
  const workers = [start(), start()];
  const answers = await Promise.all(workers.map((worker) => once(worker, 'message')));
  for (const [answer] of answers) t.deepEqual(answer, { first: 9, ids: 2 });
  await Promise.all(workers.map((worker) => worker.terminate()));
});
