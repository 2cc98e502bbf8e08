/** Feeds after rewriting: what is fed is split over the replicas, or given to each, along the axis that is recorded here. */
import { GradsyncError } from '../errors.js';
import type { Graph } from '../graph/graph.js';
import type { Operation, Tensor } from '../graph/operation.js';
import { findTensor } from '../graph/outputs.js';
import type { Shape } from '../graph/shape.js';
import type { FeedPlan } from './plan.js';
import type { Replicas } from './replicate.js';

/** What a user says about a feed: split along an axis, or give the whole to every replica. */
export type FeedOverride = { readonly split: number } | 'all';

export interface FeedInput {
  readonly placeholders: readonly Operation[];
  /** Those that all tasks must be fed the same. */
  readonly alike: readonly Operation[];
  readonly overrides: ReadonlyMap<string, FeedOverride>;
  readonly replicas: Replicas;
}

const FED = {
  expected: 'a tensor of the graph',
  remedy: 'correct the name that --feed, or the option feeds, gives',
};

/** Feeds by tensor name, sorted. */
export function planFeeds(
  graph: Graph,
  { placeholders, alike, overrides, replicas }: FeedInput,
): Readonly<Record<string, FeedPlan>> {
  const feeds = new Map<string, FeedPlan>();
  const add = (tensor: Tensor, split: number | null): void => {
    const tensors = replicas.ofTensor(tensor).map(({ name }) => name);
    const isAlike = tensor.index === 0 && alike.includes(tensor.operation);
    feeds.set(tensor.name, { tensors, split, ...(isAlike ? { alike: true } : {}) });
  };
  for (const operation of placeholders) add(operation.output(), defaultSplit(shapeOf(operation)));
  const overridden = new Map<Tensor, string>();
  for (const [given, override] of overrides) {
    const tensor = findTensor(graph, given, 'Feed', FED);
    refuseRepeated(given, overridden.get(tensor));
    overridden.set(tensor, given);
    const split = override === 'all' ? null : override.split;
    checkAxis(tensor.name, split, shapeOf(tensor.operation));
    add(tensor, split);
  }
  return Object.fromEntries([...feeds].sort(([a], [b]) => (a < b ? -1 : 1)));
}

export function findPlaceholders(graph: Graph): readonly Operation[] {
  return [...graph.operations()].filter(
    ({ type }) => type === 'Placeholder' || type === 'PlaceholderWithDefault' || type === 'PlaceholderV2',
  );
}

/** The first unknown dimension; none where the shape is fully known or the rank is not. */
function defaultSplit(shape: Shape): number | null {
  const axis = shape === null ? -1 : shape.findIndex((dim) => dim < 0);
  return axis < 0 ? null : axis;
}

function shapeOf({ attributes }: Operation): Shape {
  const shape = attributes.get('shape');
  return shape?.kind === 'shape' ? shape.value : null;
}

function refuseRepeated(given: string, earlier: string | undefined): void {
  if (earlier === undefined) return;
  throw new GradsyncError('INVALID_ARGUMENT', `Feed "${given}"`, {
    expected: 'one rule for each tensor',
    received: `another one for it under "${earlier}"`,
    remedy: 'remove one of them',
  });
}

function checkAxis(name: string, axis: number | null, shape: Shape): void {
  const rank = shape?.length ?? Number.POSITIVE_INFINITY;
  if (axis === null || (Number.isInteger(axis) && axis >= 0 && axis < rank)) return;
  throw new GradsyncError('INVALID_ARGUMENT', `Feed "${name}"`, {
    expected: shape === null ? 'an axis from 0 on' : `an axis from 0 to ${rank - 1}, or "all"`,
    received: String(axis),
    remedy: 'correct the axis that --feed, or the option feeds, gives',
  });
}
