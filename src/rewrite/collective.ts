/**
 * Variables of which every task has a copy: what takes a gradient takes the mean over all replicas of all tasks instead, and each task
 * updates its own copies with the very same bits. With one task there is nobody to ask, and nothing changes.
 */
import { GradsyncError } from '../errors.js';
import { parseDevice } from '../graph/device.js';
import type { Operation } from '../graph/operation.js';
import type { GradientPair } from '../graph/training-graph.js';
import { BackgroundCollectives, type BackgroundExchange } from './background-collectives.js';
import type { Closure } from './closure.js';
import { COLLECTIVE_TYPES, Collectives } from './collective-operations.js';
import { replicasOf, taskOfDevice } from './devices.js';
import { exchangeSlices } from './exchange-slices.js';
import { exchangedForm } from './exchanged-form.js';
import { gradientTensors } from './gradient-region.js';
import { type Nothing, nothingOf } from './nothing.js';
import type { Draft, RewriteContext } from './pass.js';
import { bundle, reduceBundle } from './reduce-dense.js';
import type { Reduction, Residual, Sending } from './sending.js';
import { type SparseForm, sparseFormOf } from './sparse-form.js';
import type { UpdateGroup } from './update-groups.js';
import type { VariableUses } from './variable-uses.js';

export interface CollectiveInput {
  /** Groups of variables of which every task has a copy. */
  readonly replicated: readonly UpdateGroup[];
  /** Pairs whose rows must keep their order. */
  readonly sharedRows: ReadonlySet<GradientPair>;
  readonly closure: Closure;
  readonly uses: VariableUses;
}

export interface Exchange {
  readonly pairs: readonly { readonly pair: GradientPair; readonly sparseForm: SparseForm | undefined }[];
  /** What only a step may run: the collective operations, where they are in it, and what keeps residuals. */
  readonly operations: readonly Operation[];
  /** What the task runs beside its steps, where collectives are not in them: one for each group. */
  readonly background: readonly BackgroundExchange[];
  readonly sent: readonly Sending[];
  /** Variables that were added: what compression has kept back. */
  readonly residuals: readonly Residual[];
  /** What a task without data sends. */
  readonly nothing: readonly Nothing[];
}

export function exchange(draft: Draft, context: RewriteContext, input: CollectiveInput): Exchange {
  const runs = context.collectivesInBackground ? new BackgroundCollectives(context) : undefined;
  const collectives = new Collectives(context.taskCount, runs);
  const forms = formsOf(context, input);
  const reductions: Reduction[] = [];
  const background: BackgroundExchange[] = [];
  for (const { pairs } of input.replicated) {
    for (const pair of pairs) delayOtherChanges(draft, pair, input);
    if (context.taskCount === 1) continue;
    reductions.push(...exchangeGroup(draft, context, pairs, forms, collectives));
    const run = runs?.end({ graph: draft.graph, device: '', pass: 'collective', source: '' });
    if (run !== undefined) background.push(run);
  }
  return {
    pairs: [...forms].map(([pair, sparseForm]) => ({ pair, sparseForm })),
    operations: [
      ...(runs === undefined ? collectives.made : background.flatMap(({ steps }) => steps)),
      ...reductions.flatMap(({ keeps }) => keeps),
    ],
    background,
    sent: reductions.flatMap(({ sent }) => sent),
    residuals: reductions.flatMap(({ residuals }) => residuals),
    nothing: reductions.flatMap(({ nothing }) => nothing),
  };
}

/** The form of each pair; undefined for dense gradients, and where there is nobody to ask. To be asked before anything is edited. */
function formsOf(
  context: RewriteContext,
  { replicated, sharedRows }: CollectiveInput,
): ReadonlyMap<GradientPair, SparseForm | undefined> {
  const pairs = replicated.flatMap((group) => group.pairs);
  return new Map(
    pairs.map((pair) => {
      if (pair.gradient.kind === 'dense' || context.taskCount === 1) return [pair, undefined];
      const own = sparseFormOf(pair, sharedRows.has(pair));
      return [pair, exchangedForm(context, pair, own)];
    }),
  );
}

/** Only gradients of one group of updates may travel together: others may be fetched apart. */
function exchangeGroup(
  { graph }: Draft,
  context: RewriteContext,
  pairs: readonly GradientPair[],
  forms: ReadonlyMap<GradientPair, SparseForm | undefined>,
  collectives: Collectives,
): readonly Reduction[] {
  for (const pair of pairs) checkType(pair);
  const onCpu = !isUniform(context);
  const siteOf = (pair: GradientPair) => {
    const device = onCpu ? context.devices.cpu : gradientTensors(pair)[0]!.operation.device;
    return { graph, device, pass: 'collective', source: pair.variable.name };
  };
  const dense = pairs.filter(({ gradient }) => gradient.kind === 'dense');
  const reduced = bundle(dense, context).map((each) =>
    reduceBundle(siteOf(each.pairs[0]!), context, each, collectives),
  );
  const sparse = pairs.filter(({ gradient }) => gradient.kind === 'sparse');
  const gathered = sparse.map((pair) => ({
    sent: exchangeSlices(siteOf(pair), context, pair, collectives, forms.get(pair)!),
    residuals: [],
    keeps: [],
    nothing: nothingOf(pair),
  }));
  return [...reduced, ...gathered];
}

/** Whether gradients lie on devices of one type on all tasks, as members of a collective must. */
function isUniform({ strategy, taskCount }: RewriteContext): boolean {
  const tasks = new Set(strategy.replicas.map(taskOfDevice));
  const types = new Set(strategy.replicas.map((device) => parseDevice(device).type));
  return (
    types.size === 1 &&
    [...tasks].every((task) => replicasOf(strategy, task).length === 1) &&
    taskCount === tasks.size
  );
}

/** What changes a copy besides its update (weight decay before it) may not run before this task has read it for the step. */
function delayOtherChanges({ graph }: Draft, pair: GradientPair, { closure, uses }: CollectiveInput): void {
  const roots = gradientTensors(pair).map(({ operation }) => operation);
  for (const mutator of uses.mutatorsOf(pair.variable)) {
    if (!closure.members.has(mutator) || closure.computed.has(mutator)) continue;
    for (const root of roots) graph.addControlInput(mutator, root);
  }
}

function checkType({ variable }: GradientPair): void {
  if (COLLECTIVE_TYPES.has(variable.dtype)) return;
  throw new GradsyncError('UNIMPLEMENTED', `Variable "${variable.name}"`, {
    expected: `a gradient of ${[...COLLECTIVE_TYPES].join(', ')}`,
    received: variable.dtype,
    remedy: 'keep this variable in float32 and cast where it is read',
    variable: variable.name,
  });
}
