/**
 * Divides the closure C by who runs it: once per round, on the chief, for variables that live on servers; by every task for itself, for
 * variables of which each has a copy. Where one optimizer has both sorts, what a task's own part takes from the chief's is published.
 */
import { GradsyncError } from '../errors.js';
import type { Graph } from '../graph/graph.js';
import { isGroup } from '../graph/op-catalog.js';
import type { Operation, Tensor } from '../graph/operation.js';
import type { GradientPair, Variable } from '../graph/training-graph.js';
import type { Closure } from './closure.js';
import { gradientTensors } from './gradient-region.js';
import { isCollective, type RunContext } from './pass.js';
import { makeGroup, type UpdateGroup } from './update-groups.js';
import type { VariableUses } from './variable-uses.js';
import { descendants, eachConsumer, type Marks } from './walk.js';

export interface Division {
  /** Groups, and parts of groups, of variables on servers. */
  readonly onServers: readonly UpdateGroup[];
  /** The same of variables of which every task has a copy. */
  readonly replicated: readonly UpdateGroup[];
  /** What C changes and every task has a copy of: variables and their optimizers' state. */
  readonly copies: ReadonlySet<Variable>;
  /** For each group that has both sorts, what its own part takes from the chief's. */
  readonly published: readonly Published[];
}

export interface Published {
  /** The part on servers. */
  readonly group: UpdateGroup;
  /** May be none. */
  readonly tensors: readonly Tensor[];
}

export interface DivideInput {
  readonly groups: readonly UpdateGroup[];
  readonly closure: Closure;
  readonly uses: VariableUses;
}

export function divide(graph: Graph, run: RunContext, input: DivideInput): Division {
  const { groups, closure, uses } = input;
  const parts = groups.map((group) => {
    const own = group.pairs.filter((pair) => isCollective(pair, run));
    if (own.length === 0) return { onServers: group };
    if (own.length === group.pairs.length) return { replicated: group };
    return splitGroup(graph, group, own, input);
  });
  const replicated = parts.flatMap((part) => part.replicated ?? []);
  const onServers = parts.flatMap((part) => part.onServers ?? []);
  const copies = new Set(
    [...closure.shared].filter((variable) => changes(replicated, variable, uses) !== undefined),
  );
  for (const variable of copies) {
    const other = changes(onServers, variable, uses);
    if (other !== undefined) throw changedByBoth(other, variable);
  }
  return { onServers, replicated, copies, published: parts.flatMap(({ published }) => published ?? []) };
}

/** The first operation of these groups that changes a variable. */
function changes(
  groups: readonly UpdateGroup[],
  variable: Variable,
  uses: VariableUses,
): Operation | undefined {
  const mutators = new Set(uses.mutatorsOf(variable));
  for (const { members } of groups) {
    const found = members.find((member) => mutators.has(member));
    if (found !== undefined) return found;
  }
  return undefined;
}

interface Parts {
  readonly onServers?: UpdateGroup;
  readonly replicated?: UpdateGroup;
  readonly published?: readonly Published[];
}

function splitGroup(
  graph: Graph,
  group: UpdateGroup,
  collective: readonly GradientPair[],
  { closure, uses }: DivideInput,
): Parts {
  const own = new OwnPart(graph, group, collective, { closure, uses }).find();
  const part = (pairs: readonly GradientPair[], members: readonly Operation[]): UpdateGroup =>
    makeGroup(pairs, members, closure.members, uses);
  const chiefs = part(
    group.pairs.filter((pair) => !collective.includes(pair)),
    group.members.filter((member) => !own.has(member)),
  );
  // What waits for an own member may do so for the chief's before it.
  const onServers = { ...chiefs, waiting: group.waiting };
  return {
    onServers,
    replicated: part(
      collective,
      group.members.filter((member) => own.has(member)),
    ),
    published: [{ group: onServers, tensors: taken(group, own) }],
  };
}

/** What own members take of others, each tensor once. */
function taken(group: UpdateGroup, own: ReadonlySet<Operation>): readonly Tensor[] {
  const members = new Set(group.members);
  const tensors = group.members
    .filter((member) => own.has(member))
    .flatMap((member) => member.inputs.filter(({ operation: by }) => members.has(by) && !own.has(by)));
  return [...new Set(tensors)];
}

/**
 * The members of a group that every task runs for itself: what changes the copies, and all this takes that is not computed from the
 * aggregates of servers alone. A norm over gradients of both sorts is computed by every task, from sums of which it is sent some.
 */
class OwnPart {
  readonly #members: ReadonlySet<Operation>;
  readonly #trained: ReadonlySet<Variable>;
  readonly #held: ReadonlySet<Variable>;
  readonly #fromCollectives: Marks;
  readonly #fromServers: Marks;
  readonly #roots: ReadonlySet<Operation>;
  readonly #closure: Closure;
  readonly #uses: VariableUses;
  readonly #own = new Set<Operation>();
  /** Own members, and what they take from outside C. */
  readonly #walked = new Set<Operation>();
  readonly #state = new Set<Variable>();

