/** A queue per task through which it hands over a variable's gradient, and the operations that take one element of each. */
import type { DType } from '../graph/dtype.js';
import type { Operation, Tensor } from '../graph/operation.js';
import type { GradientPair } from '../graph/training-graph.js';
import type { Site } from './make.js';
import type { RewriteContext } from './pass.js';
import { dequeue, enqueue, fifoQueue } from './queues.js';
import { gradientQueueName } from './shared-objects.js';

/** How gradients go through queues. */
export interface Queueing {
  /** Elements a queue holds: the steps a task may hand over before the first of them is taken. */
  readonly capacity: number;
  /** Whether the chief takes in the very step in which it gives, as opposed to a run of its own in the background. */
  readonly inStep: boolean;
}

export const IN_STEP: Queueing = { capacity: 1, inStep: true };

export interface QueuedGradients {
  readonly apply: Operation;
  /** By task. */
  readonly takes: readonly Operation[];
  /** By task: input 0 of `apply` is that of the task. */
  readonly queues: readonly Tensor[];
}

/** `parts`: the tensors of an element, with their types. */
export function queueGradients(
  site: Site,
  context: RewriteContext,
  pair: GradientPair,
  parts: readonly (readonly [Tensor, DType])[],
  { capacity, inStep }: Queueing,
): QueuedGradients {
  const types = parts.map(([, dtype]) => dtype);
  const queues = Array.from({ length: context.taskCount }, (_, task) =>
    fifoQueue(site, ['grad_queue', String(task)], {
      types,
      capacity,
      container: context.digest,
      sharedName: gradientQueueName(pair.variable, task),
    }),
  );
  const own = queues[context.isChief ? 0 : 1]!;
  const tensors = parts.map(([tensor]) => tensor);
  const apply = enqueue(site, ['enqueue_gradient'], own, tensors);
  // The chief's own gradient is in first: so whatever needs the mean also contributes to it.
  const after = context.isChief && inStep ? [apply] : [];
  const takes = queues.map((queue, task) => dequeue(site, ['dequeue_gradient', String(task)], queue, after));
  return { apply, takes, queues };
}
