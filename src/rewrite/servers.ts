/**
 * The device of every shared variable. One with a pair has it from its plan; the optimizer's state goes beside the variable that is updated
 * with it, that it is colocated with, or that it serves.
 */
import type { Graph } from '../graph/graph.js';
import type { Operation } from '../graph/operation.js';
import type { GradientPair, Variable } from '../graph/training-graph.js';
import { colocationTargets } from '../graph/verify.js';
import type { Closure } from './closure.js';
import { planOf, type RunContext } from './pass.js';
import type { VariableUses } from './variable-uses.js';
import { ancestors, eachConsumer, type Marks } from './walk.js';

export interface ServersInput {
  readonly pairs: readonly GradientPair[];
  readonly closure: Closure;
  readonly uses: VariableUses;
}

export function findServers(
  graph: Graph,
  context: RunContext,
  input: ServersInput,
): ReadonlyMap<Variable, string> {
  const { pairs, closure, uses } = input;
  const servers = new Map<Variable, string>();
  for (const pair of pairs) servers.set(pair.variable, planOf(pair, context).device);
  const state = [...closure.shared].filter((variable) => !servers.has(variable));
  state.sort((a, b) => (a.name < b.name ? -1 : 1));
  const updated = new Map<Variable, Variable | undefined>();
  for (const variable of state) updated.set(variable, updatedWith(variable, servers, uses));
  let above: Marks | undefined;
  for (const variable of state) {
    let beside = updated.get(variable) ?? colocatedWith(variable, graph, uses, servers);
    if (beside === undefined) {
      above ??= ancestors(graph, closure.members);
      beside = serves(variable, input, above);
    }
    servers.set(variable, servers.get(beside)!);
  }
  return servers;
}

/** The placed variable that one operation changes together with this one: the fused update of a variable and its slots. */
function updatedWith(
  variable: Variable,
  servers: ReadonlyMap<Variable, string>,
  uses: VariableUses,
): Variable | undefined {
  for (const mutator of uses.mutatorsOf(variable)) {
    const other = uses.mutatedBy(mutator).find((each) => servers.has(each));
    if (other !== undefined) return other;
  }
  return undefined;
}

function colocatedWith(
  variable: Variable,
  graph: Graph,
  uses: VariableUses,
  servers: ReadonlyMap<Variable, string>,
): Variable | undefined {
  for (const name of [...colocationTargets(variable.handle)].reverse()) {
    const handle = graph.find(name);
    const target = handle && uses.variableOf(handle.output());
    if (target !== undefined && target !== variable && servers.has(target)) return target;
  }
  return undefined;
}

/** The first variable whose update is computed from this one; the first of all if there is none. */
function serves(variable: Variable, { pairs, uses }: ServersInput, above: Marks): Variable {
  const updates = new Map(pairs.map((pair) => [pair.update, pair.variable]));
  const queue = new Set<Operation>(uses.holdersOf(variable));
  for (const operation of queue) {
    const found = updates.get(operation);
    if (found !== undefined) return found;
    eachConsumer(operation, false, (consumer) => {
      if (above.has(consumer)) queue.add(consumer);
    });
  }
  return pairs[0]!.variable;
}
