/**
 * TrainingGraph: a graph plus what training needs to know of it: variables, gradient pairs, update and source operations, saver.
 */
import type { DType } from './dtype.js';
import type { Graph } from './graph.js';
import type { Operation, Tensor } from './operation.js';
import type { Shape } from './shape.js';

export interface Variable {
  /** Name of the handle operation, without output index. */
  readonly name: string;
  /** `VarHandleOp` (kind resource), `VariableV2` or `Variable` (kind reference). */
  readonly handle: Operation;
  readonly kind: 'resource' | 'reference';
  readonly dtype: DType;
  readonly shape: Shape;
  readonly trainable: boolean;
  readonly initialValue: Tensor | undefined;
  readonly initializer: Operation | undefined;
  /** Operations that read the whole value (ReadVariableOp; for a reference variable, Identity of it). */
  readonly reads: readonly Operation[];
}

/** The gradient of one variable: dense, or slices of rows (TensorFlow's IndexedSlices; `values[i]` belongs to row `indices[i]`). */
export type Gradient =
  | { readonly kind: 'dense'; readonly tensor: Tensor }
  | {
      readonly kind: 'sparse';
      readonly indices: Tensor;
      readonly values: Tensor;
      readonly denseShape: Tensor | undefined;
    };

export interface GradientPair {
  readonly variable: Variable;
  /** The gradient as it leaves backpropagation. */
  readonly gradient: Gradient;
  /** The operation that changes the variable during a step. */
  readonly update: Operation;
  /** The operation after which this step's update of the variable is complete. */
  readonly source: Operation;
}

export interface Saver {
  readonly filename: Tensor;
  readonly save: Tensor;
  readonly restore: Operation;
}

export interface TrainingGraph {
  readonly graph: Graph;
  readonly variables: readonly Variable[];
  readonly pairs: readonly GradientPair[];
  /** Placeholders that all workers must be fed the same in a step: the pairs were found on that condition. */
  readonly alike: readonly Operation[];
  readonly tableInitializers: readonly Operation[];
  readonly saver: Saver | undefined;
}

export interface TrainingGraphCopy {
  readonly training: TrainingGraph;
  /** The copy of an operation of the original. */
  readonly at: (operation: Operation) => Operation;
}

/** A copy of the graph, with everything that is known of it pointing into the copy. */
export function copyTrainingGraph(training: TrainingGraph): TrainingGraphCopy {
  const { graph, at } = training.graph.copy();
  const tensor = (original: Tensor): Tensor => at(original.operation).output(original.index);
  const variables = new Map(
    training.variables.map((original) => [original, copyVariable(original, at, tensor)]),
  );
  const pairs = training.pairs.map(({ variable, gradient, update, source }) => ({
    variable: variables.get(variable) as Variable,
    gradient: copyGradient(gradient, tensor),
    update: at(update),
    source: at(source),
  }));
  const saver = training.saver && {
    filename: tensor(training.saver.filename),
    save: tensor(training.saver.save),
    restore: at(training.saver.restore),
  };
  const known = { alike: training.alike.map(at), tableInitializers: training.tableInitializers.map(at) };
  return { training: { graph, variables: [...variables.values()], pairs, ...known, saver }, at };
}

function copyVariable(
  original: Variable,
  at: (operation: Operation) => Operation,
  tensor: (original: Tensor) => Tensor,
): Variable {
  const { handle, initialValue, initializer, reads } = original;
  return {
    ...original,
    handle: at(handle),
    initialValue: initialValue && tensor(initialValue),
    initializer: initializer && at(initializer),
    reads: reads.map(at),
  };
}

function copyGradient(gradient: Gradient, tensor: (original: Tensor) => Tensor): Gradient {
  if (gradient.kind === 'dense') return { kind: 'dense', tensor: tensor(gradient.tensor) };
  const { indices, values, denseShape } = gradient;
  return {
    kind: 'sparse',
    indices: tensor(indices),
    values: tensor(values),
    denseShape: denseShape && tensor(denseShape),
  };
}
