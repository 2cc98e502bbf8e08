/**
 * Sparse gradients of variables of which every task has a copy: the slices of all tasks, one behind the other in the order of the tasks, values
 * divided by the number of all replicas. Tasks may have different numbers of rows, also none, and a collective takes the same number of all,
 * at least one: the counts are gathered first, then slices padded to the power of two that holds the largest, and the padding is left out of
 * the result. Each power has a key of its own, as a collective of TensorFlow keeps the shape of its first step.
 */
import { GradsyncError } from '../errors.js';
import { type Attributes, attr, attributes } from '../graph/attributes.js';
import { DTYPES, type DType } from '../graph/dtype.js';
import type { Tensor } from '../graph/operation.js';
import { elementCount } from '../graph/shape.js';
import type { GradientPair, Variable } from '../graph/training-graph.js';
import type { Collectives, Variants } from './collective-operations.js';
import { combineRows } from './combine-rows.js';
import { dtypeOf } from './dtype-of.js';
import { concatenate, constant, newName, operation, type Site } from './make.js';
import type { RewriteContext } from './pass.js';
import { divideByReplicas, splitInto } from './reduce-dense.js';
import type { Sending } from './sending.js';

/** Gives those that take the slices those of all tasks. `distinct`: of each task every row once. */
export function gatherSlices(
  site: Site,
  context: RewriteContext,
  pair: GradientPair,
  collectives: Collectives,
  distinct: boolean,
): readonly Sending[] {
  const { gradient, variable } = pair;
  if (gradient.kind !== 'sparse') throw new Error('unreachable: the caller knows the kind');
  const { indices, values } = gradient;
  const indexType = dtypeOf(indices);
  const consumers = { indices: [...indices.consumers], values: [...values.consumers] };
  const { algorithm: hint } = context.collectives.get(variable.name)!;
  const cpu = { ...site, device: context.devices.cpu };
  const own = distinct ? combineRows(cpu, gradient, indexType, variable.dtype) : gradient;
  const rows = new Rows(site, context, own.indices, indexType, collectives, hint);
  const rank = rankOf(variable);
  const allIndices = rows.gather('indices', own.indices, indexType, 1);
  const allValues = rows.gather('values', own.values, variable.dtype, rank);
  const mean = divideByReplicas(site, context, allValues, variable.dtype);
  site.graph.replaceInput(indices, allIndices, consumers.indices);
  site.graph.replaceInput(values, mean, consumers.values);
  const row = elementCount((variable.shape ?? []).slice(1).map((dim) => Math.max(dim, 1)));
  const sizes: readonly Sending['size'][] = [
    { bytes: DTYPES.int32.size },
    { bytesPerRow: DTYPES[indexType].size, holds: 'indices' },
    { bytesPerRow: row * DTYPES[variable.dtype].size, holds: 'values' },
  ];
  return collectives.made
    .slice(-sizes.length)
    .map((operation, i) => ({ operation, variable, size: sizes[i]! }));
}

/** The numbers of rows that are gathered: powers of two. */
const LENGTHS = Array.from({ length: 31 }, (_, i) => 2 ** i);

/** How many rows each task has, and the gathering of as many. */
class Rows {
  readonly #site: Site;
  readonly #taskCount: number;
  readonly #collectives: Collectives;
  readonly #hint: string;
  /** Which of LENGTHS this step's is. */
  readonly #variants: Variants;
  /** Rows to add to this task's, a vector of one. */
  readonly #missing: Tensor;
  /** Of the gathered rows: for each task in turn its own, and those that were added. */
  readonly #sizes: Tensor;

