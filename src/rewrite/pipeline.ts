/**
 * The passes of a rewriting, in order, on three levels: what is the same for all tasks is done once; what is the same for all tasks of a
 * kind, once for the kind; the rest for each task. Each pass edits the one draft, and what it edited is verified.
 */
import type { Graph } from '../graph/graph.js';
import { KnownOrder } from '../graph/known-order.js';
import type { Operation, Tensor } from '../graph/operation.js';
import type { GradientPair, Variable } from '../graph/training-graph.js';
import { verifyEdits, verifyGraph } from '../graph/verify.js';
import type { ResolvedStrategy } from '../strategy/strategy.js';
import { aggregateReplicas } from './aggregate-replicas.js';
import { lockUpdates, membersOf, updateDirectly } from './asynchronous.js';
import { closeQueues } from './background-rounds.js';
import { checkAgreement } from './check-agreement.js';
import { type Closure, findClosure } from './closure.js';
import { type Exchange, exchange } from './collective.js';
import { findGrouped, pruneColocation } from './colocation.js';
import { nameDevices } from './devices.js';
import { type Division, divide } from './divide.js';
import type { FeedOverride } from './feeds.js';
import { type FeedInput, type FeedSplits, findSplits, planFeeds } from './feeds.js';
import { planFetches } from './fetches.js';
import { addFinish, type Finish } from './finish.js';
import { insertGradientEdges } from './gradient-edge.js';
import { gradientTensors } from './gradient-region.js';
import { initialize, moveToContainer } from './initialize.js';
import { checkLateReads } from './late-reads.js';
import { findLookups, type Lookup, lookUpOnce, lookupsAway } from './lookups.js';
import { makePlan, type PlanParts } from './make-plan.js';
import { findSeeded, offsetSeed } from './offset-seeds.js';
import { type Aggregation, aggregate } from './parameter-server.js';
import { type Partitioned, partition } from './partition/partition.js';
import {
  type Draft,
  isCollective,
  type PassLog,
  type RewriteContext,
  type RunContext,
  type TaskContext,
} from './pass.js';
import { type Placement, place } from './place.js';
import type { Plan } from './plan.js';
import { addProxies, findProxyCandidates, type ProxyCandidate } from './proxies.js';
import { ownPublication, type Publication, publish } from './publish.js';
import { type Replicas, replicate, single } from './replicate.js';
import { findReplicated } from './replicated.js';
import { callRoll, ownRoll } from './roll-call.js';
import { ownFiles, saveResiduals } from './save-residuals.js';
import { findServers } from './servers.js';
import { bySynchrony, type RoundGroup } from './synchrony.js';
import { ownTokenQueue } from './tokens.js';
import { findUpdateGroups, type UpdateGroup } from './update-groups.js';
import { findVariableUses, type VariableUses } from './variable-uses.js';
import { descendants, Marks } from './walk.js';
import { type Attendance, findAttendance } from './without-data.js';

/** What is known once the draft is prepared for whichever task. */
export interface Shared {
  readonly pairs: readonly GradientPair[];
  /** Those whose variables live on servers. */
  readonly onServers: readonly GradientPair[];
  readonly sharedRows: ReadonlySet<GradientPair>;
  readonly closure: Closure;
  /** Groups whose updates wait for the gradients of all tasks. */
  readonly groups: readonly RoundGroup[];
  /** Groups that every task updates by itself: asynchronous ones, and those of variables of which it has copies. */
  readonly independent: readonly UpdateGroup[];
  readonly division: Division;
  readonly placement: Placement;
  /** Where tasks may run out of data while others go on. */
  readonly attendance: Attendance | undefined;
  /** Random operations whose seeds each replica offsets. */
  readonly seeded: readonly Operation[];
  /** How what is fed is shared out over the replicas. */
  readonly splits: FeedSplits;
  /** What replicas have copies of, where a task has several. */
  readonly replicated: readonly Operation[];
  readonly uses: VariableUses;
  /** An order in which the graph can run. */
  readonly order: KnownOrder;
}

/** What is known once the draft is prepared for any task of a kind. */
export interface Prepared extends Omit<PlanParts, 'proxies'> {
  readonly aggregations: readonly Aggregation[];
  readonly publications: readonly Publication[];
  /** Variables of which a task has a proxy unless it is their server. */
  readonly proxied: readonly ProxyCandidate[];
  /** Lookups of rows of shared variables. */
  readonly lookups: readonly Lookup[];
  readonly replicas: Replicas;
}

/**
 * The draft with every shard a variable of its own, and a strategy for these: the program that all other passes work on. The whole graph is
 * verified before one is split.
 */
export function splitVariables(draft: Draft, strategy: ResolvedStrategy, log: PassLog): Partitioned {
  if (strategy.variables.every((plan) => plan.partition === undefined)) return partition(draft, strategy);
  verifyGraph(draft.graph);
  return new Passes(draft, { log }).pass('partition', () => partition(draft, strategy));
}

