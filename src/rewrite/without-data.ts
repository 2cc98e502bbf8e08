/**
 * What a task does in a step for which it has no data while others have: it takes part in the round as ever, but gives nothing. It updates its
 * copies, hands on what the chief hands on, counts the step; what its data would decide is left out. So no protocol changes when a task
 * runs out of data, not even where that is the chief.
 */
import { GradsyncError } from '../errors.js';
import type { Graph } from '../graph/graph.js';
import type { Operation } from '../graph/operation.js';
import { isFullyKnown } from '../graph/shape.js';
import type { GradientPair } from '../graph/training-graph.js';
import type { Closure } from './closure.js';
import type { Exchange } from './collective.js';
import { findPlaceholders } from './feeds.js';
import { gradientTensors } from './gradient-region.js';
import { type Nothing, nothingOf } from './nothing.js';
import type { Aggregation } from './parameter-server.js';
import type { RewriteContext } from './pass.js';
import type { Plan } from './plan.js';
import type { UpdateGroup } from './update-groups.js';
import { ancestors, type Marks } from './walk.js';

/** What of the program a task without data runs, and what not; found once for all tasks. */
export interface Attendance {
  /** Names of the operations that updates take values of, beside gradients: learning rates. */
  readonly settings: readonly string[];
  /** Operations that change what no round changes, with the task's own gradient. */
  readonly alone: readonly string[];
}

/**
 * @param roots the operations that hand the gradients on.
 * @throws GradsyncError UNIMPLEMENTED where an update takes what a batch decides, beside gradients: who has no batch cannot run it.
 */
export function findAttendance(
  graph: Graph,
  { members }: Closure,
  roots: Marks,
  asynchronous: readonly UpdateGroup[],
): Attendance {
  const taken = ancestors(graph, members, { enter: (operation) => !roots.has(operation) });
  const batch = findPlaceholders(graph).find((placeholder) => taken.has(placeholder) && isBatch(placeholder));
  if (batch !== undefined) throw takesBatch(batch.name);
  return {
    settings: [...taken].map(({ name }) => name).sort(),
    alone: asynchronous.flatMap((group) => group.members.map(({ name }) => name)),
  };
}

/** A scalar is the same for all tasks, and so is what has no known rank; all else may be a task's own. */
function isBatch({ attributes }: Operation): boolean {
  const shape = attributes.get('shape');
  return shape?.kind === 'shape' && shape.value !== null && shape.value.length > 0;
}

function takesBatch(name: string): GradsyncError {
  return new GradsyncError('UNIMPLEMENTED', 'Option "uneven" join', {
    expected: 'updates that take nothing of a batch but gradients, as a task without data runs them too',
    received: `"${name}", which an update takes`,
    remedy: 'name the gradients as they leave backpropagation (gradients), or choose stop',
    operation: name,
  });
}

export interface WithoutDataInput {
  readonly pairs: readonly GradientPair[];
  readonly aggregations: readonly Aggregation[];
  readonly exchanged: Exchange;
  readonly attendance: Attendance | undefined;
}

/** Nothing where no task waits for another. */
export function planWithoutData(
  { contributors: { fed } }: RewriteContext,
  { pairs, aggregations, exchanged, attendance }: WithoutDataInput,
): Pick<Plan, 'withoutData'> {
  if (attendance === undefined || aggregations.length + exchanged.pairs.length === 0) return {};
  const queued = aggregations.filter(({ queues }) => queues !== undefined);
  const nothing = [...queued.flatMap(({ pair }) => nothingOf(pair)), ...exchanged.nothing];
  const isFed = new Set(nothing.map(({ tensor }) => tensor));
  const gradients = pairs.flatMap(gradientTensors).filter((tensor) => !isFed.has(tensor));
  return {
    withoutData: {
      counts: { tasks: fed.tasks?.name ?? null, replicas: fed.replicas?.name ?? null },
      nothing: nothing.map(printNothing),
      leftOut: [...gradients.map(({ operation }) => operation.name), ...attendance.alone],
      settings: attendance.settings,
    },
  };
}

function printNothing({
  tensor,
  dtype,
  shape,
}: Nothing): NonNullable<Plan['withoutData']>['nothing'][number] {
  if (isFullyKnown(shape)) return { tensor: tensor.name, dtype, shape };
  throw new GradsyncError('UNIMPLEMENTED', 'Option "uneven" join', {
    expected: 'variables of known shapes, as a task without data sends zeros of the same shape',
    received: `"${tensor.name}", of an unknown one`,
    remedy: 'set the shape of the variable before the graph is exported, or choose stop',
    operation: tensor.operation.name,
  });
}
