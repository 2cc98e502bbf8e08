/**
 * One edge per pair: puts an Identity per gradient (for slices: on indices and on values) on exactly the edges that lead to that
 * variable's update. Whoever else reads the gradient, summaries or the rest of backpropagation, keeps the local one.
 */
import { GradsyncError } from '../errors.js';
import type { DType } from '../graph/dtype.js';
import type { Tensor } from '../graph/operation.js';
import type { Gradient, GradientPair } from '../graph/training-graph.js';
import { dtypeOf } from './dtype-of.js';
import { assignEdges, type GradientEdge } from './gradient-region.js';
import { identity, newName, type Site } from './make.js';
import type { Draft } from './pass.js';
import type { VariableUses } from './variable-uses.js';

const PASS = 'gradient-edge';

export interface GradientEdges {
  /** The pairs with the Identities as their gradients, sorted by variable name. */
  readonly pairs: readonly GradientPair[];
  /** Those whose aggregates must have their rows in the same order, as one operation reads the indices for several updates. */
  readonly sharedRows: ReadonlySet<GradientPair>;
}

/** Each task's copy of the Identities is its own: the place pass gives them their device. */
export function insertGradientEdges(draft: Draft, uses: VariableUses): GradientEdges {
  const pairs = [...draft.training.pairs].sort((a, b) => (a.variable.name < b.variable.name ? -1 : 1));
  const { edges, sharedRows } = assignEdges(draft.graph, pairs, uses);
  const renewed = pairs.map((pair) => {
    const site = { graph: draft.graph, device: '', pass: PASS, source: pair.variable.name };
    const own = { pair, edges: edges.get(pair)!, mayBeUnused: sharedRows.has(pair) };
    return { ...pair, gradient: insertFor(site, own) };
  });
  return { pairs: renewed, sharedRows: new Set(renewed.filter((_, i) => sharedRows.has(pairs[i]!))) };
}

interface OwnEdges {
  readonly pair: GradientPair;
  readonly edges: readonly GradientEdge[];
  /** Whether another pair may have taken the edge that both need. */
  readonly mayBeUnused: boolean;
}

function insertFor(site: Site, own: OwnEdges): Gradient {
  const { gradient, variable } = own.pair;
  if (gradient.kind === 'dense') {
    return { kind: 'dense', tensor: cut(site, 'gradient', gradient.tensor, variable.dtype, own) };
  }
  return {
    ...gradient,
    indices: cut(site, 'gradient_indices', gradient.indices, dtypeOf(gradient.indices), own),
    values: cut(site, 'gradient_values', gradient.values, variable.dtype, own),
  };
}

/** Puts the Identity between `tensor` and the consumers that lead to the update. */
function cut(
  site: Site,
  part: string,
  tensor: Tensor,
  dtype: DType,
  { pair, edges, mayBeUnused }: OwnEdges,
): Tensor {
  const consumers = edges.filter((edge) => edge.tensor === tensor).map((edge) => edge.consumer);
  if (consumers.length === 0 && !mayBeUnused) throw leadsNowhere(tensor, pair);
  const inserted = identity(site, newName(site, part), tensor, dtype);
  site.graph.replaceInput(tensor, inserted, consumers);
  return inserted;
}

function leadsNowhere(tensor: Tensor, { variable, update }: GradientPair): GradsyncError {
  return new GradsyncError('INVALID_ARGUMENT', `Gradient "${tensor.name}" of variable "${variable.name}"`, {
    expected: `a tensor from which the update "${update.name}" is computed`,
    received: 'one that does not lead to it',
    remedy: 'give the pair of this variable with the tensor that leaves backpropagation',
    variable: variable.name,
    operation: update.name,
  });
}
