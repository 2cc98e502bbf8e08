/** A heap that is full is RESOURCE_EXHAUSTED, wherever it runs out. */
import test from 'ava';
import { GradsyncError } from '../../../src/errors.js';
import { attr, attributes } from '../../../src/graph/attributes.js';
import type { Graph } from '../../../src/graph/graph.js';
import { openBackend } from '../../../src/runtime/embedded/backend.js';
import { reportFailure } from '../../../src/runtime/embedded/failure.js';
import { hostArray } from '../../../src/runtime/embedded/kernels/host.js';
import { openEmbeddedSession } from '../../../src/runtime/index.js';
import { handBuiltTasks } from '../../helpers/hand-built.js';
import { throwsTyped } from '../../helpers/throws.js';

const GIB = 2 ** 30;

test('an allocation that does not fit into what is left is RESOURCE_EXHAUSTED, and smaller ones still fit', async (t) => {
  const backend = await openBackend();
  const allocate = (bytes: number) => backend.makeOutput([bytes / 4], 'float32');
  // Nothing is written, so no memory is touched.
  const first = allocate(2.5 * GIB);
  throwsTyped(t, () => allocate(2.5 * GIB), 'RESOURCE_EXHAUSTED', 'Wasm memory', 'smaller batch');
  throwsTyped(t, () => allocate(4 * GIB + 64), 'RESOURCE_EXHAUSTED', 'Wasm memory');
  backend.disposeData(first.dataId);
  backend.disposeData(allocate(2.5 * GIB).dataId);
  const small = allocate(1024);
  t.is(backend.typedArrayFromHeap(small).length, 256);
});

test('sizes that no tensor has, as a fed shape may give them, are INVALID_ARGUMENT', (t) => {
  for (const size of [-1, 2 ** 33, Number.NaN]) {
    throwsTyped(t, () => hostArray('int32', size), 'INVALID_ARGUMENT', 'shapes that are fed', String(size));
  }
});

/** What WebAssembly throws. */
const trap = (message: string): Error => Object.assign(new Error(message), { name: 'RuntimeError' });

test('a module that aborts says that memory ran out', (t) => {
  const place = { task: 0, step: 1, activity: 'step', inBackground: false } as const;
  const { error } = reportFailure(trap('Aborted()'), place);
  t.is(error.code, 'RESOURCE_EXHAUSTED');
  t.regex(error.message, /^Task 0, step 1: Wasm memory: .*out of wasm memory.*smaller batch/);
  t.is(reportFailure(trap('unreachable'), place).error.code, 'INTERNAL');
});

test('a step whose tensors are larger than the heap is RESOURCE_EXHAUSTED naming the operation', async (t) => {
  const session = await openEmbeddedSession({ tasks: handBuiltTasks(1, { edit: addOuterProduct }) });
  t.teardown(() => session.close());
  const size = 40_000;
  const column = { dtype: 'float32', shape: [size, 1], data: new Float32Array(size) } as const;
  const run = session.runTask(0, { feeds: { column }, fetches: ['outer'] });
  const error = await t.throwsAsync(run, { instanceOf: GradsyncError });
  t.is(error?.code, 'RESOURCE_EXHAUSTED', error?.message);
  t.regex(error?.message ?? '', /"outer" \(MatMul\): Wasm memory: .*6400000000 bytes; take a smaller batch/);
});

function addOuterProduct(graph: Graph): void {
  const type = attr.type('float32');
  const column = graph.add({
    type: 'Placeholder',
    name: 'column',
    attributes: attributes({ dtype: type, shape: attr.shape(null) }),
  });
  graph.add({
    type: 'MatMul',
    name: 'outer',
    inputs: [column.output(), column.output()],
    attributes: attributes({ T: type, transpose_a: attr.bool(false), transpose_b: attr.bool(true) }),
  });
}
