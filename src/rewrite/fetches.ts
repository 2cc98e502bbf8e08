/**
 * Fetches after rewriting. Names map to themselves unless said otherwise here: an update that is itself what the program fetches stands for
 * the end of the round. What would eat a round or wait for ever if it were fetched alone is listed with the reason.
 */
import { GradsyncError } from '../errors.js';
import type { Graph } from '../graph/graph.js';
import type { Operation } from '../graph/operation.js';
import type { Variable } from '../graph/training-graph.js';
import { membersOf } from './asynchronous.js';
import type { Closure } from './closure.js';
import type { Exchange } from './collective.js';
import type { Finish } from './finish.js';
import type { Aggregation } from './parameter-server.js';
import type { Draft, RewriteContext } from './pass.js';
import type { FetchPlan } from './plan.js';
import type { Publication } from './publish.js';
import { ownChanges, replicaFetches } from './replica-fetches.js';
import type { Replicas } from './replicate.js';
import type { UpdateGroup } from './update-groups.js';
import type { VariableUses } from './variable-uses.js';
import { descendants, eachConsumer, type Marks } from './walk.js';

export interface FetchInput {
  readonly closure: Closure;
  readonly aggregations: readonly Aggregation[];
  readonly finishes: readonly Finish[];
  /** Groups that every task updates by itself. */
  readonly independent: readonly UpdateGroup[];
  /** Those of them that all tasks update with the same aggregates. */
  readonly replicated: readonly UpdateGroup[];
  readonly exchanged: Exchange;
  readonly publications: readonly Publication[];
  readonly uses: VariableUses;
  readonly replicas: Replicas;
}

export interface Fetches {
  readonly fetches: Readonly<Record<string, FetchPlan>>;
  readonly notFetchable: Readonly<Record<string, string>>;
  /** Names of the operations that only the chief's step runs, sorted. */
  readonly chiefOnly: readonly string[];
}

export const TOGETHER =
  'takes part in the exchange between tasks: fetch it only together with the training operation';
const CHIEF_ONLY =
  "lies between the aggregated gradients and the end of the update: only the chief's step runs it";
const BESIDE = 'takes part in the exchange that every task runs in the background: no step may run it';
const BACKGROUND = 'takes part in rounds that the chief runs in the background: no step may run it';
const CHIEF_WRITES = 'writes a variable that all tasks share: only the chief may run it';

export function planFetches(draft: Draft, context: RewriteContext, input: FetchInput): Fetches {
  const replicated = replicaFetches(input.replicas);
  const changes = ownChanges(input.replicas);
  if (context.taskCount === 1) {
    const fetches = sorted(Object.entries({ ...replicated, ...changes }));
    return { fetches, notFetchable: {}, chiefOnly: [] };
  }
  const reasons = new Map<Operation, string>();
  const closed = chiefOnly(input);
  for (const operation of closed) reasons.set(operation, context.isChief ? TOGETHER : CHIEF_ONLY);
  const background = inBackground(input);
  if (context.isChief) for (const operation of background) reasons.set(operation, BACKGROUND);
  for (const { members } of input.replicated) for (const member of members) reasons.set(member, TOGETHER);
  for (const { operations } of [input.exchanged, ...input.publications]) {
    for (const operation of operations) reasons.set(operation, TOGETHER);
  }
  for (const { alone } of input.exchanged.background) for (const each of alone) reasons.set(each, BESIDE);
  for (const { apply } of input.aggregations) reasons.set(apply, TOGETHER);
  for (const { tokens } of input.finishes) for (const token of tokens) reasons.set(token, TOGETHER);
  for (const finish of input.finishes) for (const each of countsOf(finish)) reasons.set(each, TOGETHER);
  checkReach(draft.graph, context.isChief ? background : closed);
  if (!context.isChief) {
    for (const writer of chiefWrites(draft.graph, input))
      reasons.set(writer, reasons.get(writer) ?? CHIEF_WRITES);
  }
  for (const { fetched } of input.replicated) for (const update of fetched) reasons.delete(update);
  const fetches = {
    ...replicated,
    ...steps(input.finishes, input.independent),
    ...(input.exchanged.background.length > 0 ? whole(input.replicated) : {}),
    ...replaced(context, input.finishes, reasons),
    ...changes,
  };
  return {
    fetches: sorted(Object.entries(fetches)),
    notFetchable: sorted(named(reasons)),
    chiefOnly: [...new Set([...closed, ...background])].map(({ name }) => name).sort(),
  };
}

