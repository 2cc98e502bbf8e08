/** How far a result computed another way may lie from the expected one. Derived from rounding, never a literal. */

/** Distance from 1 to the next float32. */
export const FLOAT32_EPSILON = 2 ** -23;

/**
 * The bounds in test/fixtures/oracle are the largest of a few random draws; the true worst case lies above. A draw reaches a few tenths of
 * its amplitude where it matters, and errors of the forward pass add to those of the gradients.
 */
const DRAWS_TO_WORST_CASE = 8;

type Numbers = ArrayLike<number> | BigInt64Array;

function at(values: Numbers, index: number): number {
  return Number(values[index]);
}

export function largestMagnitude(values: Numbers): number {
  let largest = 0;
  for (let index = 0; index < values.length; index++)
    largest = Math.max(largest, Math.abs(at(values, index)));
  return largest;
}

/** The largest difference of two arrays, element by element; infinite when lengths differ or a value is not a number. */
export function largestDifference(actual: Numbers, expected: Numbers): number {
  if (actual.length !== expected.length) return Number.POSITIVE_INFINITY;
  let largest = 0;
  for (let index = 0; index < actual.length; index++) {
    const difference = Math.abs(at(actual, index) - at(expected, index));
    if (Number.isNaN(difference)) return Number.POSITIVE_INFINITY;
    largest = Math.max(largest, difference);
  }
  return largest;
}

/**
 * For a variable after `steps` updates: what gradients with errors of rounding's size make of it (`bound`, from the oracle), plus the
 * rounding of storing the variable after each update.
 */
export function variableTolerance(bound: number, expected: Numbers, steps: number): number {
  return DRAWS_TO_WORST_CASE * bound + steps * FLOAT32_EPSILON * largestMagnitude(expected);
}

/** `c * n * eps * sum|x|` for a sum of n terms, or a mean when the magnitudes are those of its terms over n. */
export function sumTolerance(terms: number, sumOfMagnitudes: number): number {
  return terms * FLOAT32_EPSILON * sumOfMagnitudes;
}
