/**
 * The chief-only closure C: what happens once per round, on the chief, between the aggregated gradients and the end of the update. It holds
 * all that is computed from an aggregate, every change of the shared variables during a step, and what lies between two of these. Nothing
 * downstream of C by data lies outside; control edges that leave C are the finish pass's.
 */
import { GradsyncError } from '../errors.js';
import type { DType } from '../graph/dtype.js';
import type { Graph } from '../graph/graph.js';
import type { Operation } from '../graph/operation.js';
import type { GradientPair, Variable } from '../graph/training-graph.js';
import { gradientTensors } from './gradient-region.js';
import type { VariableUses } from './variable-uses.js';
import { ancestors, descendants, eachConsumer, Marks } from './walk.js';

export interface Closure {
  readonly members: Marks;
  /** What is computed from an aggregate by data edges alone. */
  readonly computed: Marks;
  /** Variables that live once, on their server: those with a pair, and all other state that C changes. */
  readonly shared: ReadonlySet<Variable>;
}

const FLOATS = new Set<DType>(['float16', 'bfloat16', 'float32', 'float64', 'complex64', 'complex128']);

/** `pairs` have the Identities of the gradient-edge pass as their gradients. */
export function findClosure(graph: Graph, pairs: readonly GradientPair[], uses: VariableUses): Closure {
  const roots = new Marks(graph);
  for (const pair of pairs) for (const tensor of gradientTensors(pair)) roots.add(tensor.operation);
  const computed = computedFrom(graph, roots);
  const step = stepOf(graph, computed, roots);
  const core = new Marks(graph);
  for (const operation of computed) core.add(operation);
  const shared = new Set<Variable>();
  const state = [
    ...pairs.map((pair) => pair.variable),
    ...optimizerState(graph, computed, roots, step, uses),
  ];
  share(state, core, shared, step, uses);
  const members = closeOver(graph, core, roots, shared, step, uses);
  checkForward(graph, roots, members, shared, uses);
  return { members, computed, shared };
}

/** What is computed from the aggregates; another pair's gradient among it cannot be trained this way. */
function computedFrom(graph: Graph, roots: Marks): Marks {
  const marks = new Marks(graph);
  const starts: Operation[] = [];
  for (const root of roots) eachConsumer(root, false, (consumer) => starts.push(consumer));
  const computed = descendants(graph, starts, { marks });
  const chained = [...roots].find((root) => computed.has(root));
  if (chained === undefined) return computed;
  throw new GradsyncError('UNIMPLEMENTED', `Gradient "${chained.inputs[0]?.name}"`, {
    expected: 'a gradient that backpropagation computes from local values',
    received: "one computed from another variable's gradient on its way to the update",
    remedy: 'give pairs whose tensors do not depend on each other',
    operation: chained.name,
  });
}

/** Whether an operation runs during a step with C: before or after it, as opposed to an initializer or a restore. */
type InStep = (operation: Operation) => boolean;

function stepOf(graph: Graph, computed: Marks, roots: Marks): InStep {
  const before = ancestors(graph, computed, { control: true, enter: (operation) => !roots.has(operation) });
  const after = descendants(graph, computed, { control: true });
  return (operation) => before.has(operation) || after.has(operation);
}

/**
 * State of the optimizer that is not changed by a gradient, such as Adam's beta powers: floating point, read on the way to an update, and
 * changed during the step. Counters (the global step) stay each task's own: all count the same.
 */
function optimizerState(
  graph: Graph,
  computed: Marks,
  roots: Marks,
  inStep: InStep,
  uses: VariableUses,
): readonly Variable[] {
  const enter = (operation: Operation): boolean => !roots.has(operation);
  const state = new Set<Variable>();
  for (const operation of ancestors(graph, computed, { enter })) {
    for (const tensor of operation.inputs) {
      const variable = uses.variableOf(tensor);
      if (variable === undefined || !FLOATS.has(variable.dtype)) continue;
      if (uses.mutatorsOf(variable).some((mutator) => computed.has(mutator) || inStep(mutator))) {
        state.add(variable);
      }
    }
  }
  return [...state];
}

/** Makes variables shared, with every change of them in the step; those changes may change more variables. */
function share(
  variables: Iterable<Variable>,
  core: Marks,
  shared: Set<Variable>,
  inStep: InStep,
  uses: VariableUses,
): void {
  const queue = new Set(variables);
  for (const operation of core) for (const variable of uses.mutatedBy(operation)) queue.add(variable);
  for (const variable of queue) {
    shared.add(variable);
    for (const mutator of uses.mutatorsOf(variable)) {
      if (!inStep(mutator) || variable.initializer === mutator) continue;
      core.add(mutator);
      for (const other of uses.mutatedBy(mutator)) queue.add(other);
    }
  }
}

/** Core, what lies between two operations of it, and what is computed from any of these; until nothing more is changed by them. */
function closeOver(
  graph: Graph,
  core: Marks,
  roots: Marks,
  shared: Set<Variable>,
  inStep: InStep,
  uses: VariableUses,
): Marks {
  const enter = (operation: Operation): boolean => !roots.has(operation);
  for (;;) {
    const above = ancestors(graph, core, { control: true, enter });
    const below = descendants(graph, core, { control: true, enter });
    const between = [...below].filter((operation) => above.has(operation));
    const members = descendants(graph, [...core, ...between], { enter });
    const size = core.size;
    for (const operation of members) if (uses.mutatedBy(operation).length > 0) core.add(operation);
    share([], core, shared, inStep, uses);
    if (core.size === size) return members;
  }
}

/** A shared variable that the forward computation itself assigns would be assigned by every task. */
function checkForward(
  graph: Graph,
  roots: Marks,
  members: Marks,
  shared: ReadonlySet<Variable>,
  uses: VariableUses,
): void {
  const forward = ancestors(graph, roots, { control: true });
  for (const variable of shared) {
    const mutator = uses.mutatorsOf(variable).find((each) => forward.has(each) && !members.has(each));
    if (mutator === undefined) continue;
    throw new GradsyncError('UNIMPLEMENTED', `Variable "${variable.name}"`, {
      expected: 'a variable that is changed only by its update',
      received: `"${mutator.name}", which changes it before the gradients are computed`,
      remedy: 'run that change in a step of its own, on the chief',
      variable: variable.name,
      operation: mutator.name,
    });
  }
}
