/** A queue per task through which it hands over a variable's gradient, and the operations that take one element of each. */
import { type AttrValue, attr, attributes } from '../graph/attributes.js';
import type { DType } from '../graph/dtype.js';
import type { Operation, Tensor } from '../graph/operation.js';
import type { GradientPair } from '../graph/training-graph.js';
import { newName, operation, type Site } from './make.js';
import type { RewriteContext } from './pass.js';
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
  const types = attr.list(parts.map(([, dtype]) => attr.type(dtype)));
  const queues = Array.from({ length: context.taskCount }, (_, task) =>
    gradientQueue(site, context, pair, task, { types, capacity }),
  );
  const apply = operation(site, newName(site, 'enqueue_gradient'), {
    type: 'QueueEnqueueV2',
    inputs: [queues[context.isChief ? 0 : 1]!, ...parts.map(([tensor]) => tensor)],
    attributes: attributes({ Tcomponents: types, timeout_ms: attr.int(-1) }),
  });
  const takes = queues.map((queue, task) =>
    operation(site, newName(site, 'dequeue_gradient', String(task)), {
      type: 'QueueDequeueV2',
      inputs: [queue],
      // The chief's own gradient is in first: so whatever needs the mean also contributes to it.
      after: context.isChief && inStep ? [apply] : [],
      attributes: attributes({ component_types: types, timeout_ms: attr.int(-1) }),
    }),
  );
  return { apply, takes, queues };
}

function gradientQueue(
  site: Site,
  { digest }: RewriteContext,
  { variable }: GradientPair,
  task: number,
  { types, capacity }: { readonly types: AttrValue; readonly capacity: number },
): Tensor {
  return operation(site, newName(site, 'grad_queue', String(task)), {
    type: 'FIFOQueueV2',
    attributes: attributes({
      component_types: types,
      shapes: attr.list([]),
      capacity: attr.int(capacity),
      container: attr.string(digest),
      shared_name: attr.string(gradientQueueName(variable, task)),
    }),
  }).output();
}
