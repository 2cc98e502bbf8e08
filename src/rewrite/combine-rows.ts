/**
 * Distinct rows: what a task has for one row of a variable is summed before it is sent, once. Only where repeated rows may be combined at all
 * (sparse-form.ts). The sums are those of the task alone, in the order of its rows.
 */
import { attr, attributes } from '../graph/attributes.js';
import type { DType } from '../graph/dtype.js';
import type { Tensor } from '../graph/operation.js';
import type { GradientPair } from '../graph/training-graph.js';
import { newName, operation, type Site, segmentSum } from './make.js';
import type { RunContext } from './pass.js';
import type { SparseForm } from './sparse-form.js';

/** Half types would be rounded after every addition; the rows of these are sent as they are. */
const SUMMED = new Set<DType>(['float32', 'float64']);

export interface SliceTensors {
  readonly indices: Tensor;
  readonly values: Tensor;
}

/** Whether a task sends each row once: where there is another, what takes the slices allows it (`form`, by sparseFormOf), and their type. */
export function isDistinct(
  { taskCount }: RunContext,
  { variable }: GradientPair,
  { form }: SparseForm,
): boolean {
  return taskCount > 1 && form === 'combined' && SUMMED.has(variable.dtype);
}

/** `site` is on a CPU, for the order of the sums. */
export function combineRows(
  site: Site,
  { indices, values }: SliceTensors,
  indexType: DType,
  dtype: DType,
): SliceTensors {
  const unique = operation(site, newName(site, 'distinct_indices'), {
    type: 'Unique',
    inputs: [indices],
    attributes: attributes({ T: attr.type(indexType), out_idx: attr.type('int32') }),
  });
  const count = operation(site, newName(site, 'distinct_count'), {
    type: 'Size',
    inputs: [unique.output(0)],
    attributes: attributes({ T: attr.type(indexType), out_type: attr.type('int32') }),
  });
  const rows = [values, unique.output(1), count.output()] as const;
  return {
    indices: unique.output(0),
    values: segmentSum(site, newName(site, 'distinct_values'), rows, dtype),
  };
}
