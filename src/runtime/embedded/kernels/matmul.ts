/** Matrix products, and the bias that follows them. */
import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';
import type { TensorInfo } from '@tensorflow/tfjs-core';
import type { Operation } from '../../../graph/operation.js';
import { elementCount, printShape } from '../../../graph/shape.js';
import type { KernelBinder, KernelTable } from '../kernel.js';
import type { Value } from '../value.js';
import { bindTranspose, broadcastValue } from './array.js';
import { boolAttr, invalid, requireChannelsLast, typeAttr } from './attributes.js';
import { sameShape } from './broadcast.js';
import { bindColumnSums } from './column-sums.js';
import { output } from './host.js';
import { bindRowSum } from './pairwise.js';
import { requireBroadcast } from './shape.js';
import { adopt, forgetRegion, regionOf, seenAs, type WasmKernel, wasmKernel } from './wasm.js';

/** Calls the product kernel with a second factor that it may have packed under another shape, as for the product with a transposed row. */
function multiply(
  kernel: WasmKernel,
  backend: BackendWasm,
  a: TensorInfo,
  factor: Value,
  shape: readonly number[],
  attributes = { transposeA: false, transposeB: false },
): TensorInfo {
  const info = factor.device(backend);
  if (factor.isFactorOf(shape.slice(-2))) return kernel(backend, { a, b: seenAs(info, shape) }, attributes);
  const b = regionOf(backend, info, 0, shape);
  try {
    return kernel(backend, { a, b }, attributes);
  } finally {
    forgetRegion(backend, b);
  }
}

/** The product of two matrices. The wasm kernel is fast for plain ones and slow for transposed ones, so they are transposed first. */
function bindProduct(
  transposeA: boolean,
  transposeB: boolean,
): (backend: BackendWasm, a: Value, b: Value) => Value {
  const kernel = wasmKernel('BatchMatMul');
  const transpose = bindTranspose();
  return (backend, a, b) => {
    const left = transposeA ? transpose(backend, a, [1, 0]) : a.retain();
    const right = transposeB ? transpose(backend, b, [1, 0]) : b.retain();
    const rows = seenAs(left.device(backend), [1, ...left.shape]);
    const info = multiply(kernel, backend, rows, right, [1, ...right.shape]);
    const product = adopt(backend, info, [left.shape[0]!, right.shape[1]!]);
    left.release();
    right.release();
    return product;
  };
}

const matMul: KernelBinder = (operation) => {
  typeAttr(operation, 'T', { allowed: ['float32'] });
  const transposeA = boolAttr(operation, 'transpose_a');
  const transposeB = boolAttr(operation, 'transpose_b');
  const product = bindProduct(transposeA, transposeB);
  const sumRows = bindRowSum();
  return ([a, b], { backend }) => {
    if (a!.shape.length !== 2 || b!.shape.length !== 2) {
      throw invalid(operation, 'two matrices', `${printShape(a!.shape)} and ${printShape(b!.shape)}`);
    }
    const [k, m] = transposeA ? a!.shape : [a!.shape[1], a!.shape[0]];
    const [l, n] = transposeB ? [b!.shape[1], b!.shape[0]] : b!.shape;
    if (k !== l) {
      throw invalid(
        operation,
        'equal inner dimensions',
        `${printShape(a!.shape)} and ${printShape(b!.shape)}`,
      );
    }
    if (a!.elementCount === 0 || b!.elementCount === 0) return [zeros(backend, [m!, n!])];
    // The gradient of a matrix of weights: rows of both are examples.
    const sumsRows = transposeA && !transposeB;
    return [
      sumsRows
        ? sumRows(backend, [a!, b!], m! * n!, ([x, dy]) => product(backend, x!, dy!))
        : product(backend, a!, b!),
    ];
  };
};

function zeros(backend: BackendWasm, shape: readonly number[]): Value {
  const out = output(backend, 'float32', shape);
  (out.data as Float32Array).fill(0);
  return out.value;
}

