/**
 * Fetches of what every replica computes for itself: a value over a batch is put together from the replicas' shares, a float scalar (a loss)
 * is their mean, anything else the first replica's. Shapes are those that the graph tells (`_output_shapes`, which exports carry).
 */
import type { DType } from '../graph/dtype.js';
import { outputCount, updateRule } from '../graph/op-catalog.js';
import type { Operation, Tensor } from '../graph/operation.js';
import type { Shape } from '../graph/shape.js';
import { producedType } from './dtype-of.js';
import type { FetchPlan } from './plan.js';
import type { Replicas } from './replicate.js';
import { eachConsumer } from './walk.js';

const FLOATS = new Set<DType>(['float16', 'bfloat16', 'float32', 'float64']);

/** How a tensor is fetched: under its own name where replicas share it. */
export function fetchOf(tensor: Tensor, replicas: Replicas): FetchPlan {
  const tensors = replicas.ofTensor(tensor).map(({ name }) => name);
  const combine = tensors.length === 1 ? 'first' : combinationOf(tensor);
  return { tensors: combine === 'first' ? tensors.slice(0, 1) : tensors, combine };
}

function combinationOf(tensor: Tensor): 'first' | 'concat' | 'mean' {
  const shape = shapeOf(tensor);
  if (shape === undefined || shape === null) return 'first';
  if (shape.length > 0) return shape[0]! < 0 ? 'concat' : 'first';
  const dtype = producedType(tensor);
  return dtype !== undefined && FLOATS.has(dtype) ? 'mean' : 'first';
}

/** The shape that the graph tells of a tensor (`_output_shapes`). */
export function shapeOf({ operation, index }: Tensor): Shape | undefined {
  const shapes = operation.attributes.get('_output_shapes');
  const shape = shapes?.kind === 'list' ? shapes.items[index] : undefined;
  return shape?.kind === 'shape' ? shape.value : undefined;
}

/**
 * The fetches that are listed without being asked for: results that nothing in the graph takes, and scalars. All else would make the plan as
 * large as the graph; it is listed when it is announced.
 */
export function replicaFetches(replicas: Replicas): Record<string, FetchPlan> {
  const found: Record<string, FetchPlan> = {};
  for (const operation of replicas.replicated) {
    for (const tensor of outputsOf(operation)) {
      const combine = combinationOf(tensor);
      if (combine === 'mean' || (combine === 'concat' && tensor.consumers.size === 0)) {
        found[tensor.name] = fetchOf(tensor, replicas);
      }
    }
  }
  return found;
}

/**
 * Changes of state that every replica has for itself, other than initializers: one that is fetched is run by all of them. Where something
 * waits that replicas share (a training operation), it waits for all as it is.
 */
export function ownChanges(replicas: Replicas): Record<string, FetchPlan> {
  const initializers = new Set(replicas.training.variables.map(({ initializer }) => initializer));
  const isCopied = (operation: Operation): boolean => replicas.of(operation).length > 1;
  const found: Record<string, FetchPlan> = {};
  for (const operation of replicas.replicated) {
    if (updateRule(operation.type) === undefined || initializers.has(operation)) continue;
    let isShared = false;
    eachConsumer(operation, true, (consumer) => {
      isShared ||= !isCopied(consumer);
    });
    if (!isShared) found[operation.name] = { operations: replicas.of(operation).map(({ name }) => name) };
  }
  return found;
}

/** The outputs that something takes; the first one of an operation of which nothing is taken. */
function outputsOf(operation: Operation): readonly Tensor[] {
  if (operation.outputs.length === 0) return outputCount(operation.type) === 0 ? [] : [operation.output()];
  return operation.outputs.filter((output) => output !== undefined);
}
