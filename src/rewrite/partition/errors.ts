/** The error of what cannot be split into shards. */
import { GradsyncError } from '../../errors.js';
import type { Operation } from '../../graph/operation.js';
import type { Variable } from '../../graph/training-graph.js';

const REMEDY = 'give it a plan without "partition", or a strategy that splits no variables';

/** `operation`: the one because of which it cannot. */
export function notSplittable(
  { name }: Variable,
  expected: string,
  received: string,
  operation?: Operation,
): GradsyncError {
  return new GradsyncError('UNIMPLEMENTED', `Partition of variable "${name}"`, {
    expected,
    received,
    remedy: REMEDY,
    variable: name,
    ...(operation === undefined ? {} : { operation: operation.name }),
  });
}

/** `"name" (Type)`. */
export function described({ name, type }: Operation): string {
  return `"${name}" (${type})`;
}
