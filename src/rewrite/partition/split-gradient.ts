/**
 * Splits the gradient of a variable: from where it leaves backpropagation each shard has its own, and what leads to the update takes these
 * put together again, until that is done shard by shard itself.
 */

import { attr, attributes } from '../../graph/attributes.js';
import type { Graph } from '../../graph/graph.js';
import type { Operation, Tensor } from '../../graph/operation.js';
import type { Gradient, GradientPair } from '../../graph/training-graph.js';
import { dtypeOf } from '../dtype-of.js';
import type { GradientEdge } from '../gradient-region.js';
import { concatenate, newName, operation } from '../make.js';
import type { Cut } from './cut.js';
import type { Known } from './kinds.js';
import { Pieces } from './pieces.js';

export interface SplitGradient {
  /** Of each shard. */
  readonly gradients: readonly Gradient[];
  /** What the tensors that were put together are, and their parts. */
  readonly known: ReadonlyMap<Tensor, Known>;
  readonly parts: ReadonlyMap<Tensor, readonly Tensor[]>;
  readonly joined: readonly Operation[];
}

/** `edges`: those that lead from the gradient to the update. */
export function splitGradient(
  graph: Graph,
  cut: Cut,
  { gradient, variable }: GradientPair,
  edges: readonly GradientEdge[],
): SplitGradient {
  const pieces = new Pieces(graph, cut);
  const { site } = pieces;
  const known = new Map<Tensor, Known>();
  const parts = new Map<Tensor, readonly Tensor[]>();
  const put = (whole: Tensor, joined: Tensor, kind: Known['kind'], of: readonly Tensor[]): Operation => {
    const takers = edges.filter(({ tensor }) => tensor === whole).map(({ consumer }) => consumer);
    graph.replaceInput(whole, joined, takers);
    known.set(joined, { kind, fromGradient: true });
    parts.set(joined, of);
    return joined.operation;
  };
  if (gradient.kind === 'dense') {
    const own = pieces.of(gradient.tensor, variable.dtype);
    const axis = pieces.number('axis', [cut.axis], 'int32');
    const types = { N: attr.int(own.length), T: attr.type(variable.dtype), Tidx: attr.type('int32') };
    const node = { type: 'ConcatV2', inputs: [...own, axis], attributes: attributes(types) };
    const joined = operation(site, newName(site, 'gradient'), node).output();
    const gradients = own.map((tensor): Gradient => ({ kind: 'dense', tensor }));
    return { gradients, known, parts, joined: [put(gradient.tensor, joined, 'aligned', own)] };
  }
  const { indices, values } = gradient;
  const own = pieces.ofSlices(indices, values, variable.dtype);
  const dtype = dtypeOf(indices);
  const all = own.indices.map((part, shard) => pieces.wholeIndices(part, shard, dtype));
  const joined = [
    put(indices, concatenate(site, 'gradient_indices', all, dtype), 'indices', own.indices),
    put(values, concatenate(site, 'gradient_values', own.rows, variable.dtype), 'rows', own.rows),
  ];
  const gradients = own.indices.map(
    (part, shard): Gradient => ({
      kind: 'sparse',
      indices: part,
      values: own.rows[shard]!,
      denseShape: undefined,
    }),
  );
  return { gradients, known, parts, joined };
}