  constructor(
    graph: Graph,
    group: UpdateGroup,
    collective: readonly GradientPair[],
    { closure, uses }: Omit<DivideInput, 'groups'>,
  ) {
    const servers = group.pairs.filter((pair) => !collective.includes(pair));
    this.#members = new Set(group.members);
    this.#closure = closure;
    this.#uses = uses;
    this.#trained = new Set(group.pairs.map(({ variable }) => variable));
    this.#held = new Set(servers.map(({ variable }) => variable));
    this.#roots = new Set(group.pairs.flatMap(rootsOf));
    const below = (pairs: readonly GradientPair[]): Marks => {
      const starts = new Set<Operation>();
      for (const root of pairs.flatMap(rootsOf)) eachConsumer(root, false, (each) => starts.add(each));
      return descendants(graph, starts, { enter: (each) => this.#members.has(each) });
    };
    this.#fromCollectives = below(collective);
    this.#fromServers = below(servers);
    for (const { variable } of collective) this.#addChangesOf(variable);
    for (const member of this.#fromCollectives) if (!this.#fromServers.has(member)) this.#add(member);
  }

  find(): ReadonlySet<Operation> {
    for (const operation of this.#walked) {
      for (const { operation: producer } of operation.inputs) this.#visit(producer);
      for (const producer of operation.controlInputs) if (this.#isWaitedFor(producer)) this.#add(producer);
      for (const tensor of operation.inputs) this.#addState(this.#uses.variableOf(tensor));
      for (const variable of this.#uses.mutatedBy(operation)) this.#addState(variable);
    }
    return this.#own;
  }

  #visit(producer: Operation): void {
    if (this.#members.has(producer)) this.#add(producer);
    else if (!this.#roots.has(producer)) this.#walked.add(producer);
  }

  /** State that an own member reads is every task's own. */
  #addState(variable: Variable | undefined): void {
    if (variable === undefined || this.#trained.has(variable) || this.#state.has(variable)) return;
    if (!this.#closure.shared.has(variable)) return;
    this.#state.add(variable);
    this.#addChangesOf(variable);
  }

  #addChangesOf(variable: Variable): void {
    for (const mutator of this.#uses.mutatorsOf(variable)) {
      if (!this.#members.has(mutator)) continue;
      if (this.#touchesHeld(mutator)) throw changedByBoth(mutator, variable);
      this.#own.add(mutator);
      this.#walked.add(mutator);
    }
  }

  #add(operation: Operation): void {
    if (!this.#members.has(operation) || this.#own.has(operation) || this.#isServers(operation)) return;
    this.#own.add(operation);
    this.#walked.add(operation);
  }

  /** What own members wait for is not theirs by that alone: it may belong to an update that they come after. */
  #isWaitedFor(operation: Operation): boolean {
    if (isGroup(operation.type)) return true;
    const touched = [
      ...operation.inputs.flatMap((tensor) => this.#uses.variableOf(tensor) ?? []),
      ...this.#uses.mutatedBy(operation),
    ];
    return this.#fromCollectives.has(operation) && touched.length === 0;
  }

  /** Whether the chief must run it: it is computed from the aggregates of servers alone, or reads or changes what is on one. */
  #isServers(operation: Operation): boolean {
    if (this.#fromServers.has(operation) && !this.#fromCollectives.has(operation)) return true;
    return this.#touchesHeld(operation);
  }

  #touchesHeld(operation: Operation): boolean {
    const read = operation.inputs.map((tensor) => this.#uses.variableOf(tensor));
    return [...read, ...this.#uses.mutatedBy(operation)].some(
      (variable) => variable !== undefined && this.#held.has(variable),
    );
  }
}

function rootsOf(pair: GradientPair): readonly Operation[] {
  return gradientTensors(pair).map(({ operation }) => operation);
}

/** Removes, on a task that is not the chief, what makes own operations wait for the chief's. */
export function dropWaits(graph: Graph, { onServers, replicated }: Division): void {
  const chiefs = new Set(onServers.flatMap(({ members }) => members));
  for (const { members } of replicated) {
    for (const member of members) {
      for (const control of [...member.controlInputs]) {
        if (chiefs.has(control)) graph.removeControlInput(member, control);
      }
    }
  }
}

function changedByBoth(operation: Operation, { name }: Variable): GradsyncError {
  return new GradsyncError('UNIMPLEMENTED', `Operation "${operation.name}"`, {
    expected: 'to change variables on servers, or variables of which every task has a copy',
    received: `one that works for a server and also changes "${name}", of which every task has a copy`,
    remedy: 'give all variables that it is concerned with plans of the same kind',
    operation: operation.name,
    variable: name,
  });
}
