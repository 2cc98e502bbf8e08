/** Training graphs made by hand, for tests that need variables and gradient pairs but no file. */
import { attr, attributes } from '../../src/graph/attributes.js';
import { Graph } from '../../src/graph/graph.js';
import type { Shape } from '../../src/graph/shape.js';
import type { GradientPair, TrainingGraph, Variable } from '../../src/graph/training-graph.js';

export interface VariableInit {
  readonly name: string;
  readonly shape: Shape;
  /** `none` is a variable without a gradient pair. */
  readonly gradient?: 'dense' | 'sparse' | 'none';
}

/** float32 resource variables, each with its gradient from a placeholder and updated by gradient descent. */
export function trainingOf(inits: readonly VariableInit[]): TrainingGraph {
  const graph = new Graph();
  const made = inits.map((init) => ({ init, variable: addVariable(graph, init) }));
  const pairs = made.flatMap(({ init: { gradient = 'dense' }, variable }) =>
    gradient === 'none' ? [] : [addPair(graph, variable, gradient)],
  );
  const dense = pairs.filter(({ gradient }) => gradient.kind === 'dense');
  return {
    graph,
    variables: made.map(({ variable }) => variable),
    pairs,
    // Their learning rates.
    alike: dense.map(({ update }) => update.inputs[1]!.operation),
    tableInitializers: [],
    saver: undefined,
  };
}

function addVariable(graph: Graph, { name, shape, gradient }: VariableInit): Variable {
  const handle = graph.add({
    name,
    type: 'VarHandleOp',
    attributes: attributes({
      dtype: attr.type('float32'),
      shape: attr.shape(shape),
      shared_name: attr.string(name),
    }),
  });
  const trainable = gradient !== 'none';
  return {
    name,
    handle,
    kind: 'resource',
    dtype: 'float32',
    shape,
    trainable,
    initialValue: undefined,
    initializer: undefined,
    reads: [],
  };
}

function addPair(graph: Graph, variable: Variable, kind: 'dense' | 'sparse'): GradientPair {
  const placeholder = (suffix: string, dtype: 'float32' | 'int64' = 'float32') =>
    graph
      .add({
        name: `${variable.name}_${suffix}`,
        type: 'Placeholder',
        attributes: attributes({ dtype: attr.type(dtype), shape: attr.shape(null) }),
      })
      .output();
  const rate = placeholder('rate');
  const values = placeholder('gradient');
  const indices = kind === 'sparse' ? placeholder('indices', 'int64') : undefined;
  const update = graph.add({
    name: `${variable.name}_update`,
    type: kind === 'dense' ? 'ResourceApplyGradientDescent' : 'ResourceScatterSub',
    inputs: [variable.handle.output(), ...(indices === undefined ? [rate] : [indices]), values],
  });
  const gradient =
    indices === undefined
      ? ({ kind: 'dense', tensor: values } as const)
      : ({ kind: 'sparse', indices, values, denseShape: undefined } as const);
  return { variable, gradient, update, source: update };
}
