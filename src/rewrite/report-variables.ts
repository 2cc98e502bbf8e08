/** The part of the plan that is for people: what became of each variable, and where shared operations went. */
import { DTYPES } from '../graph/dtype.js';
import { elementCount, isFullyKnown } from '../graph/shape.js';
import type { GradientPair, Variable } from '../graph/training-graph.js';
import { TOP_K } from '../strategy/strategy.js';
import { replicasOf } from './devices.js';
import type { Aggregation } from './parameter-server.js';
import { isCollective, planOf, type RunContext } from './pass.js';
import type { Placement } from './place.js';
import type { Plan, VariablePlanReport } from './plan.js';
import { hasProxy } from './proxies.js';
import type { SparseForm } from './sparse-form.js';
import { sentCount } from './top-k.js';

export interface ReportInput {
  readonly pairs: readonly GradientPair[];
  readonly aggregations: readonly Pick<Aggregation, 'pair' | 'sparseForm'>[];
  readonly placement: Placement;
}

export function reportVariables(
  { pairs, aggregations, placement }: ReportInput,
  context: RunContext,
  weights: string | undefined,
): Plan['variables'] {
  const forms = new Map(aggregations.map(({ pair, sparseForm }) => [pair, sparseForm]));
  const entries = pairs.map((pair): [string, VariablePlanReport] => {
    if (isCollective(pair, context))
      return [pair.variable.name, reportCopies(pair, forms.get(pair), context)];
    const { sync, staleness } = planOf(pair, context);
    return [
      pair.variable.name,
      {
        gradient: pair.gradient.kind,
        ...reportForm(pair, forms.get(pair)),
        synchronizer: 'parameter-server',
        ...(sync ? {} : { sync }),
        ...(staleness === 0 ? {} : { staleness }),
        ...(hasProxy(pair, context) ? { proxy: true } : {}),
        ...(weights === undefined || !sync ? {} : { weights }),
        devices: [placement.servers.get(pair.variable)!],
        shards: 1,
        bytes: bytesOf(pair.variable),
      },
    ];
  });
  return wholes(new Map(entries), context);
}

/** One report for all shards of a variable, under its name. */
function wholes(reports: ReadonlyMap<string, VariablePlanReport>, { split }: RunContext): Plan['variables'] {
  const shards = new Set([...split.values()].flatMap((each) => each.shards.map(({ name }) => name)));
  const found = [...reports].filter(([name]) => !shards.has(name));
  for (const [name, { shards: own }] of split) {
    const parts = own.flatMap((shard) => reports.get(shard.name) ?? []);
    const [first] = parts;
    // The state of an optimizer has no plan of its own.
    if (first === undefined) continue;
    // Copies of all shards are on the same devices.
    const devices =
      first.synchronizer === 'collective' ? first.devices : parts.flatMap((part) => part.devices);
    const bytes = parts.reduce((sum, part) => sum + part.bytes, 0);
    const k = parts.reduce((sum, part) => sum + (part.k ?? 0), 0);
    const sent = first.k === undefined ? {} : { k };
    const denseFrom = parts.flatMap((part) => part.denseFrom ?? [null]);
    const dense = denseFrom.every((from) => from === null) ? {} : { denseFrom };
    found.push([name, { ...first, ...sent, ...dense, devices, shards: parts.length, bytes }]);
  }
  return Object.fromEntries(found.sort(([a], [b]) => (a < b ? -1 : 1)));
}

function reportCopies(
  pair: GradientPair,
  form: SparseForm | undefined,
  context: RunContext,
): VariablePlanReport {
  const plan = context.collectives.get(pair.variable.name)!;
  const { compressor, group } = plan;
  return {
    gradient: pair.gradient.kind,
    ...reportForm(pair, form),
    synchronizer: 'collective',
    compressor,
    ...(compressor === TOP_K ? { k: sentCount(plan, pair.variable) } : {}),
    group,
    weights: 'every replica counts the same',
    devices: firstReplicas(context),
    shards: 1,
    bytes: bytesOf(pair.variable),
  };
}

/** Where the copies are: the replicas of a task share one, on the device of the first. */
function firstReplicas({ strategy, taskCount }: RunContext): readonly string[] {
  return Array.from({ length: taskCount }, (_, task) => replicasOf(strategy, task)[0]!);
}

/** Slices that are not aggregated have no form but their own. */
function reportForm(
  { gradient }: GradientPair,
  form: SparseForm | undefined,
): Pick<VariablePlanReport, 'sparseForm' | 'sparseFormReason' | 'distinctRows' | 'denseFrom'> {
  if (form !== undefined) {
    const distinct = form.distinct === true ? { distinctRows: true as const } : {};
    const dense = form.denseFrom === undefined ? {} : { denseFrom: [form.denseFrom] };
    return { sparseForm: form.form, sparseFormReason: form.reason, ...distinct, ...dense };
  }
  if (gradient.kind === 'dense') return { sparseForm: null };
  return { sparseForm: null, sparseFormReason: 'every task applies its own slices' };
}

/** Size of a variable's value; 0 where its shape is not known. */
function bytesOf({ shape, dtype }: Variable): number {
  return isFullyKnown(shape) ? elementCount(shape) * DTYPES[dtype].size : 0;
}

/** `own`: the device of what is the task's own. */
export function reportPlacement({ shared }: Placement, own: string): Plan['placement'] {
  const placed = [...shared].map(
    ([name, { device, why }]) => [name, { device: device || own, why }] as const,
  );
  return Object.fromEntries(placed.sort(([a], [b]) => (a < b ? -1 : 1)));
}
