/**
 * Which form a sparse aggregate may have. Duplicate rows may be combined only where every path from the slices to the update is linear per
 * row, or itself sums duplicates; where something else looks at the rows (the norm of global clipping), they stay apart.
 */
import { isRowLinear, isRowScaling } from '../graph/op-catalog.js';
import type { Operation, Tensor } from '../graph/operation.js';
import type { GradientPair } from '../graph/training-graph.js';
import type { DenseFrom } from './plan.js';

export interface SparseForm {
  readonly form: 'combined' | 'concatenated';
  readonly reason: string;
  /** Whether every task sums its own repeated rows before it sends them. */
  readonly distinct?: boolean;
  /** Where tasks may sum it as a dense gradient. */
  readonly denseFrom?: DenseFrom;
}

/** What a tensor carries of the slices. `unique` and `positions` are the outputs of Unique over the indices. */
type Rows = 'indices' | 'values' | 'unique' | 'positions';

const ADDS_ROWS = new Set(['ScatterAdd', 'ScatterSub', 'ResourceScatterAdd', 'ResourceScatterSub']);

/** Decides by a walk over what takes the slices, as far as their rows reach. */
export function sparseFormOf(pair: GradientPair, sharedRows: boolean): SparseForm {
  if (pair.gradient.kind === 'dense') return { form: 'combined', reason: 'the gradient is dense' };
  if (sharedRows) {
    const reason = 'one operation reads its row indices for several variables: they need the same order';
    return { form: 'concatenated', reason };
  }
  const { rows, takers } = follow(pair.gradient.indices, pair.gradient.values);
  for (const taker of takers) {
    if (!isSafe(taker, rows)) {
      return { form: 'concatenated', reason: `${taker.type} "${taker.name}" looks at single rows` };
    }
  }
  return { form: 'combined', reason: 'every way to the update is linear per row or sums duplicates' };
}

/** Marks every tensor that carries rows, and collects the operations that take one. */
function follow(
  indices: Tensor,
  values: Tensor,
): { rows: ReadonlyMap<Tensor, Rows>; takers: ReadonlySet<Operation> } {
  const rows = new Map<Tensor, Rows>([
    [indices, 'indices'],
    [values, 'values'],
  ]);
  const takers = new Set<Operation>();
  for (const [tensor, kind] of rows) {
    for (const taker of tensor.consumers) {
      takers.add(taker);
      for (const [output, carried] of carriedBy(taker, kind))
        if (!rows.has(output)) rows.set(output, carried);
    }
  }
  return { rows, takers };
}

/** What the outputs of `taker` carry, given that it takes `kind`. */
function carriedBy(taker: Operation, kind: Rows): readonly (readonly [Tensor, Rows])[] {
  if (kind === 'indices' && isUnique(taker)) {
    return [
      [taker.output(0), 'unique'],
      [taker.output(1), 'positions'],
    ];
  }
  const isLinear = isRowLinear(taker.type) || (kind === 'values' && isRowScaling(taker.type));
  return isLinear && kind !== 'unique' ? [[taker.output(0), kind]] : [];
}

function isUnique({ type }: Operation): boolean {
  return type === 'Unique' || type === 'UniqueV2';
}

/** Whether combining duplicates beforehand leaves what this operation computes, and all after it, the same. */
function isSafe(taker: Operation, rows: ReadonlyMap<Tensor, Rows>): boolean {
  const kinds = taker.inputs.map((tensor) => rows.get(tensor));
  const raw = kinds.filter((kind) => kind !== undefined && kind !== 'unique');
  if (raw.length === 0) return true;
  if (isRowLinear(taker.type)) return true;
  if (isUnique(taker)) return kinds[0] === 'indices' && raw.length === 1;
  if (isRowScaling(taker.type)) {
    // A quotient is linear in what is divided only.
    return raw.length === 1 && raw[0] === 'values' && (taker.type === 'Mul' || kinds[0] === 'values');
  }
  if (ADDS_ROWS.has(taker.type)) return kinds[1] === 'indices' && kinds[2] === 'values' && raw.length === 2;
  if (taker.type === 'UnsortedSegmentSum') {
    return kinds[0] === 'values' && (kinds[1] === 'positions' || kinds[1] === 'indices') && raw.length === 2;
  }
  return false;
}