/** Prepares the draft for whichever task. The whole graph is verified here: afterwards only what a pass has touched can be wrong. */
export function prepareDraft(
  draft: Draft,
  run: RunContext,
  feedOverrides: ReadonlyMap<string, FeedOverride>,
): Shared {
  const { graph, training } = draft;
  const uses = findVariableUses(training);
  const before = graph.size;
  const { pairs, sharedRows } = insertGradientEdges(draft, uses);
  const sorted = verifyGraph(graph);
  run.log.add({ pass: 'gradient-edge', before, after: graph.size });
  const whole = findClosure(graph, pairs, uses);
  const roots = rootsOf(graph, pairs);
  const order = KnownOrder.of(graph, sorted, afterGradients(graph, roots));
  const found = { groups: findUpdateGroups(graph, pairs, whole, uses), closure: whole, uses };
  const division = divide(graph, run, found);
  const { rounds, asynchronous } = bySynchrony(division, run);
  const independent = [...asynchronous, ...division.replicated];
  const onServers = pairs.filter((pair) => !isCollective(pair, run));
  if (run.taskCount > 1) {
    const { replicated } = division;
    checkAgreement({ graph, training, order: sorted, closure: whole, roots, uses, rounds, replicated });
    checkLateReads(graph, onServers, whole, uses);
  }
  const closure = { ...whole, shared: heldOf(whole.shared, division.copies) };
  const servers = findServers(graph, run, { pairs: onServers, closure, uses });
  const grouped = findGrouped(graph);
  const seeded = findSeeded(draft);
  const splits = findSplits(graph, uses, feedOverrides);

  const { pass } = new Passes(draft, run);
  const placement = pass('place', () =>
    place(draft, run, { pairs, closure, uses, servers, grouped, own: membersOf(independent) }),
  );
  pass('colocation', () => pruneColocation(graph, grouped));
  pass('container', () => moveToContainer(graph, closure.shared, run.digest));
  const hasReplicas = run.strategy.replicas.length > run.taskCount;
  const replicated = hasReplicas
    ? findReplicated(graph, training, { closure: whole, roots, uses, splits })
    : [];
  if (asynchronous.length > 0) {
    pass('asynchronous', () => updateDirectly(draft, { asynchronous, closure, uses }));
  }
  if (rounds.some(({ background }) => background !== undefined))
    pass('background', () => {
      for (const { background, members } of rounds) if (background !== undefined) lockUpdates(graph, members);
    });
  const groups = { groups: rounds, independent, division };
  const attendance = run.joins ? findAttendance(graph, whole, roots, asynchronous) : undefined;
  const prepared = { pairs, sharedRows, closure, ...groups, seeded, splits, replicated };
  return { ...prepared, onServers, placement, attendance, uses, order };
}

function heldOf(shared: ReadonlySet<Variable>, copies: ReadonlySet<Variable>): ReadonlySet<Variable> {
  return new Set([...shared].filter((variable) => !copies.has(variable)));
}

/** The operations that hand the gradients on. */
function rootsOf(graph: Graph, pairs: readonly GradientPair[]): Marks {
  const roots = new Marks(graph);
  for (const pair of pairs) for (const { operation } of gradientTensors(pair)) roots.add(operation);
  return roots;
}

/** Aggregation puts new edges between gradients and what comes after them. */
function afterGradients(graph: Graph, roots: Marks): (operation: Operation) => boolean {
  const below = descendants(graph, roots, { control: true });
  return (operation) => below.has(operation) && !roots.has(operation);
}

/** Prepares the draft further, for any task of the context's kind. */
export function prepareKind(draft: Draft, context: RewriteContext, shared: Shared): Prepared {
  const { graph } = draft;
  const { closure, groups, independent, division, placement, sharedRows } = shared;
  const passes = new Passes(draft, context);
  const { pass } = passes;
  const replicas =
    context.devices.replicas.length === 1
      ? single(draft.training)
      : pass('replicate', () => replicate(draft, context, shared.replicated));
  const { training, originals } = replicas;
  const own = { graph, training };
  const uses = replicas.count === 1 ? shared.uses : findVariableUses(training);
  if (context.isChief) nameDevices(graph, context.devices.replicas);
  if (replicas.count > 1) pass('replicas', () => aggregateReplicas(draft, context, shared.pairs, replicas));
  const aggregations = pass('parameter-server', () =>
    aggregate(own, context, { ...shared, pairs: shared.onServers, uses }),
  );
  const { replicated, copies } = division;
  const exchanged =
    replicated.length === 0
      ? NOTHING_EXCHANGED
      : pass('collective', () => exchange(own, context, { replicated, sharedRows, closure, uses }));
  const finishes = pass('finish', () => addFinish(own, context, { groups, aggregations, closure, uses }));
  const publications =
    division.published.length === 0
      ? []
      : pass('publish', () => publish(own, context, { division, finishes }));
  const { residuals: kept } = exchanged;
  const variables = [...training.variables, ...kept.map(({ variable }) => variable)];
  const begun = { graph, training: { ...training, variables } };
  const start = pass('initialize', () =>
    initialize(begun, context, { shared: closure.shared, copies, uses, originals, finishes }),
  );
  const residualFiles =
    kept.length > 0 ? pass('residuals', () => saveResiduals(own, context, kept)) : undefined;
  const queues = queuesOf(finishes, exchanged);
  const close = queues.length > 0 ? [pass('close', () => closeQueues(own, context, queues))] : [];
  const meets = groups.length + replicated.length > 0;
  const roll = context.rollCall && pass('roll-call', () => callRoll(own, context, meets));
  // A cycle can close far from an edit: this is asked of all edits together.
  shared.order.withCopies(graph, replicas.replicated, replicas.of).verify(graph, passes.edited);
  const feeds = planFeeds(shared.splits, { alike: alikeOf(draft, context, shared), replicas });
  const results = { aggregations, exchanged, publications, finishes, residualFiles, close, roll };
  const fetches = planFetches(own, context, {
    ...results,
    closure,
    independent,
    replicated,
    uses,
    replicas,
  });
  const { pairs, attendance } = shared;
  const reads = findReads(own, context, shared, finishes, uses);
  return { ...reads, training, start, feeds, ...fetches, pairs, ...results, placement, attendance, replicas };
}

