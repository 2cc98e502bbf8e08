/**
 * What every replica of a task does for itself: all whose value its share of the data, or what it draws, decides, and the state that such
 * values change (moving averages of a batch). All else, variables and what is computed from them alone, is there once.
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
import type { TrainingGraph } from '../graph/training-graph.js';
import type { Closure } from './closure.js';
import type { VariableUses } from './variable-uses.js';
import { ancestors, descendants, eachConsumer, Marks } from './walk.js';

export interface ReplicatedInput {
  readonly closure: Closure;
  /** The operations whose outputs are the gradients to aggregate: the last that could be a replica's own. */
  readonly roots: Marks;
  readonly uses: VariableUses;
}

/** The operations that replicas have copies of, in the order of the graph. */
export function findReplicated(
  graph: Graph,
  training: TrainingGraph,
  { closure, roots, uses }: ReplicatedInput,
): readonly Operation[] {
  const checkpoints = checkpointing(graph);
  const found = new Marks(graph);
  const enter = (operation: Operation): boolean =>
    !roots.has(operation) && !closure.members.has(operation) && !checkpoints.has(operation);
  const initial = ancestors(
    graph,
    training.variables.flatMap(({ initializer }) => initializer ?? []),
    { control: true },
  );
  const starts = [...sources(graph)].filter((source) => enter(source) && !initial.has(source));
  descendants(graph, starts, { enter: (each) => enter(each) && !initial.has(each), marks: found });
  addOwnState(graph, training, { closure, roots, uses }, enter, found);
  addConstants(found, enter);
  addGroups(found, enter);
  return [...found].sort((a, b) => a.id - b.id);
}

/** Where values come from that differ between replicas; what keeps state during one step (arrays of a loop); and loops, which are copied whole. */
function* sources(graph: Graph): Iterable<Operation> {
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

/** Variables that replicas would each change with a value of their own are each replica's, with all that reads and initializes them. */
function addOwnState(
  graph: Graph,
  training: TrainingGraph,
  { closure, uses }: ReplicatedInput,
  enter: (operation: Operation) => boolean,
  found: Marks,
): void {
  for (let size = -1; size !== found.size; ) {
    size = found.size;
    const own = training.variables.filter(
      (variable) =>
        !closure.shared.has(variable) && uses.mutatorsOf(variable).some((mutator) => found.has(mutator)),
    );
    descendants(
      graph,
      own.map(({ handle }) => handle).filter((handle) => !found.has(handle)),
      { enter, marks: found },
    );
  }
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
