/** A step leaves nothing behind on the wasm heap: tasks run in this thread, so that its entries can be counted. */
import test from 'ava';
import { loadAddon } from '../../../src/addon/index.js';
import { openBackend } from '../../../src/runtime/embedded/backend.js';
import { Binder } from '../../../src/runtime/embedded/binding.js';
import { BoardRow, createBoard } from '../../../src/runtime/embedded/board.js';
import { COMPUTE_KERNELS } from '../../../src/runtime/embedded/kernels/index.js';
import { RESOURCE_KERNELS } from '../../../src/runtime/embedded/kernels/resource-kernels.js';
import { openTaskGraph } from '../../../src/runtime/embedded/lowering/lower.js';
import { TaskResources } from '../../../src/runtime/embedded/resources.js';
import { Task } from '../../../src/runtime/embedded/task.js';
import { ThreadRuntime } from '../../../src/runtime/embedded/task-runtime.js';
import { TrafficBoard, TrafficRow } from '../../../src/runtime/embedded/traffic-board.js';
import { programRequest } from '../../../src/runtime/request.js';
import { rewriteFixture, stepRequests } from '../../helpers/embedded.js';
import { fixtureNamed } from '../../helpers/fixtures.js';

for (const name of [
  'mnist-cnn.resource',
  'mnist-cnn-clipped.reference',
  'spam.reference',
  'words-adam-clipped.resource',
  'recurrent-frames.reference',
  'recurrent-while.resource',
  'arrays-frames.resource',
  'arrays-while.resource',
  'branching-frames.resource',
  'branching-if.resource',
  'calling.resource',
]) {
  test.serial(`${name}: the wasm heap has as many tensors after each step as after the second`, async (t) => {
    const fixture = fixtureNamed(name);
    const [{ graph: bytes, plan }] = rewriteFixture(fixture, 1) as [ReturnType<typeof rewriteFixture>[0]];
    const backend = await openBackend();
    const addon = loadAddon();
    const native = addon.createSession({ name });
    const resources = new TaskResources(native, backend, 0);
    const binder = new Binder(resources, COMPUTE_KERNELS, RESOURCE_KERNELS);
    const row = new BoardRow(createBoard(1), 0);
    const runtime = new ThreadRuntime(addon, backend, 10_000);
    const traffic = new TrafficRow(new TrafficBoard(1, 1).memory, 1, 0);
    const task = new Task({ graph: openTaskGraph(bytes), resources, binder, runtime, row, traffic });
    for (const operation of plan.initializers) {
      await task.run(task.prepare({ feeds: [], tensors: [], operations: [operation], guarded: [] }).id, []);
    }
    const [request] = stepRequests(fixture, 1)(0);
    const names = programRequest(plan, Object.keys(request!.feeds), request!.fetches);
    const { id } = task.prepare(names.program);
    const counts: number[] = [];
    for (let step = 0; step < 5; step++) {
      await task.run(id, Object.values(request!.feeds));
      counts.push(backend.numDataIds());
    }
    t.deepEqual(counts.slice(1), new Array(4).fill(counts[1]));
    native.close('done');
  });
}
