/**
 * The source operation of a variable: the one after which this step's update of the variable, and of its slots, is complete. Found by
 * structure: the NoOp that gathers the changes of this variable and nothing else's, if something waits for it; else the update itself.
 */
import { variableKind, writtenInputs } from './op-catalog.js';
import type { Operation } from './operation.js';
import type { Gradient, Variable } from './training-graph.js';
import { dependsOn } from './traverse.js';

export interface SourceQuery {
  readonly variable: Variable;
  readonly gradient: Gradient;
  readonly update: Operation;
  /** Everything else that changes the variable during a step, e.g. a weight decay before the update. */
  readonly changes: readonly Operation[];
  /** Handles of all trainable variables: a group that changes another one of them is not this variable's. */
  readonly trainable: ReadonlySet<Operation>;
}

export function findSource(query: SourceQuery): Operation {
  const { update, changes } = query;
  for (const group of groupsAfter(update)) {
    if (
      hasConsumer(group) &&
      gathersOnly(group, query) &&
      changes.every((change) => dependsOn(group, change, 'control'))
    ) {
      return group;
    }
  }
  return update;
}

/** The NoOps that wait for the update, or for what reads the variable straight after it: nearest first. */
function groupsAfter(update: Operation): Operation[] {
  const direct = [...update.controlConsumers];
  const consumers = [...(update.outputs[0]?.consumers ?? [])];
  const behind = [...direct, ...consumers]
    .filter(({ type }) => type !== 'NoOp')
    .flatMap((next) => [...next.controlConsumers]);
  return [...new Set([...direct, ...behind])].filter(({ type }) => type === 'NoOp');
}

function hasConsumer(operation: Operation): boolean {
  return operation.controlConsumers.size > 0;
}

/** Whether all that a NoOp waits for changes this variable or its slots, or reads one of them. */
function gathersOnly(group: Operation, query: SourceQuery): boolean {
  return group.controlInputs.every((member) => belongs(member, query, 0));
}

function belongs(member: Operation, query: SourceQuery, depth: number): boolean {
  if (member === query.update || query.changes.includes(member)) return true;
  const written = writtenInputs(member.type);
  if (written.length > 0) return changesSlot(member, query);
  // A read after a change counts as that change; so does a NoOp that gathers some.
  return (
    depth < 4 &&
    member.controlInputs.length > 0 &&
    member.controlInputs.every((input) => belongs(input, query, depth + 1))
  );
}

/** A change of another variable belongs to this one's update if it is fed by this one's gradient, or prepares a slot that is. */
function changesSlot(member: Operation, { gradient, trainable }: SourceQuery): boolean {
  const target = member.inputs[0]?.operation;
  if (target === undefined || trainable.has(target)) return false;
  const sources = gradient.kind === 'dense' ? [gradient.tensor] : [gradient.values, gradient.indices];
  return (
    sources.some(({ operation }) => isNear(member, operation)) ||
    preparesSlot(
      member,
      sources.map(({ operation }) => operation),
    )
  );
}

/** `Assign(m, m * beta1)` before `ScatterAdd(m, ...)`: a later change of the same slot is fed by the gradient. */
function preparesSlot(member: Operation, sources: readonly Operation[]): boolean {
  for (const next of member.controlConsumers) {
    if (writtenInputs(next.type).length === 0 || next.inputs[0] !== member.inputs[0]) continue;
    if (sources.some((source) => isNear(next, source))) return true;
  }
  return false;
}

/** Operations a slot's update may lie behind the gradient. Bounds the search: another variable's whole backpropagation may follow. */
const NEAR = 400;

/** Whether `target` takes data from `source`, looking back over at most NEAR operations and never through variables. */
function isNear(target: Operation, source: Operation): boolean {
  const seen = new Set([target]);
  for (const operation of seen) {
    if (operation === source) return true;
    if (seen.size > NEAR) return false;
    for (const { operation: producer } of operation.inputs) {
      if (variableKind(producer.type) === undefined) seen.add(producer);
    }
  }
  return false;
}
