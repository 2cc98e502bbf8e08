/**
 * The gradient of a task: the mean over its replicas, on its CPU (their sum, if a collective takes it). The operation that hands the gradient on keeps its place and takes the mean
 * instead of the first replica's gradient. Slices are put one behind the other, in the order of the replicas.
 */
import { attr, attributes } from '../graph/attributes.js';
import type { DType } from '../graph/dtype.js';
import type { Tensor } from '../graph/operation.js';
import type { GradientPair } from '../graph/training-graph.js';
import { dtypeOf } from './dtype-of.js';
import { gradientTensors } from './gradient-region.js';
import { concatenate, constant, type NumberType, newName, operation, type Site } from './make.js';
import { type Draft, isCollective, type RewriteContext } from './pass.js';
import type { Replicas } from './replicate.js';

/** `pairs` have the Identities of the gradient-edge pass as their gradients. */
export function aggregateReplicas(
  { graph }: Draft,
  context: RewriteContext,
  pairs: readonly GradientPair[],
  replicas: Replicas,
): void {
  for (const pair of pairs) {
    const tensors = gradientTensors(pair);
    // A gradient that no replica's data decides is the same for all, and so is the mean.
    const isShared = tensors.every((tensor) => localGradients(tensor, replicas).length === 1);
    if (isShared && (context.taskCount === 1 || !isCollective(pair, context))) continue;
    const site = { graph, device: context.devices.cpu, pass: 'replicas', source: pair.variable.name };
    // A collective divides by the number of all replicas, as every one counts the same.
    const isMean = context.taskCount === 1 || !isCollective(pair, context);
    const divide = (sum: Tensor): Tensor => (isMean ? divided(site, pair, sum, replicas.count) : sum);
    if (pair.gradient.kind === 'dense') {
      hand(
        site,
        pair.gradient.tensor,
        divide(sumOf(site, pair, eachGradient(pair.gradient.tensor, replicas))),
      );
    } else {
      const { indices, values } = pair.gradient;
      hand(site, indices, join(site, 'indices', indices, dtypeOf(indices), replicas));
      hand(site, values, divide(join(site, 'values', values, pair.variable.dtype, replicas)));
    }
  }
}

/** What each replica has computed; one tensor if they share it. */
function localGradients(gradient: Tensor, replicas: Replicas): readonly Tensor[] {
  return replicas.ofTensor(gradient.operation.inputs[0]!);
}

/** Makes the operation that hands a gradient on take another value, on the CPU where that was made. */
function hand({ graph, device }: Site, gradient: Tensor, value: Tensor): void {
  graph.setInput(gradient.operation, 0, value);
  graph.setDevice(gradient.operation, device);
}

function sumOf(site: Site, pair: GradientPair, gradients: readonly Tensor[]): Tensor {
  return operation(site, newName(site, 'replica_sum'), {
    type: 'AddN',
    inputs: gradients,
    attributes: attributes({ N: attr.int(gradients.length), T: attr.type(pair.variable.dtype) }),
  }).output();
}

function divided(site: Site, { variable }: GradientPair, sum: Tensor, count: number): Tensor {
  const divisor = constant(site, newName(site, 'replica_count'), variable.dtype as NumberType, [count]);
  return operation(site, newName(site, 'replica_mean'), {
    type: 'RealDiv',
    inputs: [sum, divisor],
    attributes: attributes({ T: attr.type(variable.dtype) }),
  }).output();
}

/** One for each replica, also where they share it. */
function eachGradient(gradient: Tensor, replicas: Replicas): readonly Tensor[] {
  const local = localGradients(gradient, replicas);
  return local.length === 1 ? new Array<Tensor>(replicas.count).fill(local[0]!) : local;
}

function join(site: Site, what: string, gradient: Tensor, dtype: DType, replicas: Replicas): Tensor {
  return concatenate(site, `replica_${what}`, eachGradient(gradient, replicas), dtype);
}
