/**
 * TopKV2: the k largest along the last axis and where they stand. Of equal elements those of lower position come first, as in TensorFlow.
 * One pass over each row, with a heap of the best so far: most elements are compared once, with the least of these.
 */
import type { NumericArray } from '../../../addon/native.js';
import { elementCount, printShape } from '../../../graph/shape.js';
import type { KernelBinder, KernelTable } from '../kernel.js';
import { Value } from '../value.js';
import { boolAttr, invalid, typeAttr } from './attributes.js';
import { hostArray, numeric, scalar } from './host.js';

type Elements = { [index: number]: number | bigint };

const topK: KernelBinder = (operation) => {
  const dtype = typeAttr(operation, 'T', {
    allowed: ['float32', 'float64', 'int32', 'int64', 'uint8', 'int8', 'int16'],
  });
  const indexType = typeAttr(operation, 'index_type', { allowed: ['int32', 'int64'], fallback: 'int32' });
  const isSorted = boolAttr(operation, 'sorted', true);
  return ([input, count]) => {
    const size = input!.shape.at(-1);
    const k = scalar(count!);
    if (size === undefined) throw invalid(operation, 'a tensor of at least one dimension', 'a scalar');
    if (!(k >= 0 && k <= size))
      throw invalid(operation, `k from 0 to ${size}`, `${k} for ${printShape(input!.shape)}`);
    const shape = [...input!.shape.slice(0, -1), k];
    const values = hostArray(dtype, elementCount(shape)) as unknown as Elements;
    const indices = hostArray(indexType, elementCount(shape)) as unknown as Elements;
    const source = numeric(input!);
    const rows = elementCount(shape.slice(0, -1));
    for (let row = 0, at = 0; row < rows && k > 0; row++) {
      const start = row * size;
      const best = largest(source, start, size, k);
      if (isSorted) best.sort((a, b) => (isLess(source, b, a) ? -1 : 1));
      else best.sort();
      for (const position of best) {
        values[at] = source[position]!;
        indices[at++] = indexType === 'int64' ? BigInt(position - start) : position - start;
      }
    }
    return [
      Value.ofHost(dtype, shape, values as unknown as NumericArray),
      Value.ofHost(indexType, shape, indices as unknown as NumericArray),
    ];
  };
};

/** Whether the element at `a` comes after that at `b` in the order from the largest on. */
function isLess(source: NumericArray, a: number, b: number): boolean {
  const [x, y] = [source[a]!, source[b]!];
  return x < y || (x === y && a > b);
}

/** Positions of the `k` largest of `size` elements from `start` on; at least one. */
function largest(source: NumericArray, start: number, size: number, k: number): Float64Array {
  const heap = new Float64Array(k);
  for (let i = 0; i < k; i++) heap[i] = start + i;
  for (let i = (k >> 1) - 1; i >= 0; i--) sink(source, heap, i);
  let least = source[heap[0]!]!;
  for (let i = start + k; i < start + size; i++) {
    // An equal one comes later, and so is not among them.
    if (!(source[i]! > least)) continue;
    heap[0] = i;
    sink(source, heap, 0);
    least = source[heap[0]!]!;
  }
  return heap;
}

/** Restores the order of a heap, the least on top, of which only the element at `at` may be too large for its place. */
function sink(source: NumericArray, heap: Float64Array, at: number): void {
  const position = heap[at]!;
  for (let child = 2 * at + 1; child < heap.length; child = 2 * at + 1) {
    if (child + 1 < heap.length && isLess(source, heap[child + 1]!, heap[child]!)) child++;
    if (!isLess(source, heap[child]!, position)) break;
    heap[at] = heap[child]!;
    at = child;
  }
  heap[at] = position;
}

export const TOP_K_KERNELS: KernelTable = { TopKV2: topK };
