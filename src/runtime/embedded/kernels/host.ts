/** Elements in host memory: arrays by dtype, small integer inputs, and outputs placed where their size suits them. */
import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';
import type { DataType } from '@tensorflow/tfjs-core';
import type { NumericArray } from '../../../addon/native.js';
import { GradsyncError } from '../../../errors.js';
import type { DType } from '../../../graph/dtype.js';
import { elementCount } from '../../../graph/shape.js';
import { arrayType } from '../../array-types.js';
import { type HostArray, Value } from '../value.js';

/** An array of numbers or bigints, indexed in a loop. */
export type Numbers = Exclude<NumericArray, BigInt64Array>;

/**
 * Up to this many elements, work in host memory costs less than one call of a wasm kernel (2-4 microseconds), and scalar chains such as
 * an optimizer's never touch the wasm heap.
 */
export const SMALL = 64;

/** What fits neither the wasm heap nor an array. */
const MOST_ELEMENTS = 2 ** 32;

/** A zeroed array for `length` elements of `dtype`; INVALID_ARGUMENT for a size that none can have. */
export function hostArray(dtype: DType, length: number): NumericArray {
  if (!(length >= 0 && length < MOST_ELEMENTS)) {
    throw new GradsyncError('INVALID_ARGUMENT', 'Tensor', {
      expected: 'dimensions of at least 0, and fewer than 2^32 elements',
      received: `${length} elements`,
      remedy: 'check the shapes that are fed',
    });
  }
  const ArrayOf = arrayType(dtype);
  if (ArrayOf === undefined) {
    throw new GradsyncError('UNIMPLEMENTED', 'Element type', {
      expected: 'a numeric dtype of at most 64 bits',
      received: dtype,
      remedy: 'cast it in the graph',
    });
  }
  return new ArrayOf(length);
}

export interface Output<A> {
  readonly value: Value;
  /** For writing, once. A view of the wasm heap for device outputs: take the inputs' views after all outputs are made. */
  readonly data: A;
}

/** A zeroed output in host memory. */
export function hostOutput(dtype: DType, shape: readonly number[]): Output<NumericArray> {
  const data = hostArray(dtype, elementCount(shape));
  return { value: Value.ofHost(dtype, shape, data), data };
}

/** An output on the wasm heap; its elements are not initialized. */
export function deviceOutput(
  backend: BackendWasm,
  dtype: 'float32' | 'int32' | 'bool',
  shape: readonly number[],
): Output<Numbers> {
  const info = backend.makeOutput([...shape], dtype as DataType);
  return { value: Value.ofDevice(backend, info), data: backend.typedArrayFromHeap(info) as Numbers };
}

/** An output where it will most likely be used: large float32 on the wasm heap, all else in host memory. Not initialized. */
export function output(backend: BackendWasm, dtype: DType, shape: readonly number[]): Output<NumericArray> {
  return dtype === 'float32' && elementCount(shape) > SMALL
    ? deviceOutput(backend, dtype, shape)
    : hostOutput(dtype, shape);
}

/** Elements as a numeric array; strings throw. */
export function numeric(value: Value): NumericArray {
  const data: HostArray = value.host();
  if (!ArrayBuffer.isView(data)) {
    throw new GradsyncError('INVALID_ARGUMENT', 'Tensor', { expected: 'numbers', received: value.dtype });
  }
  return data as NumericArray;
}

/** The elements of a small int32 or int64 tensor, such as a shape or axes. */
export function integers(value: Value): number[] {
  return Array.from(numeric(value) as ArrayLike<number | bigint>, Number);
}

/** The first element, as a number. */
export function scalar(value: Value): number {
  return Number(numeric(value)[0]);
}

/** A vector of integers as an int32 or int64 value. */
export function integerVector(dtype: DType, elements: readonly number[]): Value {
  return integerValue(dtype, [elements.length], elements);
}

export function integerScalar(dtype: DType, element: number): Value {
  return integerValue(dtype, [], [element]);
}

function integerValue(dtype: DType, shape: readonly number[], elements: readonly number[]): Value {
  const data = dtype === 'int64' ? BigInt64Array.from(elements, BigInt) : Int32Array.from(elements);
  return Value.ofHost(dtype, shape, data);
}
