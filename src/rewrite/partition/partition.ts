/**
 * The pass that splits variables: a program whose variables have plans with shards becomes one in which every shard is a variable of its own,
 * with its own gradient and update and a plan without shards. All other passes work on that program as on any.
 */
import { attr } from '../../graph/attributes.js';
import type { Graph } from '../../graph/graph.js';
import { printColocation } from '../../graph/name.js';
import type { Operation } from '../../graph/operation.js';
import { isFullyKnown } from '../../graph/shape.js';
import type { GradientPair, TrainingGraph, Variable } from '../../graph/training-graph.js';
import { colocationTargets } from '../../graph/verify.js';
import { sortPlans } from '../../strategy/codec.js';
import type { PartitionPlan, ResolvedStrategy, VariablePlan } from '../../strategy/strategy.js';
import { assignEdges, type GradientEdge } from '../gradient-region.js';
import type { Draft } from '../pass.js';
import { findVariableUses, type VariableUses } from '../variable-uses.js';
import { Checkpoints } from './checkpoints.js';
import { type Cut, makeCut } from './cut.js';
import { notSplittable } from './errors.js';
import { findMembers } from './members.js';
import { Shards } from './shards.js';
import { splitGradient } from './split-gradient.js';
import { Splitter } from './splitter.js';

/** A variable that was split. */
export interface SplitVariable {
  readonly axis: number;
  /** The variables that it has become, in order. */
  readonly shards: readonly Variable[];
}

export interface Partitioned {
  readonly training: TrainingGraph;
  /** Without partitions. */
  readonly strategy: ResolvedStrategy;
  /** By the names of the program, those of the optimizer's state among them. */
  readonly split: ReadonlyMap<string, SplitVariable>;
}

/**
 * @throws GradsyncError UNIMPLEMENTED naming the variable and the operation because of which it cannot be split.
 */
export function partition({ graph, training }: Draft, strategy: ResolvedStrategy): Partitioned {
  const plans = new Map(strategy.variables.map((plan) => [plan.variable, plan]));
  const wanted = training.pairs.flatMap((pair) => {
    const plan = plans.get(pair.variable.name)?.partition;
    return plan === undefined ? [] : [{ pair, plan }];
  });
  if (wanted.length === 0) return { training, strategy, split: new Map() };
  const uses = findVariableUses(training);
  const { edges, sharedRows } = assignEdges(graph, training.pairs, uses);
  const checkpoints = new Checkpoints(graph);
  const partitioning = new Partitioning(graph, training, uses, checkpoints);
  for (const { pair, plan } of wanted) {
    if (sharedRows.has(pair)) throw sharesRows(pair.variable);
    partitioning.split(pair, plan, edges.get(pair)!);
  }
  checkpoints.finish();
  dropLostGroups(graph);
  return partitioning.result(strategy);
}

class Partitioning {
  readonly #graph: Graph;
  readonly #training: TrainingGraph;
  readonly #uses: VariableUses;
  readonly #checkpoints: Checkpoints;
  readonly #taken: Set<Variable>;
  readonly #variables = new Map<Variable, SplitVariable>();
  readonly #pairs = new Map<GradientPair, readonly GradientPair[]>();

  constructor(graph: Graph, training: TrainingGraph, uses: VariableUses, checkpoints: Checkpoints) {
    this.#graph = graph;
    this.#training = training;
    this.#uses = uses;
    this.#checkpoints = checkpoints;
    this.#taken = new Set(training.pairs.map(({ variable }) => variable));
  }

  split(pair: GradientPair, plan: PartitionPlan, edges: readonly GradientEdge[]): void {
    const graph = this.#graph;
    const uses = this.#uses;
    const { variable } = pair;
    const cut = cutOf(variable, plan);
    const gradient = splitGradient(graph, cut, pair, edges);
    const input = { training: this.#training, uses, gradient: gradient.known, taken: this.#taken };
    const { members, kinds } = findMembers(cut, input);
    const shards = new Shards(graph, cut, { uses, kinds, members }, gradient.parts);
    new Splitter(shards, this.#checkpoints, gradient.joined).run();
    for (const member of members) {
      this.#taken.add(member);
      this.#variables.set(member, { axis: cut.axis, shards: shardsOf(member, shards) });
    }
    const updates = shards.copiesOf(pair.update)!;
    const pairs = this.#variables.get(variable)!.shards.map((shard, i) => ({
      variable: shard,
      gradient: gradient.gradients[i]!,
      update: updates[i]!,
      source: updates[i]!,
    }));
    this.#pairs.set(pair, pairs);
  }

  result(strategy: ResolvedStrategy): Partitioned {
    const { variables, pairs } = this.#training;
    const training = {
      ...this.#training,
      variables: variables.flatMap((variable) => this.#variables.get(variable)?.shards ?? [variable]),
      pairs: pairs.flatMap((pair) => this.#pairs.get(pair) ?? [pair]),
    };
    const split = new Map([...this.#variables].map(([{ name }, shards]) => [name, shards]));
    const plans = strategy.variables.flatMap((plan) => plansOf(plan, split.get(plan.variable)));
    return { training, strategy: { ...strategy, variables: sortPlans(plans) }, split };
  }
}

function cutOf(variable: Variable, { axis, shards }: PartitionPlan): Cut {
  const { shape } = variable;
  if (!isFullyKnown(shape)) throw notSplittable(variable, 'a fully known shape', 'one that is not');
  return makeCut(variable, shape, axis, shards.length);
}

function plansOf(plan: VariablePlan, split: SplitVariable | undefined): readonly VariablePlan[] {
  const { partition: whole } = plan;
  if (whole === undefined || split === undefined) return [plan];
  return split.shards.map(({ name }, shard) => ({ variable: name, synchronizer: whole.shards[shard]! }));
}

/** The variables that a variable has become. */
function shardsOf(member: Variable, shards: Shards): readonly Variable[] {
  const { cut } = shards;
  const copiesOf = (original: Operation | undefined) => original && shards.copiesOf(original);
  const initializers = copiesOf(member.initializer);
  const reads = member.reads.flatMap((read) => copiesOf(read) ?? []);
  return shards.handlesOf(member).map((handle, shard) => ({
    ...member,
    name: handle.name,
    handle,
    shape: cut.shape.with(cut.axis, cut.sizes[shard]!),
    initialValue: initializers?.[shard]?.inputs[1],
    initializer: initializers?.[shard],
    reads: reads.filter((_, i) => i % cut.sizes.length === shard),
  }));
}

/** Drops from colocation groups what is not in the graph any more. */
function dropLostGroups(graph: Graph): void {
  for (const operation of graph.operations()) {
    const targets = colocationTargets(operation);
    const kept = targets.filter((name) => graph.find(name) !== undefined);
    if (kept.length === targets.length) continue;
    const group = kept.map((name) => attr.string(printColocation(name)));
    graph.setAttributes(operation, { _class: group.length === 0 ? undefined : attr.list(group) });
  }
}

function sharesRows(variable: Variable) {
  const expected = 'row indices of its own on the way to its update';
  return notSplittable(variable, expected, 'an operation that reads them for several variables');
}
