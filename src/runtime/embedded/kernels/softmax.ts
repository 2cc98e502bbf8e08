/** Softmax and the cross entropies, in one pass per row with exponentials in double precision. */
import type { Operation } from '../../../graph/operation.js';
import { printShape } from '../../../graph/shape.js';
import type { KernelBinder, KernelTable } from '../kernel.js';
import type { Value } from '../value.js';
import { broadcastValue } from './array.js';
import { invalid, typeAttr } from './attributes.js';
import { sameShape } from './broadcast.js';
import { rowsOf } from './gather.js';
import { numeric, output } from './host.js';
import { requireBroadcast } from './shape.js';

/** The largest element of a row. */
function rowMax(x: Float32Array, start: number, length: number): number {
  let max = Number.NEGATIVE_INFINITY;
  for (let i = start; i < start + length; i++) if (x[i]! > max) max = x[i]!;
  return max;
}

/** Writes exp(x - max) to `out` and gives its sum. */
function exponentials(
  out: Float32Array,
  x: Float32Array,
  start: number,
  length: number,
  max: number,
): number {
  let sum = 0;
  for (let i = start; i < start + length; i++) {
    const e = Math.exp(x[i]! - max);
    out[i] = e;
    sum += e;
  }
  return sum;
}

const softmax: KernelBinder = (operation) => {
  typeAttr(operation, 'T', { allowed: ['float32', 'float64'] });
  return ([logits], { backend }) => {
    const length = classesOf(operation, logits!);
    const result = output(backend, logits!.dtype, logits!.shape);
    const out = result.data as Float32Array;
    const x = numeric(logits!) as Float32Array;
    for (let start = 0; start < x.length; start += length) {
      const sum = exponentials(out, x, start, length, rowMax(x, start, length));
      for (let i = start; i < start + length; i++) out[i]! /= sum;
    }
    return [result.value];
  };
};

const logSoftmax: KernelBinder = (operation) => {
  typeAttr(operation, 'T', { allowed: ['float32', 'float64'] });
  return ([logits], { backend }) => {
    const length = classesOf(operation, logits!);
    const result = output(backend, logits!.dtype, logits!.shape);
    const out = result.data as Float32Array;
    const x = numeric(logits!) as Float32Array;
    for (let start = 0; start < x.length; start += length) {
      const max = rowMax(x, start, length);
      const log = Math.log(exponentials(out, x, start, length, max));
      for (let i = start; i < start + length; i++) out[i] = x[i]! - max - log;
    }
    return [result.value];
  };
};

function classesOf(operation: Operation, logits: Value): number {
  const classes = logits.shape.at(-1);
  if (classes === undefined) throw invalid(operation, 'logits of rank 1 or more', 'a scalar');
  return classes;
}

/** Loss per row against a distribution, and its gradient: softmax - labels. */
const crossEntropy: KernelBinder = (operation) => {
  typeAttr(operation, 'T', { allowed: ['float32', 'float64'] });
  return ([features, labels], { backend }) => {
    const shape = requireBroadcast(operation, features!.shape, labels!.shape);
    if (shape.length !== 2) throw invalid(operation, 'logits of rank 2', printShape(shape));
    const whole = [features!, labels!].map((value) =>
      sameShape(value.shape, shape) ? value.retain() : broadcastValue(backend, value, shape),
    );
    const loss = output(backend, features!.dtype, [shape[0]!]);
    const backprop = output(backend, features!.dtype, shape);
    // A view taken before the second output was made may be dead: take it again from the value.
    const losses = numeric(loss.value) as Float32Array;
    const out = backprop.data as Float32Array;
    const [x, y] = whole.map((value) => numeric(value) as Float32Array) as [Float32Array, Float32Array];
    const length = shape[1]!;
    for (let row = 0, start = 0; start < x.length; row++, start += length) {
      const max = rowMax(x, start, length);
      const sum = exponentials(out, x, start, length, max);
      const log = Math.log(sum);
      let total = 0;
      for (let i = start; i < start + length; i++) {
        if (y[i] !== 0) total += y[i]! * (log - (x[i]! - max));
        out[i] = out[i]! / sum - y[i]!;
      }
      losses[row] = total;
    }
    for (const value of whole) value.release();
    return [loss.value, backprop.value];
  };
};

/** The same against the index of the true class. */
const sparseCrossEntropy: KernelBinder = (operation) => {
  typeAttr(operation, 'T', { allowed: ['float32', 'float64'] });
  typeAttr(operation, 'Tlabels', { allowed: ['int32', 'int64'], fallback: 'int64' });
  return ([features, labels], { backend }) => {
    const { shape } = features!;
    if (shape.length !== 2 || !sameShape(labels!.shape, [shape[0]!])) {
      const received = `${printShape(shape)} and ${printShape(labels!.shape)}`;
      throw invalid(operation, 'logits [batch, classes] and labels [batch]', received);
    }
    const classes = Array.from(rowsOf(labels!));
    const length = shape[1]!;
    requireLabels(operation, classes, length);
    const loss = output(backend, features!.dtype, [shape[0]!]);
    const backprop = output(backend, features!.dtype, shape);
    const losses = numeric(loss.value) as Float32Array;
    const out = backprop.data as Float32Array;
    const x = numeric(features!) as Float32Array;
    for (let row = 0, start = 0; start < x.length; row++, start += length) {
      const label = classes[row]!;
      const max = rowMax(x, start, length);
      const sum = exponentials(out, x, start, length, max);
      for (let i = start; i < start + length; i++) out[i]! /= sum;
      out[start + label]! -= 1;
      losses[row] = Math.log(sum) - (x[start + label]! - max);
    }
    return [loss.value, backprop.value];
  };
};

function requireLabels(operation: Operation, labels: ArrayLike<number>, classes: number): void {
  for (let row = 0; row < labels.length; row++) {
    const label = labels[row]!;
    if (label >= 0 && label < classes) continue;
    throw invalid(operation, `labels in [0, ${classes})`, `${label} in row ${row}`);
  }
}

export const SOFTMAX_KERNELS: KernelTable = {
  Softmax: softmax,
  LogSoftmax: logSoftmax,
  SoftmaxCrossEntropyWithLogits: crossEntropy,
  SparseSoftmaxCrossEntropyWithLogits: sparseCrossEntropy,
};
