/**
 * What every replica of a task does for itself: all whose value is fed or drawn, and the state that is changed by values of which every
 * replica has its own (moving averages of a batch). All else is there once: variables, what is computed from them alone, and whatever
 * changes a variable that is there once.
 */
import { byType } from '../graph/dependence.js';
import type { Graph } from '../graph/graph.js';
import {
  closesFrame,
  drawsValue,
  isCheckpointing,
  isConstant,
  isGroup,
  keepsState,
  opensLoop,
} from '../graph/op-catalog.js';
import type { Operation } from '../graph/operation.js';
import type { TrainingGraph, Variable } from '../graph/training-graph.js';
import type { Closure } from './closure.js';
import type { FeedSplits } from './feeds.js';
import type { VariableUses } from './variable-uses.js';
import { ancestors, descendants, eachConsumer, Marks } from './walk.js';

export interface ReplicatedInput {
  /** With all that the update changes, be it on a server or copied to every task. */
  readonly closure: Closure;
  /** The operations whose outputs are the gradients to aggregate: the last that could be a replica's own. */
  readonly roots: Marks;
  readonly uses: VariableUses;
  readonly splits: FeedSplits;
}

type Enter = (operation: Operation) => boolean;

/** The operations that replicas have copies of, in the order of the graph. */
export function findReplicated(
  graph: Graph,
  training: TrainingGraph,
  input: ReplicatedInput,
): readonly Operation[] {
  const { closure, roots, uses, splits } = input;
  const checkpoints = checkpointing(graph);
  const mayEnter: Enter = (operation) =>
    !roots.has(operation) && !closure.members.has(operation) && !checkpoints.has(operation);
  const mayDiffer: Enter = (operation) =>
    mayEnter(operation) && !uses.mutatedBy(operation).some((variable) => closure.shared.has(variable));
  const initial = ancestors(
    graph,
    training.variables.flatMap(({ initializer }) => initializer ?? []),
    { control: true },
  );
  const starts = [...sources(graph, splits)].filter((source) => mayEnter(source) && !initial.has(source));
  const differing = descendants(
    graph,
    starts.filter((start) => !isGivenWhole(start, splits)),
    { enter: (each) => mayDiffer(each) && !initial.has(each) },
  );
  const own = findOwnState(graph, training, input, mayDiffer, differing);
  const enter: Enter = (operation) =>
    mayEnter(operation) && uses.mutatedBy(operation).every((variable) => own.has(variable));
  const found = descendants(graph, starts, { enter: (each) => enter(each) && !initial.has(each) });
  const handles = [...own].map(({ handle }) => handle).filter((handle) => !found.has(handle));
  descendants(graph, handles, { enter, marks: found });
  addConstants(found, enter);
  addGroups(found, enter);
  return [...found].sort((a, b) => a.id - b.id);
}

/** Where values come from that differ between replicas; what keeps state during one step (arrays of a loop); and loops, which are copied whole. */
function* sources(graph: Graph, splits: FeedSplits): Iterable<Operation> {
  for (const [{ operation }, split] of splits) if (split !== null) yield operation;
  const frames: Operation[] = [];
  const isSource = byType(({ type }) => drawsValue(type) || keepsState(type));
  for (const operation of graph.operations()) {
    if (isSource(operation)) yield operation;
    if (opensLoop(operation.type)) frames.push(operation);
  }
  if (frames.length > 0) yield* inLoops(graph, frames);
}

/** All inside loops, what merely waits there included. */
function inLoops(graph: Graph, frames: readonly Operation[]): Marks {
  const inside = new Marks(graph);
  for (const frame of frames) inside.add(frame);
  for (let i = 0, operation = inside.at(0); operation !== undefined; operation = inside.at(++i)) {
    if (!closesFrame(operation.type)) eachConsumer(operation, true, (consumer) => inside.add(consumer));
  }
  return inside;
}

/** Whether all replicas are fed the same here: their output has a rule, and that is not to split it. */
function isGivenWhole(source: Operation, splits: FeedSplits): boolean {
  return source.outputs.some((output) => output !== undefined && splits.get(output) === null);
}

/**
 * Variables that replicas would each change with a value of their own: each replica has its own, with all that reads and initializes them.
 * None that the update changes is among them, nor one that a step changes with what replicas share, whatever else the program can do to it
 * between two steps. What differs then is added to `differing`.
 */
function findOwnState(
  graph: Graph,
  { variables }: TrainingGraph,
  { closure, uses }: ReplicatedInput,
  enter: Enter,
  differing: Marks,
): ReadonlySet<Variable> {
  const before = ancestors(graph, closure.members, { control: true });
  const after = descendants(graph, closure.members, { control: true });
  const isInStep: Enter = (operation) => before.has(operation) || after.has(operation);
  const isOwn = (variable: Variable): boolean => {
    if (closure.shared.has(variable)) return false;
    const mutators = uses.mutatorsOf(variable);
    const inStep = mutators.filter(isInStep);
    return (inStep.length > 0 ? inStep : mutators).some((mutator) => differing.has(mutator));
  };
  const own = new Set<Variable>();
  for (let size = -1; size !== own.size; ) {
    size = own.size;
    for (const variable of variables) if (isOwn(variable)) own.add(variable);
    const handles = [...own].map(({ handle }) => handle).filter((handle) => !differing.has(handle));
    descendants(graph, handles, { enter, marks: differing });
  }
  return own;
}

/** A constant is copied with what takes it: to read one from another device would cost a transfer in every step. */
function addConstants(found: Marks, enter: (operation: Operation) => boolean): void {
  for (const operation of [...found]) {
    for (const { operation: producer } of operation.inputs) {
      if (isConstant(producer.type) && enter(producer)) found.add(producer);
    }
  }
}

/** What only gathers control dependencies among copied operations is copied, or every replica would wait there for all others. */
function addGroups(found: Marks, enter: (operation: Operation) => boolean): void {
  const gathers = (operation: Operation): boolean =>
    isGroup(operation.type) &&
    operation.inputs.length === 0 &&
    enter(operation) &&
    operation.controlInputs.some((control) => found.has(control) || gathers(control));
  for (let i = 0, operation = found.at(0); operation !== undefined; operation = found.at(++i)) {
    for (const control of operation.controlInputs)
      if (!found.has(control) && gathers(control)) found.add(control);
  }
}

/** What writes or reads checkpoints, and their file names: the first replica's values are saved. */
function checkpointing(graph: Graph): Marks {
  const found = new Marks(graph);
  const names: Operation[] = [];
  for (const operation of graph.operations()) {
    if (!isCheckpointing(operation.type)) continue;
    found.add(operation);
    const prefix = operation.inputs[0]?.operation;
    if (prefix !== undefined) names.push(prefix);
  }
  for (const name of ancestors(graph, names)) found.add(name);
  return found;
}
