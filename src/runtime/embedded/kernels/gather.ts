/** Operations that pick, group and add rows by index. */
import type { IndexArray, NativeDType, NumericArray } from '../../../addon/native.js';
import type { DType } from '../../../graph/dtype.js';
import type { Operation } from '../../../graph/operation.js';
import { elementCount, printShape } from '../../../graph/shape.js';
import type { KernelBinder, KernelTable } from '../kernel.js';
import { Value } from '../value.js';
import { intAttr, invalid, typeAttr, unsupported } from './attributes.js';
import { hostArray, integerVector, numeric, output, scalar } from './host.js';
import { normalizeAxis } from './shape.js';
import { copyBlock } from './strided.js';

const INDEX: readonly DType[] = ['int32', 'int64'];

/** Rows of `params` along `axis`, in the order of `indices`. */
const gather =
  (hasAxis: boolean): KernelBinder =>
  (operation) => {
    typeAttr(operation, 'Tindices', { allowed: INDEX });
    if (intAttr(operation, 'batch_dims', 0) !== 0) {
      throw unsupported(operation, 'batch_dims 0', String(intAttr(operation, 'batch_dims', 0)));
    }
    return (inputs, { backend }) => {
      const [params, indices] = inputs as [Value, Value];
      const from = params.shape;
      const axis = hasAxis ? normalizeAxis(operation, scalar(inputs[2]!), from.length) : 0;
      const shape = [...from.slice(0, axis), ...indices.shape, ...from.slice(axis + 1)];
      if (params.dtype === 'string') return [gatherStrings(operation, params, indices, axis, shape)];
      requireRows(operation, rowsOf(indices), 0, from[axis]!);
      const out = output(backend, params.dtype, shape);
      const plan = {
        outer: elementCount(from.slice(0, axis)),
        size: from[axis]!,
        inner: elementCount(from.slice(axis + 1)),
      };
      copyRows(out.data, numeric(params), rowsOf(indices), plan);
      return [out.value];
    };
  };

/** Indices as numbers, without a copy where they are int32. */
export function rowsOf(indices: Value): Int32Array | number[] {
  const data = numeric(indices);
  return data instanceof BigInt64Array ? Array.from(data, Number) : (data as Int32Array);
}

interface RowPlan {
  readonly outer: number;
  readonly size: number;
  readonly inner: number;
}

function copyRows(
  target: NumericArray,
  source: NumericArray,
  rows: ArrayLike<number>,
  { outer, size, inner }: RowPlan,
): void {
  const to = target as Float32Array;
  const from = source as Float32Array;
  for (let o = 0, at = 0; o < outer; o++) {
    const base = o * size;
    for (let i = 0; i < rows.length; i++, at += inner) {
      const start = (base + rows[i]!) * inner;
      if (inner > SHORT_ROW) copyBlock(to, at, from, start, inner);
      else copyShort(to, at, from, start, inner);
    }
  }
}

/** Elements up to which a row is copied faster one by one than as a block. */
const SHORT_ROW = 40;

/** Four elements in a turn, which is faster by a third. */
function copyShort(to: Float32Array, at: number, from: Float32Array, start: number, length: number): void {
  const whole = length - (length % 4);
  for (let n = 0; n < whole; n += 4) {
    to[at + n] = from[start + n]!;
    to[at + n + 1] = from[start + n + 1]!;
    to[at + n + 2] = from[start + n + 2]!;
    to[at + n + 3] = from[start + n + 3]!;
  }
  for (let n = whole; n < length; n++) to[at + n] = from[start + n]!;
}

function requireRows(operation: Operation, rows: ArrayLike<number>, low: number, size: number): void {
  for (let i = 0; i < rows.length; i++) {
    if (rows[i]! >= low && rows[i]! < size) continue;
    throw invalid(operation, `indices in [0, ${size})`, `indices[${i}] = ${rows[i]}`);
  }
}

function gatherStrings(
  operation: Operation,
  params: Value,
  indices: Value,
  axis: number,
  shape: number[],
): Value {
  if (axis !== 0) throw invalid(operation, 'axis 0 for strings', String(axis));
  const data = params.host() as readonly Uint8Array[];
  const inner = data.length / params.shape[0]!;
  const rows = Array.from(rowsOf(indices));
  requireRows(operation, rows, 0, params.shape[0]!);
  const picked = rows.flatMap((row) => data.slice(row * inner, (row + 1) * inner));
  return Value.ofHost('string', shape, picked);
}

/** Sums rows of equal id, in their order; rows of negative ids are dropped. */
const unsortedSegmentSum: KernelBinder = (operation) => {
  const dtype = typeAttr(operation, 'T', { allowed: ['float32', 'float64', 'int32'] });
  typeAttr(operation, 'Tindices', { allowed: INDEX });
  return ([data, ids, count], { backend, addRows }) => {
    const segments = scalar(count!);
    const rank = ids!.shape.length;
    const inner = elementCount(data!.shape.slice(rank));
    if (data!.elementCount !== ids!.elementCount * inner) {
      throw invalid(operation, `data that begins with ${printShape(ids!.shape)}`, printShape(data!.shape));
    }
    const rows = rowsOf(ids!);
    requireRows(operation, rows, Number.NEGATIVE_INFINITY, segments);
    const out = output(backend, dtype, [segments, ...data!.shape.slice(rank)]);
    const sums = (out.data as Float32Array).fill(0);
    const source = numeric(data!) as Float32Array;
    if (hasNegative(rows)) addSome(sums, rows, source, inner);
    else if (source.length > 0)
      addRows(dtype as NativeDType, inner, sums, numeric(ids!) as IndexArray, source);
    return [out.value];
  };
};

