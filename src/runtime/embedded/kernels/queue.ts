/** First-in first-out queues: tokens that hold workers in step, and slices on their way to the task that owns a variable. */
import type { NativeDType, NativeTensor } from '../../../addon/native.js';
import type { Operation } from '../../../graph/operation.js';
import type { BoundKernel } from '../kernel.js';
import type { TaskResources } from '../resources.js';
import { Value } from '../value.js';
import { boolAttr } from './attributes.js';
import { numeric } from './host.js';
import { handleAt, NOTHING, type ResourceKernel, type ResourceKernelTable } from './resource-kernel.js';
import { waitFor } from './wait.js';

const make: ResourceKernel = { handles: [], bind: () => () => NOTHING };

function onQueue(bind: (operation: Operation, resources: TaskResources) => BoundKernel): ResourceKernel {
  return { handles: [0], bind };
}

const enqueue = onQueue((operation, resources) => {
  const { key, object, traffic } = resources.queue(handleAt(operation, 0));
  return async ([, ...components], runtime) => {
    // The queue copies the element before it returns: a view of the wasm heap need not live any longer.
    const element = components.map(tensorOf);
    await waitFor(key, object.enqueue(element, { deadlineMs: runtime.deadlineMs }));
    traffic.given++;
    return NOTHING;
  };
});

const enqueueMany = onQueue((operation, resources) => {
  const { key, object, traffic } = resources.queue(handleAt(operation, 0));
  return async ([, ...components], runtime) => {
    const batch = components.map(tensorOf);
    await waitFor(key, object.enqueueMany(batch, { deadlineMs: runtime.deadlineMs }));
    traffic.given++;
    return NOTHING;
  };
});

const dequeue = onQueue((operation, resources) => {
  const { key, object, traffic } = resources.queue(handleAt(operation, 0));
  return async (_inputs, runtime) => {
    const element = await waitFor(key, object.dequeue({ deadlineMs: runtime.deadlineMs }));
    traffic.taken++;
    return element.map(({ dtype, shape, data }) => Value.ofHost(dtype, shape, data));
  };
});

const size = onQueue((operation, resources) => {
  const { object } = resources.queue(handleAt(operation, 0));
  return () => [Value.ofHost('int32', [], Int32Array.of(object.size))];
});

const isClosed = onQueue((operation, resources) => {
  const { object } = resources.queue(handleAt(operation, 0));
  return () => [Value.ofHost('bool', [], Uint8Array.of(object.isClosed ? 1 : 0))];
});

const close = onQueue((operation, resources) => {
  const { key, object } = resources.queue(handleAt(operation, 0));
  const cancel = boolAttr(operation, 'cancel_pending_enqueues', false);
  return async (_inputs, runtime) => {
    await waitFor(key, object.close(cancel, { deadlineMs: runtime.deadlineMs }));
    return NOTHING;
  };
});

export const QUEUE_KERNELS: ResourceKernelTable = {
  FIFOQueueV2: make,
  FIFOQueue: make,
  QueueEnqueueV2: enqueue,
  QueueEnqueue: enqueue,
  QueueEnqueueManyV2: enqueueMany,
  QueueEnqueueMany: enqueueMany,
  QueueDequeueV2: dequeue,
  QueueDequeue: dequeue,
  QueueSizeV2: size,
  QueueSize: size,
  QueueIsClosedV2: isClosed,
  QueueIsClosed: isClosed,
  QueueCloseV2: close,
  QueueClose: close,
};

function tensorOf(value: Value): NativeTensor {
  return { dtype: value.dtype as NativeDType, shape: value.shape, data: numeric(value) };
}
