/**
 * Which consumers of a gradient lie between it and an update. Walks back from the updates, and from the other changes of the state they
 * read (an optimizer's slots), and stops at every pair's gradient: what lies behind one is backpropagation, even where it reads another.
 */
import type { Graph } from '../graph/graph.js';
import type { Operation, Tensor } from '../graph/operation.js';
import type { GradientPair } from '../graph/training-graph.js';
import type { VariableUses } from './variable-uses.js';
import { Marks } from './walk.js';

/** A gradient tensor and an operation that takes it on the way to an update. */
export interface GradientEdge {
  readonly tensor: Tensor;
  readonly consumer: Operation;
}

export interface EdgeAssignment {
  /** The edges that lead to each pair's update. */
  readonly edges: ReadonlyMap<GradientPair, readonly GradientEdge[]>;
  /** Pairs whose row indices one operation reads for several updates: their aggregates need the same rows in the same order. */
  readonly sharedRows: ReadonlySet<GradientPair>;
}

/** The tensors of a gradient that are aggregated. */
export function gradientTensors({ gradient }: GradientPair): readonly Tensor[] {
  return gradient.kind === 'dense' ? [gradient.tensor] : [gradient.indices, gradient.values];
}

/** Gives each edge to the pair whose update it leads to. Only a tensor that belongs to several pairs needs a search. */
export function assignEdges(
  graph: Graph,
  pairs: readonly GradientPair[],
  uses: VariableUses,
): EdgeAssignment {
  const owners = ownersOf(pairs);
  const { region, found } = updateRegion(graph, pairs, owners, uses);
  const edges = new Map<GradientPair, GradientEdge[]>(pairs.map((pair) => [pair, []]));
  const sharedRows = new Set<GradientPair>();
  for (const edge of found) {
    const sharers = owners.get(edge.tensor)!;
    const reached = sharers.length === 1 ? sharers : updatesReached(edge.consumer, sharers, region);
    edges.get(reached[0] ?? sharers[0]!)!.push(edge);
    if (reached.length < 2) continue;
    for (const pair of reached) if (isIndices(pair, edge.tensor)) sharedRows.add(pair);
  }
  return { edges, sharedRows };
}

function isIndices({ gradient }: GradientPair, tensor: Tensor): boolean {
  return gradient.kind === 'sparse' && gradient.indices === tensor;
}

function ownersOf(pairs: readonly GradientPair[]): Map<Tensor, GradientPair[]> {
  const owners = new Map<Tensor, GradientPair[]>();
  for (const pair of pairs) {
    for (const tensor of gradientTensors(pair)) owners.set(tensor, [...(owners.get(tensor) ?? []), pair]);
  }
  return owners;
}

function updateRegion(
  graph: Graph,
  pairs: readonly GradientPair[],
  owners: ReadonlyMap<Tensor, unknown>,
  uses: VariableUses,
): { region: Marks; found: readonly GradientEdge[] } {
  const region = new Marks(graph);
  const found: GradientEdge[] = [];
  for (const { update } of pairs) region.add(update);
  for (let i = 0, operation = region.at(0); operation !== undefined; operation = region.at(++i)) {
    for (const tensor of new Set(operation.inputs)) {
      if (owners.has(tensor)) {
        found.push({ tensor, consumer: operation });
        continue;
      }
      region.add(tensor.operation);
      const state = uses.variableOf(tensor);
      if (state !== undefined) for (const mutator of uses.mutatorsOf(state)) region.add(mutator);
    }
  }
  found.sort((a, b) => a.consumer.id - b.consumer.id);
  return { region, found };
}

/** Which of the sharers' updates an operation leads to, inside the region, the nearest first. */
function updatesReached(
  from: Operation,
  sharers: readonly GradientPair[],
  region: Marks,
): readonly GradientPair[] {
  const targets = new Map(sharers.map((pair) => [pair.update, pair]));
  const queue = new Set([from]);
  const reached: GradientPair[] = [];
  for (const operation of queue) {
    const pair = targets.get(operation);
    if (pair !== undefined) reached.push(pair);
    for (const output of operation.outputs) {
      for (const consumer of output?.consumers ?? []) if (region.has(consumer)) queue.add(consumer);
    }
  }
  return reached;
}