function hasNegative(rows: ArrayLike<number>): boolean {
  for (let i = 0; i < rows.length; i++) if (rows[i]! < 0) return true;
  return false;
}

/** As the addon's addRows, without rows of negative indices. */
function addSome(sums: Float32Array, rows: ArrayLike<number>, source: Float32Array, inner: number): void {
  for (let i = 0, from = 0; i < rows.length; i++, from += inner) {
    const row = rows[i]!;
    if (row < 0) continue;
    for (let n = 0, to = row * inner; n < inner; n++) sums[to + n]! += source[from + n]!;
  }
}

/** Distinct elements in order of first occurrence, and for each element where its value stands. */
const unique: KernelBinder = (operation) => {
  const dtype = typeAttr(operation, 'T');
  const indexType = typeAttr(operation, 'out_idx', { allowed: INDEX, fallback: 'int32' });
  return ([value]) => {
    if (value!.shape.length !== 1) throw invalid(operation, 'a vector', printShape(value!.shape));
    const source = numeric(value!);
    if (source instanceof Int32Array && indexType === 'int32') {
      const [distinct, index] = uniqueIntegers(source);
      return [Value.ofHost(dtype, [distinct.length], distinct), Value.ofHost('int32', value!.shape, index)];
    }
    const places = new Map<number | bigint, number>();
    const index = hostArray(indexType, source.length) as unknown as { [i: number]: number | bigint };
    for (let i = 0; i < source.length; i++) {
      const element = source[i]!;
      let at = places.get(element);
      if (at === undefined) {
        at = places.size;
        places.set(element, at);
      }
      index[i] = indexType === 'int64' ? BigInt(at) : at;
    }
    const distinct = hostArray(dtype, places.size) as unknown as { [i: number]: number | bigint };
    let next = 0;
    for (const element of places.keys()) distinct[next++] = element;
    return [
      Value.ofHost(dtype, [places.size], distinct as unknown as NumericArray),
      Value.ofHost(indexType, value!.shape, index as unknown as NumericArray),
    ];
  };
};

/** Of a multiplicative hash: 2 ** 32 over the golden ratio. */
const HASH_FACTOR = 0x9e3779b1;

/** Unique of indices, several times as fast as a Map: a table of places, at most half full, each entry at the first free slot from its hash. */
function uniqueIntegers(source: Int32Array): readonly [distinct: Int32Array, index: Int32Array] {
  const mask = 2 ** (32 - Math.clz32(2 * source.length)) - 1;
  /** Places, from 1; 0 is a free slot. */
  const table = new Int32Array(mask + 1);
  const distinct = new Int32Array(source.length);
  const index = new Int32Array(source.length);
  let count = 0;
  for (let i = 0; i < source.length; i++) {
    const element = source[i]!;
    const hash = Math.imul(element, HASH_FACTOR);
    let slot = ((hash >>> 16) ^ hash) & mask;
    while (table[slot] !== 0 && distinct[table[slot]! - 1] !== element) slot = (slot + 1) & mask;
    if (table[slot] === 0) {
      distinct[count] = element;
      table[slot] = ++count;
    }
    index[i] = table[slot]! - 1;
  }
  return [distinct.slice(0, count), index];
}

/** For each number the rows that are marked with it, in their order. */
const dynamicPartition: KernelBinder = (operation) => {
  const count = intAttr(operation, 'num_partitions');
  return ([data, partitions], { backend }) => {
    const marks = rowsOf(partitions!);
    requireRows(operation, marks, 0, count);
    const rank = partitions!.shape.length;
    const row = data!.shape.slice(rank);
    const inner = elementCount(row);
    if (data!.elementCount !== marks.length * inner) {
      throw invalid(
        operation,
        `data that begins with ${printShape(partitions!.shape)}`,
        printShape(data!.shape),
      );
    }
    const rows = Array.from({ length: count }, (): number[] => []);
    for (let i = 0; i < marks.length; i++) rows[marks[i]!]!.push(i);
    // One output after the other: making the next may grow the heap, and views of it die then.
    return rows.map((own) => {
      const out = output(backend, data!.dtype, [own.length, ...row]);
      copyRows(out.data, numeric(data!), own, { outer: 1, size: marks.length, inner });
      return out.value;
    });
  };
};

/** Coordinates of all elements that are not 0, in row-major order. */
const where: KernelBinder =
  () =>
  ([value]) => {
    const { shape } = value!;
    const source = numeric(value!);
    const found: number[] = [];
    for (let i = 0; i < source.length; i++) {
      if (Number(source[i]) === 0) continue;
      let rest = i;
      const at = shape.map(() => 0);
      for (let d = shape.length - 1; d >= 0; d--) {
        at[d] = rest % shape[d]!;
        rest = Math.floor(rest / shape[d]!);
      }
      found.push(...at);
    }
    const rank = shape.length;
    const count = rank === 0 ? Number(Number(source[0]) !== 0) : found.length / rank;
    return [integerVector('int64', found).reshaped([count, rank])];
  };

export const GATHER_KERNELS: KernelTable = {
  GatherV2: gather(true),
  Gather: gather(false),
  UnsortedSegmentSum: unsortedSegmentSum,
  Unique: unique,
  DynamicPartition: dynamicPartition,
  Where: where,
};
