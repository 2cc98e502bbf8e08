/** Operations on shapes: they read no elements, or only those of small integer vectors, and never copy the tensor they reshape. */
import type { DType } from '../../../graph/dtype.js';
import type { Operation } from '../../../graph/operation.js';
import { elementCount, printShape } from '../../../graph/shape.js';
import type { KernelBinder, KernelTable } from '../kernel.js';
import type { Value } from '../value.js';
import { intsAttr, invalid, typeAttr } from './attributes.js';
import { broadcastShape } from './broadcast.js';
import { integerScalar, integers, integerVector, scalar } from './host.js';

const INDEX: readonly DType[] = ['int32', 'int64'];
const outType = (operation: Operation): DType =>
  typeAttr(operation, 'out_type', { allowed: INDEX, fallback: 'int32' });

const shape: KernelBinder = (operation) => {
  const dtype = outType(operation);
  return (inputs) => inputs.map((value) => integerVector(dtype, value.shape));
};

const size: KernelBinder = (operation) => {
  const dtype = outType(operation);
  return ([value]) => [integerScalar(dtype, value!.elementCount)];
};

const rank: KernelBinder =
  () =>
  ([value]) => [integerScalar('int32', value!.shape.length)];

const reshape: KernelBinder =
  (operation) =>
  ([value, wanted]) => [value!.reshaped(resolveShape(operation, value!.elementCount, integers(wanted!)))];

/** The shape with its one -1, if any, replaced by what `count` elements give. */
export function resolveShape(
  operation: Operation,
  count: number,
  wanted: readonly number[],
): readonly number[] {
  const open = wanted.indexOf(-1);
  if (open < 0) {
    if (elementCount(wanted) === count) return wanted;
    throw invalid(operation, `a shape of ${count} elements`, printShape(wanted));
  }
  const others = wanted.reduce((product, dim, i) => (i === open ? product : product * dim), 1);
  const dim = others === 0 ? Number.NaN : count / others;
  if (!Number.isInteger(dim) || wanted.indexOf(-1, open + 1) >= 0) {
    throw invalid(operation, `a shape that ${count} elements fill`, printShape(wanted));
  }
  return wanted.with(open, dim);
}

const expandDims: KernelBinder =
  (operation) =>
  ([value, dim]) => {
    const axis = normalizeAxis(operation, scalar(dim!), value!.shape.length + 1);
    return [value!.reshaped(value!.shape.toSpliced(axis, 0, 1))];
  };

const squeeze: KernelBinder = (operation) => {
  const dims = intsAttr(operation, 'squeeze_dims', intsAttr(operation, 'axis'));
  return ([value]) => {
    const from = value!.shape;
    const axes = new Set(dims.map((dim) => normalizeAxis(operation, dim, from.length)));
    for (const axis of axes) {
      if (from[axis] !== 1) throw invalid(operation, `dimension ${axis} of 1`, printShape(from));
    }
    return [value!.reshaped(from.filter((dim, i) => (axes.size === 0 ? dim !== 1 : !axes.has(i))))];
  };
};

/** A dimension index from 0, from one that may count from the end. */
export function normalizeAxis(operation: Operation, axis: number, rankOf: number): number {
  if (axis >= -rankOf && axis < rankOf) return axis < 0 ? axis + rankOf : axis;
  throw invalid(operation, `an axis in [-${rankOf}, ${rankOf})`, String(axis));
}

const broadcastArgs: KernelBinder = (operation) => {
  const dtype = typeAttr(operation, 'T', { allowed: INDEX, fallback: 'int32' });
  return ([a, b]) => [integerVector(dtype, requireBroadcast(operation, integers(a!), integers(b!)))];
};

/** The broadcast shape of two inputs, or an error naming the operation. */
export function requireBroadcast(operation: Operation, a: readonly number[], b: readonly number[]): number[] {
  const both = broadcastShape(a, b);
  if (both === undefined) {
    throw invalid(operation, 'shapes that broadcast together', `${printShape(a)} and ${printShape(b)}`);
  }
  return both;
}

/** For each input, the dimensions that its gradient is summed over. As in TensorFlow, equal shapes give none. */
const broadcastGradientArgs: KernelBinder = (operation) => {
  const dtype = typeAttr(operation, 'T', { allowed: INDEX, fallback: 'int32' });
  return ([a, b]) => {
    const first = integers(a!);
    const second = integers(b!);
    const both = requireBroadcast(operation, first, second);
    const equal = first.length === second.length && first.every((dim, i) => dim === second[i]);
    const reduced = (own: readonly number[]): Value => {
      const missing = both.length - own.length;
      return integerVector(dtype, equal ? [] : [...both.keys()].filter((i) => (own[i - missing] ?? 1) === 1));
    };
    return [reduced(first), reduced(second)];
  };
};

const concatOffset: KernelBinder =
  () =>
  ([dim, ...shapes]) => {
    const axis = scalar(dim!);
    let offset = 0;
    return shapes.map((value) => {
      const own = integers(value);
      const at = axis < 0 ? axis + own.length : axis;
      const start = offset;
      offset += own[at]!;
      return integerVector(
        value.dtype,
        own.map((_, i) => (i === at ? start : 0)),
      );
    });
  };

export const SHAPE_KERNELS: KernelTable = {
  Shape: shape,
  ShapeN: shape,
  Size: size,
  Rank: rank,
  Reshape: reshape,
  ExpandDims: expandDims,
  Squeeze: squeeze,
  BroadcastArgs: broadcastArgs,
  BroadcastGradientArgs: broadcastGradientArgs,
  ConcatOffset: concatOffset,
};
