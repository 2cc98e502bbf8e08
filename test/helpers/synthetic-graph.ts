/**
 * Training graphs of any size, made as TensorFlow would export them: a chain of layers, each with a variable, its slots, its gradient
 * operations and a real update operation. For benchmarks and for properties that must hold for every graph. The same options give the
 * same graph.
 */
import {
  type Attributes,
  attr,
  attributes,
  type DType,
  elementCount,
  Graph,
  type MetaGraph,
  type Operation,
  type Tensor,
} from '../../src/graph/index.js';

export interface SyntheticOptions {
  /** Operations in all: at least as many, at most a few more than a layer has. */
  readonly operations: number;
  /** Trainable variables: one per layer. */
  readonly variables: number;
  /** Every how many layers one is an embedding with a sparse gradient; 0: none. */
  readonly sparseEvery?: number;
}

const DIMENSION = 4;
const FLOAT = attributes({ T: attr.type('float32') });
const INT32 = attr.type('int32');
/** Attributes of the types that have more than T, as TensorFlow's registry wants them. */
const ATTRIBUTES: Readonly<Record<string, Attributes>> = {
  ReadVariableOp: attributes({ dtype: attr.type('float32') }),
  AssignVariableOp: attributes({ dtype: attr.type('float32') }),
  ResourceGather: attributes({ dtype: attr.type('float32'), Tindices: INT32 }),
  ResourceSparseApplyAdagrad: FLOAT.with({ Tindices: INT32 }),
  Unique: attributes({ T: INT32, out_idx: INT32 }),
  UnsortedSegmentSum: FLOAT.with({ Tindices: INT32, Tnumsegments: INT32 }),
  Mean: FLOAT.with({ Tidx: INT32 }),
  Shape: FLOAT.with({ out_type: INT32 }),
  Fill: FLOAT.with({ index_type: INT32 }),
};
const MATMUL = (transposeA: boolean, transposeB: boolean) =>
  FLOAT.with({ transpose_a: attr.bool(transposeA), transpose_b: attr.bool(transposeB) });

interface Layer {
  readonly name: string;
  readonly handle: Operation;
  readonly input: Tensor;
  readonly read: Tensor | undefined;
  readonly output: Tensor;
}

/** A training graph without collections: variables and pairs are there to be discovered. */
export function syntheticGraph(options: SyntheticOptions): MetaGraph {
  const graph = new Builder(options).build();
  return {
    graph,
    collections: new Map(),
    saver: undefined,
    before: new Uint8Array(),
    after: new Uint8Array(),
  };
}

class Builder {
  readonly #graph = new Graph();
  readonly #options: SyntheticOptions;
  readonly #initializers: Operation[] = [];
  readonly #updates: Operation[] = [];
  readonly #ids: Tensor;
  readonly #scalar: Tensor;
  readonly #axes: Tensor;
  readonly #rows: Tensor;
  readonly #rowShape: Tensor;
  readonly #flatShape: Tensor;

  constructor(options: SyntheticOptions) {
    this.#options = options;
    this.#ids = this.#placeholder('ids', 'int32', [-1]);
    this.#scalar = this.#constant('scalar', [], 0.01);
    this.#axes = this.#integers('axes', [0, 1]);
    this.#rows = this.#integers('rows', DIMENSION);
    this.#rowShape = this.#integers('row_shape', [-1, DIMENSION]);
    this.#flatShape = this.#integers('flat_shape', [-1]);
  }

  build(): Graph {
    let hidden = this.#placeholder('x', 'float32', [-1, DIMENSION]);
    const layers: Layer[] = [];
    for (let i = 0; i < this.#options.variables; i++) {
      const layer = this.#layer(i, hidden);
      layers.push(layer);
      hidden = layer.output;
    }
    this.#fill(hidden);
    this.#add('loss', 'Mean', [hidden, this.#axes]);
    const shape = this.#add('gradients/Shape', 'Shape', [hidden]).output();
    let gradient = this.#add('gradients/Fill', 'Fill', [shape, this.#scalar]).output();
    for (const layer of layers.reverse()) gradient = this.#backward(layer, gradient);
    this.#graph.add({ name: 'train_op', type: 'NoOp', controlInputs: this.#updates });
    this.#graph.add({ name: 'init', type: 'NoOp', controlInputs: this.#initializers });
    return this.#graph;
  }

