/**
 * Rows of all tasks summed as a dense gradient: every task puts its rows where the variable has them, beside each a one, and one reduction sums
 * all. What comes out are the rows that anybody touched, in the order of the variable: updates that pass over other rows still do.
 */
import { attr, attributes } from '../graph/attributes.js';
import { DTYPES, type DType } from '../graph/dtype.js';
import type { Tensor } from '../graph/operation.js';
import { elementCount } from '../graph/shape.js';
import type { Collectives } from './collective-operations.js';
import type { ExchangedSlices, SliceInput } from './gather-slices.js';
import {
  cast,
  constant,
  type NumberType,
  newName,
  operation,
  reshape,
  rowsAt,
  type Site,
  segmentSum,
} from './make.js';

/** The sums of all tasks' rows. Each task has every row once, and the variable a known shape. */
export function sumRows(site: Site, collectives: Collectives, input: SliceInput): ExchangedSlices {
  const { own, indexType, variable, hint } = input;
  const { dtype } = variable;
  const [count = 0, ...row] = variable.shape!;
  const width = elementCount(row);
  const length = constant(site, newName(site, 'row_count'), 'int32', [count]);
  const marked = markRows(site, own.values, width, dtype);
  const dense = segmentSum(
    site,
    newName(site, 'dense_rows'),
    [marked, own.indices, length],
    dtype,
    indexType,
  );
  const sum = collectives.sum(site, 'summed_rows', { tensor: dense, dtype, hint });
  const indices = touchedRows(site, sum.tensor, width, dtype, indexType);
  const touched = rowsAt(site, 'touched_rows', [sum.tensor, indices], dtype, indexType);
  const values = columns(site, 'row_sums', touched, [0, width], dtype);
  const bytes = count * (width + 1) * DTYPES[dtype].size;
  return {
    indices,
    values: reshape(site, 'touched_values', values, [-1, ...row], dtype),
    sent: [{ operation: sum.operation, variable, size: { bytes } }],
  };
}

/** Rows as vectors, with a one at the end of each. */
function markRows(site: Site, values: Tensor, width: number, dtype: DType): Tensor {
  const flat = reshape(site, 'flat_rows', values, [-1, width], dtype);
  const name = newName(site, 'marked_rows');
  const paddings = constant(site, newName(site, 'marked_rows', 'paddings'), 'int32', [0, 0, 0, 1], [2, 2]);
  const one = constant(site, newName(site, 'marked_rows', 'one'), dtype as NumberType, [1]);
  return operation(site, name, {
    type: 'PadV2',
    inputs: [flat, paddings, one],
    attributes: attributes({ T: attr.type(dtype), Tpaddings: attr.type('int32') }),
  }).output();
}

/** Which rows somebody marked, in order. */
function touchedRows(site: Site, sums: Tensor, width: number, dtype: DType, indexType: DType): Tensor {
  const marks = reshape(site, 'marks', columns(site, 'mark_column', sums, [width, 1], dtype), [-1], dtype);
  const places = operation(site, newName(site, 'touched_places'), {
    type: 'Where',
    inputs: [marks],
    attributes: attributes({ T: attr.type(dtype) }),
  }).output();
  const flat = reshape(site, 'touched', places, [-1], 'int64');
  return cast(site, newName(site, 'touched_indices'), flat, 'int64', indexType);
}

/** Some columns of a matrix: `count` from `first` on. */
function columns(
  site: Site,
  name: string,
  matrix: Tensor,
  [first, count]: readonly [first: number, count: number],
  dtype: DType,
): Tensor {
  const begin = constant(site, newName(site, name, 'begin'), 'int32', [0, first], [2]);
  const size = constant(site, newName(site, name, 'size'), 'int32', [-1, count], [2]);
  return operation(site, newName(site, name), {
    type: 'Slice',
    inputs: [matrix, begin, size],
    attributes: attributes({ T: attr.type(dtype), Index: attr.type('int32') }),
  }).output();
}