function chiefOnly({ closure, aggregations, independent }: FetchInput): ReadonlySet<Operation> {
  const own = membersOf(independent);
  const closed = new Set([...closure.members].filter((member) => !own.has(member)));
  for (const { chiefOnly: taken } of aggregations) for (const operation of taken) closed.add(operation);
  return closed;
}

/** What is run in the background on the chief. */
function inBackground({ aggregations, finishes }: FetchInput): ReadonlySet<Operation> {
  const found = new Set<Operation>();
  for (const { group, background } of finishes) {
    if (background === undefined) continue;
    for (const member of [...group.members, ...background.alone]) found.add(member);
    for (const { pair, chiefOnly: taken } of aggregations) {
      if (group.pairs.includes(pair)) for (const operation of taken) found.add(operation);
    }
  }
  return found;
}

/** What counts a step as a contribution. */
function countsOf({ background }: Finish): readonly Operation[] {
  return background === undefined ? [] : background.counts;
}

/** The rule that keeps steps from deadlock: nothing outside C depends on C. */
function checkReach(graph: Graph, closed: ReadonlySet<Operation>): void {
  const outside = [...descendants(graph, closed, { control: true })].find(
    (operation) => !closed.has(operation),
  );
  if (outside === undefined) return;
  throw new GradsyncError('UNIMPLEMENTED', `Operation "${outside.name}"`, {
    expected: 'the end of an update to be computed from averaged gradients, and from what all replicas share',
    received: 'an operation that each replica runs for itself, and that waits for the update',
    remedy: 'let every task compute on one device, or report this graph',
    operation: outside.name,
  });
}

/** What changes a shared variable outside C (restores, assignments of the program), and all that runs it. */
function chiefWrites(graph: Graph, { closure, uses }: FetchInput): Marks {
  const writers: Operation[] = [];
  const add = (variable: Variable): void => {
    for (const mutator of uses.mutatorsOf(variable)) if (!closure.members.has(mutator)) writers.push(mutator);
  };
  for (const variable of closure.shared) add(variable);
  return descendants(graph, writers, { control: true });
}

/** Under which names a step that ends a round of this group is fetched. */
export function trainsOf(finish: Finish): readonly string[] {
  const updates = finish.group.fetched.map(({ name }) => name);
  return [...new Set([...Object.keys(steps([finish], [])), ...updates])].sort();
}

/** The program's training operations: what waits for the end of a round, and for what nobody waits. */
function steps(finishes: readonly Finish[], independent: readonly UpdateGroup[]): Record<string, FetchPlan> {
  const found: Record<string, FetchPlan> = {};
  for (const { fetched } of independent) {
    for (const { name } of fetched) found[name] = { operations: [name] };
  }
  const queue = new Set<Operation>(finishes.map(({ operation }) => operation));
  const ends = queue.size;
  for (const { waiting } of independent) for (const operation of waiting) queue.add(operation);
  let visited = 0;
  for (const operation of queue) {
    let isLast = visited++ >= ends;
    eachConsumer(operation, true, (consumer) => {
      isLast = false;
      queue.add(consumer);
    });
    if (isLast && isStep(operation)) found[operation.name] = { operations: [operation.name] };
  }
  return found;
}

/** One exchange hands over all gradients of a group: whichever of its updates is fetched, all are run. */
function whole(replicated: readonly UpdateGroup[]): Record<string, FetchPlan> {
  const found: Record<string, FetchPlan> = {};
  for (const { fetched, last } of replicated) {
    const operations = last.map(({ name }) => name);
    for (const { name } of fetched) found[name] = { operations };
  }
  return found;
}

function isStep({ type }: Operation): boolean {
  return type === 'NoOp' || type.startsWith('Assign');
}

/** Updates that the program fetches itself stand for the end of their round. */
function replaced(
  { isChief }: RewriteContext,
  finishes: readonly Finish[],
  reasons: Map<Operation, string>,
): Record<string, FetchPlan> {
  const found: Record<string, FetchPlan> = {};
  for (const { group, operation } of finishes) {
    for (const update of group.fetched) {
      const runsUpdate = isChief && group.background === undefined;
      found[update.name] = { operations: runsUpdate ? [update.name, operation.name] : [operation.name] };
      reasons.delete(update);
    }
  }
  return found;
}

function named(reasons: ReadonlyMap<Operation, string>): [string, string][] {
  return [...reasons].map(([operation, reason]) => [operation.name, reason]);
}

function sorted<T>(entries: readonly (readonly [string, T])[]): Record<string, T> {
  return Object.fromEntries([...entries].sort(([a], [b]) => (a < b ? -1 : 1)));
}
