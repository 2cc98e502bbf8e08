/** Tasks without data: what they are asked for in a step that others train in, and how many have data. */
import { DTYPES } from '../graph/dtype.js';
import { parseFetchName } from '../graph/name.js';
import { elementCount } from '../graph/shape.js';
import type { WithoutData } from '../rewrite/plan.js';
import { ARRAY_TYPES, type ArrayDType } from './array-types.js';
import type { TensorData } from './executor.js';
import { feedTensors, isGuarded, programRequest, type RequestNames, type RunPlan } from './request.js';

/** How many tasks have data for a step, and how many replicas these have. */
export interface Counts {
  readonly tasks: number;
  readonly replicas: number;
}

export type Counted = keyof Counts;

export function countsOf(plans: readonly Pick<RunPlan, 'replicas'>[]): Counts {
  return {
    tasks: plans.length,
    replicas: plans.reduce((sum, { replicas }) => sum + (replicas?.length ?? 1), 0),
  };
}

export function scalarOf(count: number): TensorData {
  return { dtype: 'int32', shape: [], data: Int32Array.of(count) };
}

/**
 * What a task without data runs where one that has some is asked for `fetches` and fed `feeds`: the operations, without what would take its
 * data, and nothing in place of its gradients.
 */
export function namesWithoutData(
  plan: RunPlan,
  withoutData: WithoutData,
  feeds: readonly string[],
  fetches: readonly string[],
): RequestNames {
  const { nothing, leftOut } = withoutData;
  const given = settingsAmong(feeds, withoutData);
  const own = fetches.filter((name) => !isGuarded(plan, name));
  const asked = programRequest(plan, given, own);
  const { program, lags } = asked;
  const fetched = program.tensors.slice(0, program.tensors.length - lags);
  const withheld = feeds.filter((name) => !given.includes(name)).flatMap((name) => feedTensors(plan, name));
  const first = program.feeds.length - asked.counts.length;
  return {
    ...asked,
    program: {
      feeds: program.feeds.toSpliced(first, 0, ...nothing.map(({ tensor }) => tensor)),
      tensors: [],
      operations: [...new Set([...program.operations, ...fetched.map(operationOf)])],
      guarded: [],
      without: [...new Set([...leftOut, ...withheld.map(operationOf)])],
    },
    tensors: [],
    lags: 0,
    fixed: zerosOf(nothing),
  };
}

/** Those feeds of a task with data that one without is given, too. */
export function settingsAmong(feeds: readonly string[], { settings }: WithoutData): readonly string[] {
  return feeds.filter((name) => settings.includes(operationOf(name)));
}

function operationOf(tensor: string): string {
  return parseFetchName(tensor).operation;
}

/** All in the same memory, which every step reads. */
function zerosOf(nothing: WithoutData['nothing']): readonly TensorData[] {
  const bytes = nothing.map(({ dtype, shape }) => elementCount(shape) * DTYPES[dtype].size);
  const memory = new SharedArrayBuffer(Math.max(0, ...bytes));
  return nothing.map(({ dtype, shape }) => {
    const Elements = ARRAY_TYPES[dtype as ArrayDType] as unknown as new (
      memory: SharedArrayBuffer,
      offset: number,
      length: number,
    ) => Float32Array;
    return { dtype, shape, data: new Elements(memory, 0, elementCount(shape)) };
  });
}
