/**
 * Update groups: the parts of the closure C that a step always runs together. Two optimizers that are fetched apart (a generator and a
 * discriminator) are two groups with tokens of their own; the variables of one optimizer are one group and share them.
 */
import { GradsyncError } from '../errors.js';
import type { Graph } from '../graph/graph.js';
import type { Operation } from '../graph/operation.js';
import type { GradientPair } from '../graph/training-graph.js';
import type { Closure } from './closure.js';
import { gradientTensors } from './gradient-region.js';
import type { VariableUses } from './variable-uses.js';
import { ancestors, eachConsumer, eachProducer } from './walk.js';

export interface UpdateGroup {
  /** Sorted by variable name, as are the groups by their first pair. */
  readonly pairs: readonly GradientPair[];
  readonly members: readonly Operation[];
  /** Members after which the round is over: together they wait for every change the group makes. */
  readonly last: readonly Operation[];
  /** Operations outside C that waited for a member. */
  readonly waiting: readonly Operation[];
  /** Changes of state that nobody takes or waits for: the program fetches them itself. */
  readonly fetched: readonly Operation[];
}

/** Sets of operations, merged pair by pair. */
class Partition {
  readonly #parents = new Map<Operation, Operation>();

  find(operation: Operation): Operation {
    let root = operation;
    for (let next = this.#parents.get(root); next !== undefined; next = this.#parents.get(root)) root = next;
    for (let at = operation; at !== root; ) {
      const next = this.#parents.get(at)!;
      this.#parents.set(at, root);
      at = next;
    }
    return root;
  }

  merge(a: Operation, b: Operation): void {
    const [rootA, rootB] = [this.find(a), this.find(b)];
    if (rootA !== rootB) this.#parents.set(rootB, rootA);
  }
}

export function findUpdateGroups(
  graph: Graph,
  pairs: readonly GradientPair[],
  { members }: Closure,
  uses: VariableUses,
): readonly UpdateGroup[] {
  const partition = new Partition();
  for (const member of members) {
    eachProducer(member, true, (producer) => {
      if (members.has(producer)) partition.merge(producer, member);
    });
  }
  for (const pair of pairs) mergeConsumers(pair, partition);
  mergeByWaiting(members, partition);
  const groups = buildGroups(pairs, members, partition, uses);
  checkOrder(graph, groups, members);
  return groups;
}

/** A gradient that waits for changes of its own group can never be handed over: the group waits for it. */
function checkOrder(graph: Graph, groups: readonly UpdateGroup[], members: Closure['members']): void {
  const all = ancestors(graph, groups.flatMap(rootsOf), { control: true });
  if (![...members].some((member) => all.has(member))) return;
  for (const group of groups) {
    const before = groups.length === 1 ? all : ancestors(graph, rootsOf(group), { control: true });
    const early = group.members.find((member) => before.has(member));
    if (early !== undefined) throw twoRounds(early);
  }
}

function rootsOf({ pairs }: UpdateGroup): readonly Operation[] {
  return pairs.flatMap((pair) => gradientTensors(pair).map((tensor) => tensor.operation));
}

function twoRounds(early: Operation): GradsyncError {
  return new GradsyncError('UNIMPLEMENTED', `Operation "${early.name}"`, {
    expected: 'gradients that do not wait for a change of the same step',
    received: 'a gradient that is computed after this operation, and whose update waits for it',
    remedy: 'run the one before the other in steps of their own, without a control dependency between them',
    operation: early.name,
  });
}

/** All that takes one gradient belongs together. */
function mergeConsumers(pair: GradientPair, partition: Partition): void {
  for (const tensor of gradientTensors(pair)) {
    for (const consumer of tensor.consumers) partition.merge(pair.update, consumer);
  }
}

/** Parts for which exactly the same operations wait are always run together. */
function mergeByWaiting(members: Closure['members'], partition: Partition): void {
  const waiting = new Map<Operation, Set<number>>();
  for (const member of members) {
    const root = partition.find(member);
    const ids = waiting.get(root) ?? new Set();
    for (const id of outsideConsumers(member, members)) ids.add(id);
    waiting.set(root, ids);
  }
  const first = new Map<string, Operation>();
  for (const [root, ids] of waiting) {
    if (ids.size === 0) continue;
    const key = [...ids].sort((a, b) => a - b).join();
    const other = first.get(key);
    if (other === undefined) first.set(key, root);
    else partition.merge(other, root);
  }
}

/** Ids of what waits for a member from outside C, but for values that nobody takes (a read after the update). */
function* outsideConsumers(member: Operation, members: Closure['members']): Generator<number> {
  for (const consumer of member.controlConsumers) {
    if (!members.has(consumer) && !isUnusedRead(consumer)) yield consumer.id;
  }
}

function isUnusedRead(operation: Operation): boolean {
  if (operation.type !== 'ReadVariableOp' && operation.type !== 'Identity') return false;
  return (
    !operation.outputs.some((output) => (output?.consumers.size ?? 0) > 0) &&
    operation.controlConsumers.size === 0
  );
}

/** Whether anything takes an output of the operation or waits for it, but for reads of the new value that nobody takes. */
function isUsed(operation: Operation): boolean {
  let used = false;
  eachConsumer(operation, true, (consumer) => {
    used ||= !isUnusedRead(consumer);
  });
  return used;
}

function buildGroups(
  pairs: readonly GradientPair[],
  members: Closure['members'],
  partition: Partition,
  uses: VariableUses,
): readonly UpdateGroup[] {
  const byRoot = new Map<Operation, { pairs: GradientPair[]; members: Operation[] }>();
  for (const pair of pairs) {
    const root = partition.find(pair.update);
    const group = byRoot.get(root);
    if (group === undefined) byRoot.set(root, { pairs: [pair], members: [] });
    else group.pairs.push(pair);
  }
  for (const member of members) byRoot.get(partition.find(member))?.members.push(member);
  return [...byRoot.values()].map((group) => makeGroup(group.pairs, group.members, members, uses));
}

/** A group, or a part of one: these of all members of C. */
export function makeGroup(
  pairs: readonly GradientPair[],
  own: readonly Operation[],
  members: Closure['members'],
  uses: VariableUses,
): UpdateGroup {
  const sorted = [...own].sort((a, b) => a.id - b.id);
  return {
    pairs,
    members: sorted,
    last: lastOf(sorted, members, uses),
    waiting: waitingFor(sorted, members),
    fetched: sorted.filter((member) => uses.mutatedBy(member).length > 0 && !isUsed(member)),
  };
}

function waitingFor(group: readonly Operation[], members: Closure['members']): readonly Operation[] {
  const waiting = new Set<Operation>();
  for (const member of group) {
    for (const consumer of member.controlConsumers) if (!members.has(consumer)) waiting.add(consumer);
  }
  return [...waiting].sort((a, b) => a.id - b.id);
}

/** Changes of state, and what something outside waits for, that no other of these comes after. */
function lastOf(
  group: readonly Operation[],
  members: Closure['members'],
  uses: VariableUses,
): readonly Operation[] {
  const ends = group.filter(
    (member) => uses.mutatedBy(member).length > 0 || !outsideConsumers(member, members).next().done,
  );
  const covered = new Set<Operation>();
  const cover = (operation: Operation): void => {
    if (members.has(operation)) covered.add(operation);
  };
  for (const end of ends) eachProducer(end, true, cover);
  for (const operation of covered) eachProducer(operation, true, cover);
  return ends.filter((end) => !covered.has(end));
}
