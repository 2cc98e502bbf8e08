/** Operations that join, repeat and reorder whole tensors. */
import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';
import type { Operation } from '../../../graph/operation.js';
import { elementCount, printShape } from '../../../graph/shape.js';
import type { BoundKernel, KernelBinder, KernelTable } from '../kernel.js';
import { Value } from '../value.js';
import { intAttr, invalid } from './attributes.js';
import { broadcastStrides, sameShape, stridesOf } from './broadcast.js';
import { integers, integerVector, numeric, output, SMALL, scalar } from './host.js';
import { normalizeAxis, requireBroadcast } from './shape.js';
import { extract } from './slice.js';
import { copyBlock } from './strided.js';
import { adopt, type WasmKernel, wasmKernel } from './wasm.js';

/** Joins tensors seen as [outer, inner_k] along the inner dimension. */
function join(backend: BackendWasm, parts: readonly Value[], shape: readonly number[], outer: number): Value {
  const { dtype } = parts[0]!;
  if (dtype === 'string') return joinStrings(parts, shape, outer);
  const out = output(backend, dtype, shape);
  const sources = parts.map(numeric);
  let at = 0;
  for (let row = 0; row < outer; row++) {
    for (const source of sources) {
      const inner = source.length / outer;
      copyBlock(out.data, at, source, row * inner, inner);
      at += inner;
    }
  }
  return out.value;
}

function joinStrings(parts: readonly Value[], shape: readonly number[], outer: number): Value {
  const rows = Array.from({ length: outer }, (_, row) =>
    parts.flatMap((part) => {
      const data = part.host() as readonly Uint8Array[];
      return data.slice((row * data.length) / outer, ((row + 1) * data.length) / outer);
    }),
  );
  return Value.ofHost('string', shape, rows.flat());
}

function concat(operation: Operation, parts: readonly Value[], dim: number, backend: BackendWasm): Value {
  if (parts.length === 1) return parts[0]!.retain();
  const first = parts[0]!.shape;
  const axis = normalizeAxis(operation, dim, first.length);
  const alike = parts.every(({ shape }) => sameShape(shape.toSpliced(axis, 1), first.toSpliced(axis, 1)));
  if (!alike) {
    const shapes = parts.map(({ shape }) => printShape(shape)).join(', ');
    throw invalid(operation, `shapes that differ in dimension ${axis} only`, shapes);
  }
  const size = parts.reduce((sum, { shape }) => sum + shape[axis]!, 0);
  return join(backend, parts, first.with(axis, size), Math.max(1, elementCount(first.slice(0, axis))));
}

const concatV2: KernelBinder =
  (operation) =>
  (inputs, { backend }) => {
    const parts = inputs.slice(0, -1);
    return [concat(operation, parts, scalar(inputs[inputs.length - 1]!), backend)];
  };

const concatV1: KernelBinder =
  (operation) =>
  (inputs, { backend }) => [concat(operation, inputs.slice(1), scalar(inputs[0]!), backend)];

const pack: KernelBinder = (operation) => {
  const axisAttr = intAttr(operation, 'axis', 0);
  return (inputs, { backend }) => {
    const axis = normalizeAxis(operation, axisAttr, inputs[0]!.shape.length + 1);
    return [stacked(operation, inputs, axis, backend)];
  };
};

/** Tensors of one shape, at least one, side by side along a new dimension. */
export function stacked(
  operation: Operation,
  parts: readonly Value[],
  axis: number,
  backend: BackendWasm,
): Value {
  const { shape } = parts[0]!;
  if (!parts.every((value) => sameShape(value.shape, shape))) {
    throw invalid(operation, 'equal shapes', parts.map((value) => printShape(value.shape)).join(', '));
  }
  const outer = Math.max(1, elementCount(shape.slice(0, axis)));
  return join(backend, parts, shape.toSpliced(axis, 0, parts.length), outer);
}

/** Each dimension d repeated m times is the dimensions (m, d) with the first of stride 0. */
const tile: KernelBinder =
  (operation) =>
  ([value, multiples], { backend }) => {
    const times = integers(multiples!);
    const from = value!.shape;
    if (times.length !== from.length) {
      throw invalid(operation, `${from.length} multiples`, String(times.length));
    }
    if (times.every((n) => n === 1)) return [value!.retain()];
    const strides = stridesOf(from).flatMap((stride) => [0, stride]);
    const shape = from.flatMap((dim, i) => [times[i]!, dim]);
    const region = { shape, strides, offset: 0 };
    return [
      extract(
        backend,
        value!,
        region,
        from.map((dim, i) => dim * times[i]!),
      ),
    ];
  };