/** What a task reads of variables on other tasks, where it may be done with less. With one task there are none. */
function findReads(
  { graph, training }: Draft,
  context: RewriteContext,
  { onServers, closure, placement: { servers } }: Shared,
  finishes: readonly Finish[],
  uses: VariableUses,
): Pick<Prepared, 'proxied' | 'lookups'> {
  if (context.taskCount === 1) return { proxied: [], lookups: [] };
  const proxied = findProxyCandidates(graph, context, { pairs: onServers, training, closure, finishes });
  return { proxied, lookups: findLookups(graph, { servers, closure, uses }) };
}

/** The queues between steps and what is run in the background. */
function queuesOf(finishes: readonly Finish[], exchanged: Exchange): readonly Tensor[] {
  return [
    ...finishes.flatMap(({ background }) => background?.queues ?? []),
    ...exchanged.background.flatMap(({ queues }) => queues),
  ];
}

/** Tasks that do not wait for each other have no step in common, in which they could be fed alike. */
function alikeOf(
  { training }: Draft,
  { taskCount }: RewriteContext,
  { groups, division }: Shared,
): FeedInput['alike'] {
  const meets = taskCount > 1 && groups.length + division.replicated.length > 0;
  return meets ? training.alike : [];
}

/** Turns the prepared draft into the graph of one task: gives devices, queues and seeds that are its own. */
export function runTask(draft: Draft, context: TaskContext, shared: Shared, prepared: Prepared): Plan {
  const { graph } = draft;
  const { task, replicas, firstReplica } = context;
  const { pass } = new Passes(draft, context);
  pass('task', () => {
    nameDevices(graph, replicas);
    for (const { apply, queues } of prepared.aggregations) {
      const own = queues?.[task];
      if (own !== undefined && own !== apply.inputs[0]) graph.setInput(apply, 0, own);
    }
    for (const { number, tokens } of context.isChief ? [] : prepared.finishes) {
      ownTokenQueue(graph, tokens[0]!, number, task);
    }
    if (!context.isChief) for (const each of prepared.publications) ownPublication(graph, each, task);
    if (prepared.roll !== undefined) ownRoll(graph, prepared.roll, task);
    if (prepared.residualFiles !== undefined) ownFiles(graph, prepared.residualFiles, task);
    for (const operation of shared.seeded) {
      for (const [i, copy] of prepared.replicas.of(operation).entries())
        offsetSeed(draft, copy, firstReplica + i);
    }
  });
  const { proxied } = prepared;
  const proxies =
    proxied.length === 0 ? NO_PROXIES : pass('proxy', () => addProxies(graph, context, proxied));
  const away = lookupsAway(context, prepared.lookups);
  if (away.length > 0) pass('lookup', () => lookUpOnce(graph, context, away));
  return makePlan(context, { ...prepared, proxies });
}

const NOTHING_EXCHANGED: Exchange = {
  pairs: [],
  operations: [],
  background: [],
  sent: [],
  residuals: [],
  nothing: [],
};
const NO_PROXIES = { initializer: undefined, refreshes: [] };

/** Runs passes by name: verifies what each edited, and logs it. */
class Passes {
  /** What they edited so far. */
  readonly edited: Operation[] = [];
  readonly #graph: Graph;
  readonly #log: PassLog;

  constructor({ graph }: Draft, { log }: Pick<RunContext, 'log'>) {
    this.#graph = graph;
    this.#log = log;
    graph.takeEdited();
  }

  readonly pass = <T>(name: string, run: () => T): T => {
    const before = this.#graph.size;
    const result = run();
    for (const operation of verifyEdits(this.#graph)) this.edited.push(operation);
    this.#log.add({ pass: name, before, after: this.#graph.size });
    return result;
  };
}