const batchMatMul: KernelBinder = (operation) => {
  typeAttr(operation, 'T', { allowed: ['float32'] });
  const attributes = { transposeA: boolAttr(operation, 'adj_x'), transposeB: boolAttr(operation, 'adj_y') };
  const kernel = wasmKernel('BatchMatMul');
  return ([a, b], { backend }) => {
    const shape = batchShape(operation, a!.shape, b!.shape, attributes);
    const batch = shape.slice(0, -2);
    const [left, right] = [a!, b!].map((value) => wholeBatch(backend, value, batch)) as [Value, Value];
    const info = multiply(kernel, backend, left.device(backend), right, right.shape, attributes);
    left.release();
    right.release();
    return [adopt(backend, info, shape)];
  };
};

/** The wasm kernel repeats one matrix for a whole batch, and no other broadcasting: anything else is spelled out. */
function wholeBatch(backend: BackendWasm, value: Value, batch: readonly number[]): Value {
  const own = value.shape.slice(0, -2);
  if (elementCount(own) === 1 || sameShape(own, batch)) return value.retain();
  return broadcastValue(backend, value, [...batch, ...value.shape.slice(-2)]);
}

/** The shape of a product of matrices, or of batches of them. */
export function batchShape(
  operation: Operation,
  a: readonly number[],
  b: readonly number[],
  { transposeA, transposeB }: { transposeA: boolean; transposeB: boolean },
): number[] {
  const [p, q] = transposeA ? [a.at(-1), a.at(-2)] : [a.at(-2), a.at(-1)];
  const [r, s] = transposeB ? [b.at(-1), b.at(-2)] : [b.at(-2), b.at(-1)];
  if (p === undefined || s === undefined || q !== r) {
    throw invalid(operation, 'equal inner dimensions', `${printShape(a)} and ${printShape(b)}`);
  }
  return [...requireBroadcast(operation, a.slice(0, -2), b.slice(0, -2)), p, s];
}

/** Columns below which the inner loops of row-wise work cost more than what they do. */
const WIDE = 512;

/** How many rows of `channels` can be taken as one, so that rows are wide: the largest power of two that divides `rows` and is needed. */
function foldedRows(rows: number, channels: number): number {
  let fold = 1;
  while (fold * channels < WIDE && rows > 0 && rows % (2 * fold) === 0) fold *= 2;
  return fold;
}

const biasAdd: KernelBinder = (operation) => {
  typeAttr(operation, 'T', { allowed: ['float32'] });
  requireChannelsLast(operation);
  const add = wasmKernel('Add');
  return ([value, bias], { backend }) => {
    const channels = value!.shape.at(-1);
    if (channels === undefined || bias!.shape.length !== 1 || bias!.shape[0] !== channels) {
      throw invalid(operation, `a bias of [${channels}]`, printShape(bias!.shape));
    }
    if (value!.elementCount === 0) return [value!.retain()];
    const rows = value!.elementCount / channels;
    const fold = foldedRows(rows, channels);
    const wide = fold === 1 ? bias!.retain() : broadcastValue(backend, bias!, [fold, channels]);
    const x = seenAs(value!.device(backend), [rows / fold, fold * channels]);
    const sum = add(backend, { a: x, b: seenAs(wide.device(backend), [fold * channels]) });
    wide.release();
    return [adopt(backend, sum, value!.shape)];
  };
};

/** The sum over all but the last dimension. */
const biasAddGrad: KernelBinder = (operation) => {
  typeAttr(operation, 'T', { allowed: ['float32'] });
  requireChannelsLast(operation);
  const columnSums = bindColumnSums();
  return ([dy], { backend }) => {
    const channels = dy!.shape.at(-1) ?? 1;
    if (dy!.elementCount === 0) return [zeros(backend, [channels])];
    const sums = columnSums(backend, dy!, dy!.elementCount / channels, channels);
    const out = output(backend, 'float32', [channels]);
    (out.data as Float32Array).set(sums);
    return [out.value];
  };
};

export const MATMUL_KERNELS: KernelTable = {
  MatMul: matMul,
  BatchMatMul: batchMatMul,
  BatchMatMulV2: batchMatMul,
  BatchMatMulV3: batchMatMul,
  BiasAdd: biasAdd,
  BiasAddV1: biasAdd,
  BiasAddGrad: biasAddGrad,
};
