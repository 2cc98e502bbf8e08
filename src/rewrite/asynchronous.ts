/**
 * The asynchronous parameter server: every task updates the shared variables itself, with its own gradient, as soon as it has it. Nothing is
 * averaged and nobody waits; an update is whole, as it holds the variable's lock.
 */
import { attr } from '../graph/attributes.js';
import type { Graph } from '../graph/graph.js';
import { takesLock } from '../graph/op-catalog.js';
import type { Operation } from '../graph/operation.js';
import type { Closure } from './closure.js';
import { gradientTensors } from './gradient-region.js';
import type { Draft } from './pass.js';
import type { UpdateGroup } from './update-groups.js';
import type { VariableUses } from './variable-uses.js';

export interface DirectInput {
  readonly asynchronous: readonly UpdateGroup[];
  readonly closure: Closure;
  readonly uses: VariableUses;
}

/** Makes updates fit for several tasks that run them at any time. */
export function updateDirectly({ graph }: Draft, { asynchronous, closure, uses }: DirectInput): void {
  for (const { pairs, members } of asynchronous) {
    lockUpdates(graph, members);
    // What changes the variable besides its update (weight decay before it) may not run before this task has read it for the step.
    const own = new Set(members);
    for (const pair of pairs) {
      const roots = gradientTensors(pair).map(({ operation }) => operation);
      for (const mutator of uses.mutatorsOf(pair.variable)) {
        if (!own.has(mutator) || closure.computed.has(mutator)) continue;
        for (const root of roots) graph.addControlInput(mutator, root);
      }
    }
  }
}

/** Makes updates exclude each other, and readers of what they change. */
export function lockUpdates(graph: Graph, members: readonly Operation[]): void {
  for (const member of members) {
    if (takesLock(member.type)) graph.setAttributes(member, { use_locking: attr.bool(true) });
  }
}

/** The operations that every task runs for itself. */
export function membersOf(groups: readonly UpdateGroup[]): ReadonlySet<Operation> {
  return new Set(groups.flatMap(({ members }) => members));
}
