/** Differentiable operations: what each computes, and the operations that TensorFlow writes for its gradient. */
import type { Tensor } from '../../../src/graph/index.js';
import type { Activation } from './spec.js';
import type { Tape, Value } from './tape.js';
import type { GraphWriter } from './writer.js';

const FLOAT = { T: 'float32' };

export function matmul(tape: Tape, a: Value, b: Value, transposed = false): Value {
  const { writer: w } = tape;
  const product = (x: Tensor, y: Tensor, first: boolean, second: boolean): Tensor =>
    w.out('MatMul', [x, y], { ...FLOAT, transpose_a: first, transpose_b: second });
  const tensor = product(a.tensor, b.tensor, false, transposed);
  return tape.record([a, b], { tensor, shape: [a.shape[0]!, b.shape[transposed ? 0 : 1]!] }, (dy) => [
    () => product(dy, b.tensor, false, !transposed),
    () => (transposed ? product(dy, a.tensor, true, false) : product(a.tensor, dy, true, false)),
  ]);
}

export function biasAdd(tape: Tape, x: Value, bias: Value): Value {
  const { writer: w } = tape;
  const tensor = w.out('BiasAdd', [x.tensor, bias.tensor], FLOAT);
  return tape.record([x, bias], { tensor, shape: x.shape }, (dy) => [
    () => dy,
    () => w.out('BiasAddGrad', [dy], FLOAT),
  ]);
}

/** The second operand may be broadcast to the first. */
export function binary(tape: Tape, type: 'AddV2' | 'Sub' | 'Mul', x: Value, y: Value): Value {
  const { writer: w } = tape;
  const tensor = w.out(type, [x.tensor, y.tensor], FLOAT);
  return tape.record([x, y], { tensor, shape: x.shape }, (dy) => {
    const back = broadcastBack(w, x, y);
    const first = (): Tensor => (type === 'Mul' ? w.out('Mul', [dy, y.tensor], FLOAT) : dy);
    const second = (): Tensor => {
      if (type === 'Mul') return w.out('Mul', [x.tensor, dy], FLOAT);
      return type === 'Sub' ? w.out('Neg', [dy], FLOAT) : dy;
    };
    return [() => back(first(), 0), () => back(second(), 1)];
  });
}

/** Sums a gradient over what its operand was broadcast along. Shapes that are known and equal need none of it. */
function broadcastBack(w: GraphWriter, x: Value, y: Value): (gradient: Tensor, position: number) => Tensor {
  if (String(x.shape) === String(y.shape) && !x.shape.includes(-1)) return (gradient) => gradient;
  const shapes = [x, y].map(({ tensor }) => shapeOf(w, tensor));
  const axes = w.add('BroadcastGradientArgs', shapes, { attributes: { T: 'int32' } });
  return (gradient, position) => {
    const sum = w.out('Sum', [gradient, axes.output(position)], { ...FLOAT, Tidx: 'int32', keep_dims: true });
    return w.out('Reshape', [sum, shapes[position]!], { ...FLOAT, Tshape: 'int32' });
  };
}

function shapeOf(w: GraphWriter, tensor: Tensor): Tensor {
  return w.out('Shape', [tensor], { ...FLOAT, out_type: 'int32' });
}

export function activate(tape: Tape, type: Activation, x: Value): Value {
  if (type === 'none') return x;
  const { writer: w } = tape;
  const tensor = w.out(type, [x.tensor], FLOAT);
  return tape.record([x], { tensor, shape: x.shape }, (dy) => [
    () => DERIVATIVES[type](w, dy, x.tensor, tensor),
  ]);
}

type Derivative = (w: GraphWriter, dy: Tensor, input: Tensor, output: Tensor) => Tensor;

const DERIVATIVES: Readonly<Record<Exclude<Activation, 'none'>, Derivative>> = {
  Relu: (w, dy, _, output) => w.out('ReluGrad', [dy, output], FLOAT),
  Elu: (w, dy, _, output) => w.out('EluGrad', [dy, output], FLOAT),
  Tanh: (w, dy, _, output) => w.out('TanhGrad', [output, dy], FLOAT),
  Sigmoid: (w, dy, _, output) => w.out('SigmoidGrad', [output, dy], FLOAT),
  Softplus: (w, dy, input) => w.out('SoftplusGrad', [dy, input], FLOAT),
  Square: (w, dy, input) => w.out('Mul', [dy, w.out('Mul', [input, w.float(2)], FLOAT)], FLOAT),
  Softmax: (w, dy, _, output) => {
    const product = w.out('Mul', [dy, output], FLOAT);
    const sum = w.out('Sum', [product, w.int([-1])], { ...FLOAT, Tidx: 'int32', keep_dims: true });
    return w.out('Mul', [w.out('Sub', [dy, sum], FLOAT), output], FLOAT);
  },
};

export interface Reduction {
  readonly type: 'Sum' | 'Mean';
  readonly axis: number;
  readonly keepDims: boolean;
}

