/**
 * Dense gradients: a conditional accumulator on the variable's device, of which the chief takes the mean over all tasks; or, where tasks may
 * run ahead, a queue per task, and the mean of one gradient of each.
 */
import { attr, attributes } from '../graph/attributes.js';
import type { Operation, Tensor } from '../graph/operation.js';
import type { GradientPair } from '../graph/training-graph.js';
import { type Queueing, queueGradients } from './gradient-queues.js';
import { constant, type NumberType, newName, operation, type Site } from './make.js';
import type { RewriteContext } from './pass.js';
import { accumulatorName, MAX_INT64 } from './shared-objects.js';

export interface Handover {
  readonly apply: Operation;
  /** After these every task has handed over its gradient, and so has read the variable. */
  readonly takes: readonly Operation[];
  readonly chiefOnly: readonly Operation[];
  /** What divides by the number of tasks, where an accumulator does not. */
  readonly mean?: Operation;
  /** Where each task hands over its slices through a queue of its own, these: input 0 of `apply` is that of the task. */
  readonly queues?: readonly Tensor[];
}

export function aggregateDense(site: Site, context: RewriteContext, pair: GradientPair): Handover {
  const { variable, gradient } = pair;
  if (gradient.kind !== 'dense') throw new Error('unreachable: the caller knows the kind');
  // Taken before the apply is added: it must not be fed by its own take.
  const consumers = [...gradient.tensor.consumers];
  const types = attributes({ dtype: attr.type(variable.dtype) });
  const handle = operation(site, newName(site, 'grad_accum'), {
    type: 'ResourceConditionalAccumulator',
    attributes: attributes({
      dtype: attr.type(variable.dtype),
      shape: attr.shape(variable.shape),
      container: attr.string(context.digest),
      shared_name: attr.string(accumulatorName(variable)),
      reduction_type: attr.string('MEAN'),
    }),
  }).output();
  const step = constant(site, newName(site, 'local_step'), 'int64', [MAX_INT64]);
  const apply = operation(site, newName(site, 'apply_gradient'), {
    type: 'ResourceAccumulatorApplyGradient',
    inputs: [handle, step, gradient.tensor],
    attributes: types,
  });
  const required = context.contributors.count(site, 'required', 'tasks', 'int32');
  const take = operation(site, newName(site, 'take_gradient'), {
    type: 'ResourceAccumulatorTakeGradient',
    inputs: [handle, required],
    // The chief's own gradient is in first: so whatever needs the mean also contributes to it.
    after: context.isChief ? [apply] : [],
    attributes: types,
  });
  site.graph.replaceInput(gradient.tensor, take.output(), consumers);
  return { apply, takes: [take], chiefOnly: [take] };
}

/** The sum is taken in the order of the tasks. */
export function aggregateQueued(
  site: Site,
  context: RewriteContext,
  pair: GradientPair,
  queueing: Queueing,
): Handover {
  const { variable, gradient } = pair;
  if (gradient.kind !== 'dense') throw new Error('unreachable: the caller knows the kind');
  const consumers = [...gradient.tensor.consumers];
  const { apply, takes, queues } = queueGradients(
    site,
    context,
    pair,
    [[gradient.tensor, variable.dtype]],
    queueing,
  );
  const type = attr.type(variable.dtype);
  const sum = operation(site, newName(site, 'sum_gradients'), {
    type: 'AddN',
    inputs: takes.map((take) => take.output()),
    attributes: attributes({ N: attr.int(takes.length), T: type }),
  });
  const count = context.contributors.count(site, 'count', 'tasks', variable.dtype as NumberType);
  const mean = operation(site, newName(site, 'mean_gradient'), {
    type: 'RealDiv',
    inputs: [sum.output(), count],
    attributes: attributes({ T: type }),
  });
  site.graph.replaceInput(gradient.tensor, mean.output(), consumers);
  return { apply, takes, queues, mean, chiefOnly: [...takes, sum, mean] };
}
