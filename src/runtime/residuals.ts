/** What compressors keep back, as a session sees it: variables that begin as zeros wherever nothing of them was saved. */
import { elementCount } from '../graph/shape.js';
import { arrayType } from './array-types.js';
import type { Executor, TensorData, VariableInfo } from './executor.js';
import type { RunPlan } from './request.js';

export class Residuals {
  /** Keys of variables. */
  readonly #keys: ReadonlySet<string>;

  /** `plans`: of the executor's tasks, in order. */
  constructor(executor: Executor, plans: readonly RunPlan[]) {
    this.#keys = new Set(
      plans.flatMap((plan, task) => {
        const names = namesOf(plan);
        return executor.variables[task]!.flatMap(({ name, key }) => (names.has(name) ? [key] : []));
      }),
    );
  }

  has({ key }: VariableInfo): boolean {
    return this.#keys.has(key);
  }
}

/** Of shards' too, which may be one whole. */
function namesOf({ residuals, partitions = {} }: RunPlan): ReadonlySet<string> {
  const names = new Set(Object.values(residuals?.variables ?? {}));
  for (const [whole, { shards }] of Object.entries(partitions)) {
    if (shards.every((shard) => names.has(shard))) names.add(whole);
  }
  return names;
}

export function zerosFor({ dtype, shape }: VariableInfo): TensorData | undefined {
  const array = arrayType(dtype);
  if (array === undefined || shape === null) return undefined;
  return { dtype, shape, data: new array(elementCount(shape)) };
}
