/** Compares what a training came to with the oracle of its fixture. */
import type { OracleStep } from './fixtures.js';
import type { FileTensor } from './tensor-file.js';
import { largestDifference, variableTolerance } from './tolerance.js';

interface Values {
  readonly shape: readonly number[];
  readonly data: ArrayLike<unknown>;
}

/**
 * One sentence per variable that is not what the oracle says after `step` updates; none when all is well. `roundings`: how often a value may
 * have been rounded when it was stored.
 */
export function differencesFromOracle(
  oracle: readonly OracleStep[],
  step: number,
  actual: ReadonlyMap<string, Values>,
  roundings = step,
): readonly string[] {
  const { variables, bounds } = oracle[step]!;
  return [...variables].flatMap(([name, expected]) => {
    const found = actual.get(name);
    if (found === undefined) return [`${name}: no value`];
    if (String(found.shape) !== String(expected.shape))
      return [`${name}: shape [${found.shape}], not [${expected.shape}]`];
    const difference = largestDifference(found.data as FileTensor['data'], expected.data);
    const tolerance = variableTolerance(bounds.get(name)!, expected.data, roundings);
    if (difference <= tolerance) return [];
    return [`${name} after ${step} steps: off by ${difference}, rounding explains ${tolerance}`];
  });
}
