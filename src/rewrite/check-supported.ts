/** Refuses, before anything is rewritten, what this version cannot carry out. */
import { GradsyncError } from '../errors.js';
import type { TrainingGraph, Variable } from '../graph/training-graph.js';
import type { CollectivePlan, ParameterServerPlan, ResolvedStrategy } from '../strategy/strategy.js';

export interface SupportedPlans {
  /** Of variables on servers. */
  readonly plans: ReadonlyMap<string, ParameterServerPlan>;
  /** Of variables of which every task has a copy. */
  readonly collectives: ReadonlyMap<string, CollectivePlan>;
}

/** The plan of every variable with a gradient, by name. */
export function supportedPlans(training: TrainingGraph, strategy: ResolvedStrategy): SupportedPlans {
  const plans = new Map<string, ParameterServerPlan>();
  const collectives = new Map<string, CollectivePlan>();
  for (const { variable, synchronizer } of strategy.variables) {
    if (synchronizer.kind === 'collective') collectives.set(variable, synchronizer);
    else plans.set(variable, synchronizer);
  }
  if (training.pairs.length === 0) throw withoutGradient();
  for (const { variable } of training.pairs) {
    const plan = plans.get(variable.name);
    if (plan === undefined && !collectives.has(variable.name)) throw withoutPlan(variable.name);
    if (plan !== undefined && plan.staleness > 0) checkStale(variable, plan);
  }
  return { plans, collectives };
}

/** With staleness a variable changes while steps are computed from it. */
function checkStale({ name, kind }: Variable, { staleness, proxy }: ParameterServerPlan): void {
  const received = `"staleness": ${staleness}`;
  if (kind === 'reference') {
    const remedy = 'export the graph with resource variables, or set it to 0';
    throw refused(
      name,
      '"staleness": 0, as readers of a reference variable share its memory',
      received,
      remedy,
    );
  }
  if (proxy) throw refused(name, '"staleness": 0 for a proxy', received, 'set it to 0, or "proxy": false');
}

function refused(variable: string, expected: string, received: string, remedy: string): GradsyncError {
  const details = { expected, received, remedy: `${remedy} for this variable`, variable };
  return new GradsyncError('UNIMPLEMENTED', `Plan of variable "${variable}"`, details);
}

function withoutGradient(): GradsyncError {
  return new GradsyncError('FAILED_PRECONDITION', 'Training graph', {
    expected: 'at least one gradient pair',
    received: 'none',
    remedy: 'export the graph after minimize() or apply_gradients(), or give the pairs',
  });
}

function withoutPlan(variable: string): GradsyncError {
  return new GradsyncError('INVALID_ARGUMENT', `Variable "${variable}"`, {
    expected: 'a plan in the strategy',
    received: 'none',
    remedy: 'resolve the strategy with this graph (resolveStrategy)',
    variable,
  });
}
