/**
 * Sums over a batch as a tree: its halves are summed apart and then added, down to a few examples. The part of the batch that one of 2, 4,
 * 8, ... workers has is a branch of the tree of the whole, so that one worker's gradients have the same bits as those added up from several; and
 * rounding grows with the logarithm of the batch only. (Pairwise summation: Higham, Accuracy and Stability of Numerical Algorithms, 4.2.)
 */
import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';
import type { Value } from '../value.js';
import { adopt, wasmKernel, withRows } from './wasm.js';

/** Examples that are summed in one go. Fewer cost more calls; with more, small batches would give one worker other bits than two. */
const FEW = 16;
/** The same where the sums are so large that adding them leaves the cache and costs about as much as summing FEW examples. */
const FEW_OF_LARGE = 64;
const LARGE = 2 ** 16;

/**
 * Sums what `part` gives for a few examples each. The first half of an odd number is the larger one.
 *
 * @param size How many numbers are summed per example.
 */
export function sumPairwise<Sum>(
  count: number,
  size: number,
  part: (start: number, count: number) => Sum,
  add: (a: Sum, b: Sum) => Sum,
): Sum {
  const few = size > LARGE ? FEW_OF_LARGE : FEW;
  const sum = (start: number, length: number): Sum => {
    if (length <= few) return part(start, length);
    const half = Math.ceil(length / 2);
    const first = sum(start, half);
    return add(first, sum(start + half, length - half));
  };
  return sum(0, count);
}

/** The sum of what `part` computes of a few rows of its inputs, which all have as many. Rows are borrowed; what it gives is not. */
export type RowSum = (
  backend: BackendWasm,
  inputs: readonly Value[],
  size: number,
  part: (rows: readonly Value[]) => Value,
) => Value;

/** Row sums of float32 values on the wasm heap. */
export function bindRowSum(): RowSum {
  const kernel = wasmKernel('Add');
  return (backend, inputs, size, part) => {
    const add = (a: Value, b: Value): Value => {
      const sum = adopt(backend, kernel(backend, { a: a.device(backend), b: b.device(backend) }), a.shape);
      a.release();
      b.release();
      return sum;
    };
    const ofRows = (start: number, count: number): Value => withRows(backend, inputs, start, count, part);
    return sumPairwise(inputs[0]!.shape[0]!, size, ofRows, add);
  };
}
