/** Requests: from the user's names to those of the rewritten graph, and the checks of what is fed. */

import { GradsyncError } from '../errors.js';
import { parseFetchName } from '../graph/name.js';
import { elementCount, isCompatible, printShape } from '../graph/shape.js';
import type { FeedPlan, FetchPlan, Plan } from '../rewrite/plan.js';
import { arrayType } from './array-types.js';
import type { FeedSpec, ProgramRequest, TensorData } from './executor.js';
import type { FeedTarget, FetchTarget } from './replica-values.js';

/** What a session needs of plan.json. */
export type RunPlan = Pick<
  Plan,
  | 'digest'
  | 'task'
  | 'initializers'
  | 'feeds'
  | 'fetches'
  | 'notFetchable'
  | 'background'
  | 'partitions'
  | 'rounds'
  | 'residuals'
> &
  Partial<Pick<Plan, 'replicas' | 'variables' | 'withoutData'>>;

/** A request in the names of the rewritten graph, with the user's names in the same order. */
export interface RequestNames {
  readonly program: ProgramRequest;
  readonly feeds: readonly FeedTarget[];
  readonly tensors: readonly FetchTarget[];
  /** How many tensors more there are: the lags of a step's reads. */
  readonly lags: number;
  /** What the program is fed beside: what is the same in every step, and how many have data for it. */
  readonly fixed: readonly TensorData[];
  readonly counts: readonly ('tasks' | 'replicas')[];
}

/** Maps the names of a request. Whether they exist is found out when it is compiled. */
export function programRequest(
  plan: RunPlan,
  feeds: readonly string[],
  fetches: readonly string[],
): RequestNames {
  const fed = feeds.map((name) => ({ name, ...feedOf(plan, name) }));
  const fetched = fetches
    .filter((name) => isTensor(plan, name))
    .map((name) => ({ name, ...fetchTensors(plan, name) }));
  const trained = (plan.rounds ?? []).filter(({ trains }) => trains.some((name) => fetches.includes(name)));
  for (const { anew } of trained) for (const name of feeds) checkReaches(anew, name);
  const lags = trained.map(({ lag }) => lag);
  const counts = (['tasks', 'replicas'] as const).flatMap((counted) => {
    const tensor = plan.withoutData?.counts[counted] ?? null;
    return tensor === null ? [] : [{ counted, tensor }];
  });
  return {
    program: {
      feeds: [...fed.flatMap(({ tensors }) => tensors), ...counts.map(({ tensor }) => tensor)],
      tensors: [...fetched.flatMap(({ tensors }) => tensors), ...lags],
      operations: fetches
        .filter((name) => !isTensor(plan, name))
        .flatMap((name) => fetchOperations(plan, name)),
      guarded: fetches.filter((name) => isGuarded(plan, name)),
    },
    feeds: fed.map(({ name, tensors, split }) => ({ name, count: tensors.length, split })),
    tensors: fetched.map(({ name, tensors, combine }) => ({ name, count: tensors.length, combine })),
    lags: lags.length,
    fixed: [],
    counts: counts.map(({ counted }) => counted),
  };
}

/** The plan names operations; what holds for one holds for its outputs. */
export function isGuarded({ notFetchable, fetches }: RunPlan, name: string): boolean {
  if (Object.hasOwn(fetches, name)) return false;
  return Object.hasOwn(notFetchable, name) || Object.hasOwn(notFetchable, parseFetchName(name).operation);
}

function isTensor(plan: RunPlan, name: string): boolean {
  const fetch = Object.hasOwn(plan.fetches, name) ? plan.fetches[name] : undefined;
  return fetch === undefined ? parseFetchName(name).index !== undefined : 'tensors' in fetch;
}

/** The tensors that a name of the user's is fed to. */
export function feedTensors(plan: RunPlan, name: string): readonly string[] {
  return feedOf(plan, name).tensors;
}

function feedOf(plan: RunPlan, name: string): FeedPlan {
  const feed = Object.hasOwn(plan.feeds, name) ? plan.feeds[name] : undefined;
  return feed ?? { tensors: [name], split: null };
}

function fetchTensors(plan: RunPlan, name: string): Extract<FetchPlan, { tensors: unknown }> {
  const fetch = Object.hasOwn(plan.fetches, name) ? plan.fetches[name] : undefined;
  return fetch === undefined || !('tensors' in fetch) ? { tensors: [name], combine: 'first' } : fetch;
}

function fetchOperations(plan: RunPlan, name: string): readonly string[] {
  const fetch = Object.hasOwn(plan.fetches, name) ? plan.fetches[name] : undefined;
  return fetch !== undefined && 'operations' in fetch ? fetch.operations : [name];
}

/** Refuses to feed what rounds in the background compute for themselves. */
function checkReaches(anew: readonly string[], name: string): void {
  if (!anew.includes(parseFetchName(name).operation)) return;
  throw bad(
    `Feed "${name}"`,
    'a feed that reaches all that takes it',
    'one that updates take, in rounds in the background, which compute it anew',
    'make it a placeholder in the program, or set "staleness" to 0',
  );
}

/** Refuses a value that the fed tensor does not admit. */
export function checkFeed(name: string, value: TensorData, spec: FeedSpec): void {
  const dtype = spec.dtype ?? value.dtype;
  if (value.dtype !== dtype) throw badFeed(name, spec, `${value.dtype} ${printShape(value.shape)}`);
  if (!isCompatible(value.shape, spec.shape))
    throw badFeed(name, spec, `${value.dtype} ${printShape(value.shape)}`);
  const array = dtype === 'string' ? Array.name : arrayType(dtype)?.name;
  const received = Array.isArray(value.data) ? 'Array' : value.data.constructor.name;
  const count = elementCount(value.shape);
  if (received !== array || value.data.length !== count) {
    throw bad(
      `Feed "${name}"`,
      `${array ?? 'no value'} of ${count} elements for ${dtype} ${printShape(value.shape)}`,
      `${received} of ${value.data.length}`,
      'give the elements in row-major order',
    );
  }
}

function badFeed(name: string, { dtype, shape }: FeedSpec, received: string): GradsyncError {
  return bad(
    `Feed "${name}"`,
    `${dtype ?? 'a value'} ${printShape(shape)}`,
    received,
    'convert or reshape the value that is fed',
  );
}

function bad(subject: string, expected: string, received: string, remedy: string): GradsyncError {
  return new GradsyncError('INVALID_ARGUMENT', subject, { expected, received, remedy });
}