const broadcastTo: KernelBinder =
  (operation) =>
  ([value, wanted], { backend }) => {
    const shape = integers(wanted!);
    if (sameShape(shape, value!.shape)) return [value!.retain()];
    if (!sameShape(requireBroadcast(operation, value!.shape, shape), shape)) {
      throw invalid(operation, `a shape that broadcasts to ${printShape(shape)}`, printShape(value!.shape));
    }
    return [broadcastValue(backend, value!, shape)];
  };

/** A copy of `value` repeated along `shape`. */
export function broadcastValue(backend: BackendWasm, value: Value, shape: readonly number[]): Value {
  return extract(backend, value, { shape, strides: broadcastStrides(value.shape, shape), offset: 0 });
}

const transpose: KernelBinder = (operation) => {
  const kernel = wasmKernel('Transpose');
  return ([value, permutation], { backend }) => {
    const perm = integers(permutation!);
    const rank = value!.shape.length;
    if (perm.length !== rank || new Set(perm).size !== rank) {
      throw invalid(operation, `a permutation of ${rank} dimensions`, `[${perm}]`);
    }
    const axes = perm.map((axis) => normalizeAxis(operation, axis, rank));
    return [transposed(kernel, backend, value!, axes)];
  };
};

/** Dimensions in another order; no copy when only dimensions of 1 move. */
export function transposed(
  kernel: WasmKernel,
  backend: BackendWasm,
  value: Value,
  perm: readonly number[],
): Value {
  const from = value.shape;
  const shape = perm.map((axis) => from[axis]!);
  const moving = perm.filter((axis) => from[axis] !== 1);
  if (moving.every((axis, i) => i === 0 || axis > moving[i - 1]!)) return value.reshaped(shape);
  if (value.dtype === 'float32' && value.elementCount > SMALL) {
    return adopt(backend, kernel(backend, { x: value.device(backend) }, { perm }), shape);
  }
  const strides = stridesOf(from);
  return extract(backend, value, { shape, strides: perm.map((axis) => strides[axis]!), offset: 0 });
}

const invertPermutation: KernelBinder =
  (operation) =>
  ([value]) => {
    const perm = integers(value!);
    const inverse = new Array<number>(perm.length).fill(-1);
    perm.forEach((at, i) => {
      if (inverse[at] !== -1) throw invalid(operation, `a permutation of ${perm.length}`, `[${perm}]`);
      inverse[at] = i;
    });
    return [integerVector(value!.dtype, inverse)];
  };

/** The kernel of a transpose, for families that transpose as a step of theirs. */
export function bindTranspose(): (backend: BackendWasm, value: Value, perm: readonly number[]) => Value {
  const kernel = wasmKernel('Transpose');
  return (backend, value, perm) => transposed(kernel, backend, value, perm);
}

const parallelStitch = (operation: Operation): BoundKernel => {
  const count = intAttr(operation, 'N');
  return (inputs, { backend }) => {
    const indices = inputs.slice(0, count).map(integers);
    const data = inputs.slice(count);
    const slice = data[0]!.shape.slice(inputs[0]!.shape.length);
    const rows = indices.reduce((most, list) => list.reduce((m, i) => Math.max(m, i + 1), most), 0);
    const out = output(backend, data[0]!.dtype, [rows, ...slice]);
    const width = elementCount(slice);
    data.forEach((value, k) => {
      const source = numeric(value);
      indices[k]!.forEach((row, i) => {
        if (row < 0) throw invalid(operation, 'indices from 0', String(row));
        copyBlock(out.data, row * width, source, i * width, width);
      });
    });
    return [out.value];
  };
};

export const ARRAY_KERNELS: KernelTable = {
  ConcatV2: concatV2,
  Concat: concatV1,
  Pack: pack,
  Tile: tile,
  BroadcastTo: broadcastTo,
  Transpose: transpose,
  InvertPermutation: invertPermutation,
  DynamicStitch: parallelStitch,
  ParallelDynamicStitch: parallelStitch,
};