export function reduce(tape: Tape, x: Value, { type, axis: place, keepDims }: Reduction): Value {
  const { writer: w } = tape;
  const axis = w.int(place);
  const tensor = w.out(type, [x.tensor, axis], { ...FLOAT, Tidx: 'int32', keep_dims: keepDims });
  const shape = keepDims ? x.shape.with(place, 1) : x.shape.toSpliced(place, 1);
  return tape.record([x], { tensor, shape }, (dy) => [
    () => {
      const size = shapeOf(w, x.tensor);
      const kept = w.out('Reshape', [dy, keptShape(w, size, axis, x.shape.length)], {
        ...FLOAT,
        Tshape: 'int32',
      });
      const spread = w.out('BroadcastTo', [kept, size], { ...FLOAT, Tidx: 'int32' });
      return type === 'Sum' ? spread : divided(w, spread, size, axis);
    },
  ]);
}

/** The shape with 1 for the axis that was reduced. */
function keptShape(w: GraphWriter, size: Tensor, axis: Tensor, rank: number): Tensor {
  const INT = { T: 'int32' };
  const range = w.out('Range', [w.int(0), w.int(rank), w.int(1)], { Tidx: 'int32' });
  const place = w.out('FloorMod', [w.out('AddV2', [axis, w.int(rank)], INT), w.int(rank)], INT);
  const one = w.out('Fill', [w.int([]), w.int(1)], { ...INT, index_type: 'int32' });
  return w.out('DynamicStitch', [range, place, size, one], { ...INT, N: 2 });
}

/** By the product of the dimensions of an axis, or of several. */
function divided(w: GraphWriter, whole: Tensor, size: Tensor, axes: Tensor, areSeveral = false): Tensor {
  const chosen = w.out('GatherV2', [size, axes, w.int(0)], {
    Tparams: 'int32',
    Tindices: 'int32',
    Taxis: 'int32',
    batch_dims: 0,
  });
  const over = w.int(areSeveral ? [0] : []);
  const all = w.out('Prod', [chosen, over], { T: 'int32', Tidx: 'int32', keep_dims: false });
  const count = w.out('Cast', [all], { SrcT: 'int32', DstT: 'float32', Truncate: false });
  return w.out('RealDiv', [whole, count], FLOAT);
}

/** Over all elements. */
export function mean(tape: Tape, x: Value): Value {
  const { writer: w } = tape;
  const axes = w.int(x.shape.map((_, axis) => axis));
  const tensor = w.out('Mean', [x.tensor, axes], { ...FLOAT, Tidx: 'int32', keep_dims: false });
  return tape.record([x], { tensor, shape: [] }, (dy) => [
    () => {
      const ones = w.out('Reshape', [dy, w.int(x.shape.map(() => 1))], { ...FLOAT, Tshape: 'int32' });
      const spread = w.out('Tile', [ones, shapeOf(w, x.tensor)], { ...FLOAT, Tmultiples: 'int32' });
      return divided(w, spread, shapeOf(w, x.tensor), axes, true);
    },
  ]);
}

/** Along axis 1. */
export function concat(tape: Tape, x: Value, y: Value): Value {
  const { writer: w } = tape;
  const INT = { T: 'int32' };
  const tensor = w.out('ConcatV2', [x.tensor, y.tensor, w.int(1)], { ...FLOAT, Tidx: 'int32', N: 2 });
  return tape.record([x, y], { tensor, shape: [x.shape[0]!, x.shape[1]! + y.shape[1]!] }, (dy) => {
    const attributes = { ...FLOAT, out_type: 'int32', N: 2 };
    const sizes = w.add('ShapeN', [x.tensor, y.tensor], { attributes });
    const axis = w.out('FloorMod', [w.int(1), w.int(2)], INT);
    const offsets = w.add('ConcatOffset', [axis, sizes.output(0), sizes.output(1)], { attributes: { N: 2 } });
    const part = (i: number) => () => {
      return w.out('Slice', [dy, offsets.output(i), sizes.output(i)], { ...FLOAT, Index: 'int32' });
    };
    return [part(0), part(1)];
  });
}

/** Half the sum of squares. */
export function halfSquares(tape: Tape, x: Value): Value {
  const { writer: w } = tape;
  const tensor = w.out('L2Loss', [x.tensor], FLOAT);
  return tape.record([x], { tensor, shape: [] }, (dy) => [() => w.out('Mul', [x.tensor, dy], FLOAT)]);
}

/** One number per example. */
export function crossEntropy(tape: Tape, logits: Value, labels: Tensor): Value {
  const { writer: w } = tape;
  const attributes = { ...FLOAT, Tlabels: 'int32' };
  const operation = w.add('SparseSoftmaxCrossEntropyWithLogits', [logits.tensor, labels], { attributes });
  return tape.record([logits], { tensor: operation.output(), shape: [logits.shape[0]!] }, (dy) => [
    () => {
      const column = w.out('ExpandDims', [dy, w.int(-1)], { ...FLOAT, Tdim: 'int32' });
      return w.out('Mul', [column, operation.output(1)], FLOAT);
    },
  ]);
}
