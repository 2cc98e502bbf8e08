/**
 * The parameter server between tasks that wait for each other: every task hands its gradient to an object on the variable's device, the chief takes the
 * mean of all, in its step or in the background. What took the gradient takes the mean instead. This is the one place where gradients are averaged.
 */
import { GradsyncError } from '../errors.js';
import type { DType } from '../graph/dtype.js';
import type { GradientPair } from '../graph/training-graph.js';
import { aggregateDense, aggregateQueued, type Handover } from './aggregate-dense.js';
import { aggregateCombined, aggregateConcatenated } from './aggregate-sparse.js';
import type { Closure } from './closure.js';
import { isDistinct } from './combine-rows.js';
import { cpuOf } from './devices.js';
import type { Queueing } from './gradient-queues.js';
import { type Draft, planOf, type RewriteContext } from './pass.js';
import { type SparseForm, sparseFormOf } from './sparse-form.js';
import type { RoundGroup } from './synchrony.js';
import type { VariableUses } from './variable-uses.js';

export interface Aggregation extends Handover {
  readonly pair: GradientPair;
  /** Undefined for a dense gradient. */
  readonly sparseForm: SparseForm | undefined;
}

export interface AggregateInput {
  readonly groups: readonly RoundGroup[];
  readonly pairs: readonly GradientPair[];
  readonly sharedRows: ReadonlySet<GradientPair>;
  readonly closure: Closure;
  readonly uses: VariableUses;
}

const ACCUMULATED = new Set<DType>(['float16', 'float32', 'float64']);

export function aggregate(
  draft: Draft,
  context: RewriteContext,
  { groups, pairs, sharedRows, closure, uses }: AggregateInput,
): readonly Aggregation[] {
  const queueing = queueingOf(groups);
  const averaged = pairs.filter((pair) => planOf(pair, context).sync);
  return averaged.map((pair) => {
    checkType(pair);
    const queues = queueing.get(pair);
    const form = formOf(context, pair, sharedRows.has(pair), queues);
    const aggregation = aggregatePair(draft, context, pair, form, queues);
    delayOtherChanges(draft, aggregation, closure, uses);
    return aggregation;
  });
}

function formOf(
  context: RewriteContext,
  pair: GradientPair,
  sharedRows: boolean,
  queues: Queueing | undefined,
): SparseForm | undefined {
  if (pair.gradient.kind === 'dense') return undefined;
  const form = sparseFormOf(pair, sharedRows);
  return { ...(queues === undefined ? form : QUEUED), distinct: isDistinct(context, pair, form) };
}

const QUEUED: SparseForm = {
  form: 'concatenated',
  reason: 'tasks may run ahead of each other: their slices wait in queues of their own',
};

/** The pairs whose gradients wait in queues for a run in the background. */
function queueingOf(groups: readonly RoundGroup[]): ReadonlyMap<GradientPair, Queueing> {
  const found = new Map<GradientPair, Queueing>();
  for (const { pairs, background } of groups) {
    if (background === undefined) continue;
    for (const pair of pairs) found.set(pair, { capacity: background.staleness + 1, inStep: false });
  }
  return found;
}

/** What changes the variable besides its update (weight decay before it) may not run before every task has read it for this step. */
function delayOtherChanges(
  { graph }: Draft,
  { pair, takes }: Aggregation,
  { members, computed }: Closure,
  uses: VariableUses,
): void {
  for (const mutator of uses.mutatorsOf(pair.variable)) {
    if (!members.has(mutator) || computed.has(mutator)) continue;
    for (const take of takes) graph.addControlInput(mutator, take);
  }
}

function aggregatePair(
  { graph }: Draft,
  context: RewriteContext,
  pair: GradientPair,
  sparseForm: SparseForm | undefined,
  queues: Queueing | undefined,
): Aggregation {
  const { device } = planOf(pair, context);
  const site = { graph, device: cpuOf(device), pass: 'parameter-server', source: pair.variable.name };
  if (sparseForm === undefined) {
    const made =
      queues === undefined
        ? aggregateDense(site, context, pair)
        : aggregateQueued(site, context, pair, queues);
    return { pair, sparseForm, ...made };
  }
  const distinct = sparseForm.distinct === true;
  const made =
    sparseForm.form === 'combined'
      ? aggregateCombined(site, context, pair, distinct)
      : aggregateConcatenated(site, context, pair, distinct, queues);
  return { pair, sparseForm, ...made };
}

/** Stock accumulators are made for these types only. */
function checkType({ variable }: GradientPair): void {
  if (ACCUMULATED.has(variable.dtype)) return;
  throw new GradsyncError('UNIMPLEMENTED', `Variable "${variable.name}"`, {
    expected: `a gradient of ${[...ACCUMULATED].join(', ')}`,
    received: variable.dtype,
    remedy: 'keep this variable in float32 and cast where it is read',
    variable: variable.name,
  });
}