  constructor(
    site: Site,
    { taskCount }: RewriteContext,
    indices: Tensor,
    indexType: DType,
    collectives: Collectives,
    hint: string,
  ) {
    this.#site = site;
    this.#taskCount = taskCount;
    this.#collectives = collectives;
    this.#hint = hint;
    const plain = attributes({ T: attr.type('int32') });
    const add = (name: string, type: string, inputs: readonly Tensor[], own = plain): Tensor =>
      operation(site, newName(site, name), { type, inputs, attributes: own }).output();
    const number = (name: string, values: readonly number[], shape: readonly number[] = []): Tensor =>
      constant(site, newName(site, name), 'int32', values, shape);
    const count = add(
      'count',
      'Shape',
      [indices],
      attributes({ T: attr.type(indexType), out_type: attr.type('int32') }),
    );
    const given = { tensor: count, dtype: 'int32', hint } as const;
    const counts = collectives.gather(site, 'counts', given, [1]).tensor;
    const lengths = number('lengths', LENGTHS, [LENGTHS.length]);
    const variant = lengthFor(add, counts, lengths, number('first_axis', [0]));
    this.#variants = { variant, count: LENGTHS.length };
    const length = add('length', 'GatherV2', [lengths, variant, number('length/axis', [0])], GATHERING);
    this.#missing = add('missing', 'Sub', [length, count]);
    const added = add('added', 'Sub', [length, counts]);
    const packing = attributes({ N: attr.int(2), T: attr.type('int32'), axis: attr.int(1) });
    const both = add('both', 'Pack', [counts, added], packing);
    const shaping = attributes({ T: attr.type('int32'), Tshape: attr.type('int32') });
    this.#sizes = add('sizes', 'Reshape', [both, number('sizes/shape', [-1], [1])], shaping);
  }

  /** The rows of all tasks. */
  gather(what: string, rows: Tensor, dtype: DType, rank: number): Tensor {
    const site = this.#site;
    const padded = operation(site, newName(site, `padded_${what}`), {
      type: 'Pad',
      inputs: [rows, this.#paddings(what, rank)],
      attributes: attributes({ T: attr.type(dtype), Tpaddings: attr.type('int32') }),
    }).output();
    const given = { tensor: padded, dtype, hint: this.#hint };
    const gathered = this.#collectives.gatherVariant(site, `all_${what}`, given, this.#variants).tensor;
    const count = 2 * this.#taskCount;
    const pieces = splitInto(site, `${what}_by_task`, gathered, this.#sizes, count, dtype);
    const own = pieces.filter((_, i) => i % 2 === 0);
    return concatenate(site, `gathered_${what}`, own, dtype);
  }

  /** Zeros before and after along every axis, but for the missing rows after the first. */
  #paddings(what: string, rank: number): Tensor {
    const site = this.#site;
    const zeros = (name: string, count: number): Tensor =>
      constant(site, newName(site, what, name), 'int32', new Array<number>(count).fill(0), [count]);
    const before = zeros('before', 1);
    const others = rank === 1 ? [] : [zeros('others', 2 * (rank - 1))];
    const flat = concatenate(site, `${what}_paddings`, [before, this.#missing, ...others], 'int32');
    const shape = constant(site, newName(site, what, 'paddings_shape'), 'int32', [rank, 2], [2]);
    return operation(site, newName(site, what, 'paddings'), {
      type: 'Reshape',
      inputs: [flat, shape],
      attributes: attributes({ T: attr.type('int32'), Tshape: attr.type('int32') }),
    }).output();
  }
}

type Add = (name: string, type: string, inputs: readonly Tensor[], own?: Attributes) => Tensor;

const GATHERING = attributes({
  Tparams: attr.type('int32'),
  Tindices: attr.type('int32'),
  Taxis: attr.type('int32'),
  batch_dims: attr.int(0),
});
const REDUCING = attributes({ T: attr.type('int32'), Tidx: attr.type('int32'), keep_dims: attr.bool(false) });
const COUNTING = attributes({
  SrcT: attr.type('bool'),
  DstT: attr.type('int32'),
  Truncate: attr.bool(false),
});

/** The position of the least of `lengths` that holds the largest of `counts`: how many are less. */
function lengthFor(add: Add, counts: Tensor, lengths: Tensor, axis: Tensor): Tensor {
  const most = add('most', 'Max', [counts, axis], REDUCING);
  const isLess = add('is_less', 'Less', [lengths, most]);
  return add('length_index', 'Sum', [add('less', 'Cast', [isLess], COUNTING), axis], REDUCING);
}

function rankOf({ name, shape }: Variable): number {
  if (shape !== null && shape.length > 0) return shape.length;
  throw new GradsyncError('UNIMPLEMENTED', `Variable "${name}"`, {
    expected: 'a known rank of at least 1, as rows of it are gathered',
    received: shape === null ? 'an unknown shape' : 'a scalar',
    remedy: 'set the shape of the variable before the graph is exported, or give it a parameter-server plan',
    variable: name,
  });
}
