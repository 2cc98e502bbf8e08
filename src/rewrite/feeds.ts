/** Feeds after rewriting: what is fed is split over the replicas, or given to each, along the axis that is recorded here. */
import { GradsyncError } from '../errors.js';
import type { Graph } from '../graph/graph.js';
import { assignsWhole } from '../graph/op-catalog.js';
import type { Operation, Tensor } from '../graph/operation.js';
import { findTensor } from '../graph/outputs.js';
import { isFullyKnown, type Shape } from '../graph/shape.js';
import type { FeedPlan } from './plan.js';
import type { Replicas } from './replicate.js';
import type { VariableUses } from './variable-uses.js';

/** What a user says about a feed: split along an axis, or give the whole to every replica. */
export type FeedOverride = { readonly split: number } | 'all';

/** What is fed, and the axis along which it is split over the replicas; null for what each is given whole. */
export type FeedSplits = ReadonlyMap<Tensor, number | null>;

export interface FeedInput {
  /** Placeholders that all tasks must be fed the same. */
  readonly alike: readonly Operation[];
  readonly replicas: Replicas;
}

const FED = {
  expected: 'a tensor of the graph',
  remedy: 'correct the name that --feed, or the option feeds, gives',
};

/** Feeds by tensor name, sorted. */
export function planFeeds(
  splits: FeedSplits,
  { alike, replicas }: FeedInput,
): Readonly<Record<string, FeedPlan>> {
  const feeds = new Map<string, FeedPlan>();
  for (const [tensor, split] of splits) {
    const tensors = replicas.ofTensor(tensor).map(({ name }) => name);
    const isAlike = tensor.index === 0 && alike.includes(tensor.operation);
    feeds.set(tensor.name, { tensors, split, ...(isAlike ? { alike: true } : {}) });
  }
  return Object.fromEntries([...feeds].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** How placeholders, and what a user names besides, are shared out. */
export function findSplits(
  graph: Graph,
  uses: VariableUses,
  overrides: ReadonlyMap<string, FeedOverride>,
): FeedSplits {
  const splits = new Map<Tensor, number | null>();
  for (const placeholder of findPlaceholders(graph)) {
    splits.set(placeholder.output(), defaultSplit(placeholder, uses));
  }
  const overridden = new Map<Tensor, string>();
  for (const [given, override] of overrides) {
    const tensor = findTensor(graph, given, 'Feed', FED);
    refuseRepeated(given, overridden.get(tensor));
    overridden.set(tensor, given);
    const split = override === 'all' ? null : override.split;
    checkAxis(tensor.name, split, shapeOf(tensor.operation));
    splits.set(tensor, split);
  }
  return splits;
}

export function findPlaceholders(graph: Graph): readonly Operation[] {
  return [...graph.operations()].filter(
    ({ type }) => type === 'Placeholder' || type === 'PlaceholderWithDefault' || type === 'PlaceholderV2',
  );
}

/** The first unknown dimension; none where the shape is fully known or the rank is not. */
function defaultSplit(placeholder: Operation, uses: VariableUses): number | null {
  const axis = shapeOf(placeholder)?.findIndex((dim) => dim < 0) ?? -1;
  return axis < 0 || isLoad(placeholder.output(), uses) ? null : axis;
}

/** Whether a value is taken by nothing but assignments to variables, whose shape it then has: a share of it would not fit. */
function isLoad({ consumers }: Tensor, uses: VariableUses): boolean {
  const loads = (taker: Operation): boolean =>
    taker.type === 'Identity'
      ? isLoad(taker.output(), uses)
      : assignsWhole(taker.type) && uses.mutatedBy(taker).every(({ shape }) => isFullyKnown(shape));
  return consumers.size > 0 && [...consumers].every(loads);
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
