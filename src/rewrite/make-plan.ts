/** Puts the plan of one task together. Fields are in the order in which they are written. */
import { JOB, workerAddresses } from '../cluster/cluster-spec.js';
import { parseDevice, printDevice } from '../graph/device.js';
import type { Operation } from '../graph/operation.js';
import type { GradientPair, TrainingGraph } from '../graph/training-graph.js';
import type { ResolvedStrategy } from '../strategy/strategy.js';
import type { Exchange } from './collective.js';
import { taskOfDevice } from './devices.js';
import { FORMAT } from './digest.js';
import { type Fetches, TOGETHER, trainsOf } from './fetches.js';
import type { Finish } from './finish.js';
import type { Initialization } from './initialize.js';
import type { Aggregation } from './parameter-server.js';
import type { TaskContext } from './pass.js';
import type { Placement } from './place.js';
import type { PartitionReport, Plan } from './plan.js';
import type { Proxies } from './proxies.js';
import { reportPlacement, reportVariables } from './report-variables.js';
import { planRollCall, type Roll } from './roll-call.js';
import { type ResidualFiles, reportResiduals } from './save-residuals.js';
import type { Residual } from './sending.js';
import { residualName } from './shared-objects.js';
import { type Attendance, planWithoutData } from './without-data.js';

/** How long one run may take before it is given up; a task that died must not hold the others for ever. */
const TIMEOUT_MS = 60_000;

export interface PlanParts extends Fetches {
  readonly training: TrainingGraph;
  readonly start: Initialization;
  readonly feeds: Plan['feeds'];
  /** All pairs, and what became of those that are averaged. */
  readonly pairs: readonly GradientPair[];
  readonly aggregations: readonly Aggregation[];
  readonly exchanged: Exchange;
  readonly placement: Placement;
  readonly attendance: Attendance | undefined;
  readonly proxies: Proxies;
  readonly finishes: readonly Finish[];
  /** Of what compressors keep back, if anything. */
  readonly residualFiles: ResidualFiles | undefined;
  /** How the task finds out who has data, where that is asked. */
  readonly roll: Roll | undefined;
  /** Ends what is run in the background. */
  readonly close: readonly Operation[];
}

export function makePlan(context: TaskContext, parts: PlanParts): Plan {
  const { start, feeds, fetches, placement, proxies, roll } = parts;
  const without = planWithoutData(context, parts);
  return {
    format: FORMAT,
    digest: context.digest,
    cluster: { worker: workerAddresses(context.cluster) },
    task: context.task,
    chief: 0,
    replicas: context.replicas,
    ...configs(context.replicas),
    containers: [context.digest],
    ready: start.ready.output().name,
    initializers: [...start.initializers, ...(proxies.initializer ? [proxies.initializer] : [])].map(
      (operation) => operation.name,
    ),
    feeds,
    fetches,
    notFetchable: withRefreshes(parts.notFetchable, proxies),
    background: runsOf(parts),
    close: parts.close.map(({ name }) => name),
    saver: saverOf(context, parts.training),
    ...reportResiduals(parts.residualFiles),
    variables: reportVariables(
      { ...parts, aggregations: [...parts.aggregations, ...parts.exchanged.pairs] },
      context,
      weightsOf(context.strategy),
    ),
    placement: reportPlacement(placement, context.replicas[0]!),
    ...partitionsOf(context, parts.exchanged.residuals),
    ...roundsOf(parts.finishes),
    ...without,
    ...planRollCall(context, roll, without.withoutData),
  };
}

/** What is kept back of all shards' gradients is what the whole one's would be. */
function partitionsOf({ split }: TaskContext, residuals: readonly Residual[]): Pick<Plan, 'partitions'> {
  if (split.size === 0) return {};
  const kept = new Map(residuals.map(({ of, variable }) => [of.name, variable.name]));
  const found = [...split].flatMap(([name, { axis, shards }]): [string, PartitionReport][] => {
    const own = shards.flatMap((shard) => kept.get(shard.name) ?? []);
    return [
      [name, { axis, shards: shards.map((shard) => shard.name) }],
      ...(own.length === shards.length
        ? [[residualName(name), { axis, shards: own }] as [string, PartitionReport]]
        : []),
    ];
  });
  return { partitions: Object.fromEntries(found.sort(([a], [b]) => (a < b ? -1 : 1))) };
}

/** What the task runs beside its steps, one loop for each. */
function runsOf({ finishes, exchanged }: PlanParts): Plan['background'] {
  const rounds = finishes.flatMap(({ background }) => background?.run ?? []);
  return [...rounds, ...exchanged.background.map(({ run }) => run)].map(({ name }) => name);
}

function roundsOf(finishes: readonly Finish[]): Pick<Plan, 'rounds'> {
  const rounds = finishes.flatMap((finish) => {
    if (finish.background === undefined) return [];
    const { applied, steps, lag } = finish.background.counters;
    return [
      {
        applied: applied.handle.name,
        steps: steps.handle.name,
        lag: lag.name,
        trains: trainsOf(finish),
        anew: finish.background.anew.map(({ name }) => name),
      },
    ];
  });
  return rounds.length === 0 ? {} : { rounds };
}

function withRefreshes(names: Plan['notFetchable'], { refreshes }: Proxies): Plan['notFetchable'] {
  if (refreshes.length === 0) return names;
  const added = refreshes.map(({ name }) => [name, TOGETHER] as const);
  return Object.fromEntries([...Object.entries(names), ...added].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** A server makes one CPU device unless it is told of more. */
function configs(replicas: readonly string[]): Pick<Plan, 'serverConfig' | 'sessionConfig' | 'runOptions'> {
  const chief = printDevice({ job: JOB, replica: 0, task: 0 });
  const lastCpu = Math.max(
    ...replicas.map(parseDevice).map(({ type, index = 0 }) => (type === 'CPU' ? index : 0)),
  );
  return {
    serverConfig: {
      ...(lastCpu > 0 ? { deviceCount: { CPU: lastCpu + 1 } } : {}),
      experimental: { collectiveGroupLeader: chief },
    },
    // A function may take variables of several tasks.
    sessionConfig: { allowSoftPlacement: true, experimental: { shareClusterDevicesInSession: true } },
    runOptions: { timeoutInMs: String(TIMEOUT_MS) },
  };
}

/** What a reader must know of the mean where tasks have different numbers of replicas. */
function weightsOf({ replicas }: ResolvedStrategy): string | undefined {
  const counts = new Map<number, number>();
  for (const device of replicas)
    counts.set(taskOfDevice(device), (counts.get(taskOfDevice(device)) ?? 0) + 1);
  if (new Set(counts.values()).size < 2) return undefined;
  return `every task counts the same, though they have ${[...counts.values()].join(', ')} replicas`;
}

/** The chief's checkpoint holds the shared variables and its own; another task's would differ only in its own, so it has none. */
function saverOf({ isChief }: TaskContext, { saver }: TrainingGraph): Plan['saver'] {
  if (saver === undefined || !isChief) return null;
  return { filename: saver.filename.name, save: saver.save.name, restore: saver.restore.name };
}