  #layer(i: number, input: Tensor): Layer {
    const { sparseEvery = 10 } = this.#options;
    const name = `model/block_${Math.floor(i / 10)}/layer_${i}`;
    const handle = this.#variable(`${name}/kernel`);
    if (sparseEvery > 0 && i % sparseEvery === sparseEvery - 1) {
      const rows = this.#add(`${name}/lookup`, 'ResourceGather', [handle.output(), this.#ids]).output();
      return {
        name,
        handle,
        input,
        read: undefined,
        output: this.#add(`${name}/add`, 'AddV2', [input, rows]).output(),
      };
    }
    const read = this.#add(`${name}/kernel/Read/ReadVariableOp`, 'ReadVariableOp', [
      handle.output(),
    ]).output();
    const product = this.#graph.add({
      name: `${name}/MatMul`,
      type: 'MatMul',
      inputs: [input, read],
      attributes: MATMUL(false, false),
    });
    return {
      name,
      handle,
      input,
      read,
      output: this.#add(`${name}/Tanh`, 'Tanh', [product.output()]).output(),
    };
  }

  /** Forward operations that bring the graph to its size; the gradient operations to come are counted in. */
  #fill(hidden: Tensor): void {
    const { operations, variables } = this.#options;
    const missing = operations - this.#graph.size - variables * 9;
    let at = hidden;
    for (let i = 0; i < missing; i++) {
      const type = i % 3 === 0 ? 'AddV2' : 'Tanh';
      at = this.#add(`model/tail/step_${i}`, type, type === 'AddV2' ? [at, hidden] : [at]).output();
    }
  }

  /** Gradient and update of one layer; returns the gradient of its input. */
  #backward(layer: Layer, gradient: Tensor): Tensor {
    const scope = `gradients/${layer.name}_grad`;
    if (layer.read === undefined) return this.#backwardSparse(layer, scope, gradient);
    const inner = this.#add(`${scope}/TanhGrad`, 'TanhGrad', [layer.output, gradient]).output();
    const product = (name: string, inputs: Tensor[], first: boolean): Tensor =>
      this.#graph.add({ name, type: 'MatMul', inputs, attributes: MATMUL(first, !first) }).output();
    const weight = product(`${scope}/MatMul_1`, [layer.input, inner], true);
    const next = product(`${scope}/MatMul`, [inner, layer.read], false);
    const named = this.#add(`${scope}/tuple/control_dependency_1`, 'Identity', [weight]).output();
    this.#update(layer, named);
    return next;
  }

  #backwardSparse(layer: Layer, scope: string, gradient: Tensor): Tensor {
    const values = this.#reshape(`${scope}/Reshape`, 'float32', gradient, this.#rowShape);
    const indices = this.#reshape(`${scope}/Reshape_1`, 'int32', this.#ids, this.#flatShape);
    const unique = this.#add(`train/${layer.name}/Unique`, 'Unique', [indices]);
    const sum = this.#add(`train/${layer.name}/UnsortedSegmentSum`, 'UnsortedSegmentSum', [
      values,
      unique.output(1),
      this.#rows,
    ]);
    const slot = this.#variable(`${layer.name}/kernel/Adagrad`);
    const inputs = [layer.handle.output(), slot.output(), this.#scalar, sum.output(), unique.output(0)];
    this.#updates.push(this.#add(`train/${layer.name}/update`, 'ResourceSparseApplyAdagrad', inputs));
    return gradient;
  }

  #update(layer: Layer, gradient: Tensor): void {
    const handle = layer.handle.output();
    const name = `train/${layer.name}/update`;
    if (this.#updates.length % 2 === 0) {
      this.#updates.push(this.#add(name, 'ResourceApplyGradientDescent', [handle, this.#scalar, gradient]));
      return;
    }
    const slot = this.#variable(`${layer.name}/kernel/Momentum`).output();
    const inputs = [handle, slot, this.#scalar, gradient, this.#scalar];
    this.#updates.push(this.#add(name, 'ResourceApplyMomentum', inputs));
  }

  #variable(name: string): Operation {
    const shape = attr.shape([DIMENSION, DIMENSION]);
    const handle = this.#graph.add({
      name,
      type: 'VarHandleOp',
      attributes: attributes({ dtype: attr.type('float32'), shape, shared_name: attr.string(name) }),
    });
    const value = this.#constant(`${name}/Initializer/zeros`, [DIMENSION, DIMENSION], 0);
    this.#initializers.push(this.#add(`${name}/Assign`, 'AssignVariableOp', [handle.output(), value]));
    return handle;
  }

  #reshape(name: string, dtype: DType, tensor: Tensor, shape: Tensor): Tensor {
    const values = attributes({ T: attr.type(dtype), Tshape: INT32 });
    return this.#graph.add({ name, type: 'Reshape', inputs: [tensor, shape], attributes: values }).output();
  }

  /** A float32 constant of one value, whatever its shape. */
  #constant(name: string, shape: readonly number[], value: number): Tensor {
    return this.#const(name, 'float32', shape, new Float32Array(elementCount(shape)).fill(value));
  }

  #integers(name: string, value: number | readonly number[]): Tensor {
    const values = typeof value === 'number' ? [value] : value;
    return this.#const(
      name,
      'int32',
      typeof value === 'number' ? [] : [values.length],
      Int32Array.from(values),
    );
  }

  #const(name: string, dtype: DType, shape: readonly number[], data: Float32Array | Int32Array): Tensor {
    const value = attr.tensor({ dtype, shape, bytes: new Uint8Array(data.buffer) });
    const values = attributes({ dtype: attr.type(dtype), value });
    return this.#graph.add({ name, type: 'Const', attributes: values }).output();
  }

  #placeholder(name: string, dtype: DType, shape: readonly number[]): Tensor {
    const values = attributes({ dtype: attr.type(dtype), shape: attr.shape(shape) });
    return this.#graph.add({ name, type: 'Placeholder', attributes: values }).output();
  }

  #add(name: string, type: string, inputs: readonly Tensor[]): Operation {
    return this.#graph.add({ name, type, inputs, attributes: ATTRIBUTES[type] ?? FLOAT });
  }
}
