/**
 * Gathering: the slices of all tasks, one behind the other in the order of the tasks. Tasks may have different numbers of rows, also none, and a collective takes the same number of all,
 * at least one: the counts are gathered first, then slices padded to the power of two that holds the largest, and the padding is left out of
 * the result. Each power has a key of its own, as a collective of TensorFlow keeps the shape of its first step.
 */
import { GradsyncError } from '../errors.js';
import { type Attributes, attr, attributes } from '../graph/attributes.js';
import { DTYPES, type DType } from '../graph/dtype.js';
import type { Tensor } from '../graph/operation.js';
import { elementCount } from '../graph/shape.js';
import type { Variable } from '../graph/training-graph.js';
import type { Collected, Collectives, Variants } from './collective-operations.js';
import type { SliceTensors } from './combine-rows.js';
import { LENGTHS } from './exchanged-form.js';
import { concatenate, constant, newName, operation, rowsAt, type Site } from './make.js';
import type { RewriteContext } from './pass.js';
import { splitInto } from './reduce-dense.js';
import type { Sending } from './sending.js';

/** Slices of all tasks, values summed or still to be: not yet divided. */
export interface ExchangedSlices extends SliceTensors {
  readonly sent: readonly Sending[];
}

export interface SliceInput {
  readonly own: SliceTensors;
  readonly indexType: DType;
  readonly variable: Variable;
  /** The hint of how to communicate. */
  readonly hint: string;
}

/** The slices of all tasks. `counts`: of those of `own`. */
export function gatherSlices(
  site: Site,
  collectives: Collectives,
  counts: RowCounts,
  { own, indexType, variable, hint }: SliceInput,
): ExchangedSlices {
  const { dtype } = variable;
  const rank = rankOf(variable);
  const gather = (what: keyof SliceTensors, type: DType, ofRank: number): Collected => {
    const padded = counts.pad(what, own[what], type, ofRank);
    const given = { tensor: padded, dtype: type, hint };
    const { tensor, operation } = collectives.gatherVariant(site, `all_${what}`, given, counts.variants);
    return { tensor: counts.unpad(what, tensor, type), operation };
  };
  const [indices, values] = [gather('indices', indexType, 1), gather('values', dtype, rank)];
  const row = elementCount((variable.shape ?? []).slice(1).map((dim) => Math.max(dim, 1)));
  const send = ({ operation }: Collected, size: Sending['size']): Sending => ({ operation, variable, size });
  return {
    indices: indices.tensor,
    values: values.tensor,
    sent: [
      send(counts.gathered, { bytes: DTYPES.int32.size }),
      send(indices, { bytesPerRow: DTYPES[indexType].size, holds: 'indices' }),
      send(values, { bytesPerRow: row * DTYPES[dtype].size, holds: 'values' }),
    ],
  };
}

/** How many rows each task has, and to how many they are padded. */
export class RowCounts {
  /** The gathering of the counts. */
  readonly gathered: Collected;
  /** Which of LENGTHS this step's is. */
  readonly variants: Variants;
  readonly #site: Site;
  readonly #taskCount: number;
  /** Rows to add to this task's, a vector of one. */
  readonly #missing: Tensor;
  /** Of the gathered rows: for each task in turn its own, and those that were added. */
  readonly #sizes: Tensor;

  constructor(
    site: Site,
    { taskCount }: RewriteContext,
    collectives: Collectives,
    { own: { indices }, indexType, hint }: SliceInput,
  ) {
    this.#site = site;
    this.#taskCount = taskCount;
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
    this.gathered = collectives.gather(site, 'counts', given, [1]);
    const counts = this.gathered.tensor;
    const lengths = number('lengths', LENGTHS, [LENGTHS.length]);
    const variant = lengthFor(add, counts, lengths, number('first_axis', [0]));
    this.variants = { variant, count: LENGTHS.length };
    const length = rowsAt(site, 'length', [lengths, variant], 'int32');
    this.#missing = add('missing', 'Sub', [length, count]);
    const added = add('added', 'Sub', [length, counts]);
    const packing = attributes({ N: attr.int(2), T: attr.type('int32'), axis: attr.int(1) });
    const both = add('both', 'Pack', [counts, added], packing);
    const shaping = attributes({ T: attr.type('int32'), Tshape: attr.type('int32') });
    this.#sizes = add('sizes', 'Reshape', [both, number('sizes/shape', [-1], [1])], shaping);
  }

  /** Whether the length of this step holds so many rows: a bool scalar, the same on all tasks. */
  hold(rows: number): Tensor {
    const site = this.#site;
    const least = LENGTHS.findIndex((length) => length >= rows);
    return operation(site, newName(site, 'is_many'), {
      type: 'GreaterEqual',
      inputs: [this.variants.variant, constant(site, newName(site, 'many'), 'int32', [least])],
      attributes: attributes({ T: attr.type('int32') }),
    }).output();
  }

  /** This task's rows, as many as are gathered of each. */
  pad(what: string, rows: Tensor, dtype: DType, rank: number): Tensor {
    const site = this.#site;
    return operation(site, newName(site, `padded_${what}`), {
      type: 'Pad',
      inputs: [rows, this.#paddings(what, rank)],
      attributes: attributes({ T: attr.type(dtype), Tpaddings: attr.type('int32') }),
    }).output();
  }

  /** The rows of all tasks, without what was added. */
  unpad(what: string, gathered: Tensor, dtype: DType): Tensor {
    const site = this.#site;
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
