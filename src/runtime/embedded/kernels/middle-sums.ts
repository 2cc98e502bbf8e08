/** Sums over dimensions that are neither the first nor the last, as a matrix product. */
import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';
import type { Value } from '../value.js';
import type { Loop } from './broadcast.js';
import { deviceOutput } from './host.js';
import { adopt, seenAs, wasmKernel } from './wasm.js';

/** Rows that a product adds up one after the other: more would be less exact than double precision is worth. */
const MOST_ROWS = 1024;
/** Elements below which a loop is as fast. */
const WORTH_A_PRODUCT = 2 ** 14;

/** `loop` says how the output is stepped through: 0 along what is summed. */
export type MiddleSums = (
  backend: BackendWasm,
  x: Value,
  loop: Loop,
  shape: readonly number[],
) => Value | undefined;

/**
 * Sums over dimensions in the middle, such as the words of every example, as a product with a row of ones: [1, rows] times [rows, columns] for
 * each of the batch. Undefined for any other reduction. Examples are summed apart, so their number changes no bits.
 */
export function bindMiddleSums(): MiddleSums {
  const kernel = wasmKernel('BatchMatMul');
  return (backend, x, { dims, strides }, shape) => {
    const [batch, rows, columns] = dims;
    const [outer, middle, inner] = strides[0]!;
    if (dims.length !== 3 || outer === 0 || middle !== 0 || inner === 0) return undefined;
    if (x.elementCount < WORTH_A_PRODUCT || rows! > MOST_ROWS) return undefined;
    const ones = deviceOutput(backend, 'float32', [1, 1, rows!]);
    (ones.data as Float32Array).fill(1);
    const inputs = { a: ones.value.device(backend), b: seenAs(x.device(backend), [batch!, rows!, columns!]) };
    const sums = kernel(backend, inputs, { transposeA: false, transposeB: false });
    ones.value.release();
    return adopt(backend, sums, shape);
  };
}
