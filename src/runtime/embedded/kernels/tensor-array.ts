/** Tensor arrays: what the loops of graphs without functions read from and write to. Made anew in every step; a handle is a value. */
import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';
import type { DType } from '../../../graph/dtype.js';
import type { Operation } from '../../../graph/operation.js';
import { isFullyKnown, type Shape } from '../../../graph/shape.js';
import type { BoundKernel, KernelBinder, KernelTable, TaskRuntime } from '../kernel.js';
import { Value } from '../value.js';
import { stacked } from './array.js';
import { boolAttr, invalid, shapeOrNullAttr, stringAttr, typeAttr } from './attributes.js';
import { BINARY_KERNELS } from './binary.js';
import { checkElement, ElementList, elementAt, rowsOf } from './element-list.js';
import { hostOutput, integerScalar, integers, scalar } from './host.js';

interface Options {
  /** Values written to one place are added up: an array of gradients. */
  readonly sumsUp: boolean;
  readonly mayGrow: boolean;
  /** An element is given up when it was read. */
  readonly readsOnce: boolean;
}

/** An array, and those that collect the gradients of its elements, by what asks for them. */
class TensorArray extends ElementList {
  readonly options: Options;
  readonly gradients = new Map<string, Value>();
  /** Of the elements that were ever set. */
  readonly #shapes: (Shape | undefined)[];

  constructor(dtype: DType, shape: Shape, size: number, options: Options, shapes: readonly Shape[] = []) {
    super(dtype, shape, new Array<Value | undefined>(size).fill(undefined));
    this.options = options;
    this.#shapes = [...shapes];
  }

  override shapeAt(at: number): Shape {
    return this.#shapes[at] ?? null;
  }

  override release(): void {
    super.release();
    for (const gradient of this.gradients.values()) gradient.release();
    this.gradients.clear();
  }

  /** Takes the value over. */
  set(at: number, value: Value): void {
    this.elements[at]?.release();
    this.elements[at] = value;
    this.#shapes[at] = value.shape;
  }

  /** The array of the gradients that `source` asks for. */
  gradient(source: string): Value {
    let gradient = this.gradients.get(source);
    if (gradient === undefined) {
      const { dtype, shape, elements } = this;
      const options = { sumsUp: true, mayGrow: false, readsOnce: false };
      const shapes = elements.map((_, at) => this.shapeAt(at));
      const array = new TensorArray(dtype, shape, elements.length, options, shapes);
      gradient = Value.ofHeld('resource', array);
      this.gradients.set(source, gradient);
    }
    return gradient.retain();
  }
}

/** Stands for the order of operations on one array. */
function flow(): Value {
  return Value.ofHost('float32', [], Float32Array.of(0));
}

function arrayOf(operation: Operation, { held, dtype }: Value): TensorArray {
  if (held instanceof TensorArray) return held;
  throw invalid(operation, 'a tensor array', dtype);
}

const tensorArray: KernelBinder = (operation) => {
  const dtype = typeAttr(operation, 'dtype');
  const shape = shapeOrNullAttr(operation, 'element_shape');
  const options = {
    sumsUp: false,
    mayGrow: boolAttr(operation, 'dynamic_size'),
    readsOnce: boolAttr(operation, 'clear_after_read', true),
  };
  return ([size]) => [
    Value.ofHeld('resource', new TensorArray(dtype, shape, scalar(size!), options)),
    flow(),
  ];
};

const gradientArray: KernelBinder = (operation) => {
  const source = stringAttr(operation, 'source');
  return ([handle]) => [arrayOf(operation, handle!).gradient(source), flow()];
};

/** Sets an element, which stays the caller's, or adds to it. */
function writer(
  operation: Operation,
): (array: TensorArray, at: number, value: Value, runtime: TaskRuntime) => void {
  const add = BINARY_KERNELS['AddV2']!(operation);
  return (array, at, value, runtime) => {
    checkElement(operation, array, value);
    if (at < 0 || (at >= array.elements.length && !array.options.mayGrow)) {
      throw invalid(operation, `an index below ${array.elements.length}`, String(at));
    }
    const before = array.elements[at];
    if (before === undefined) array.set(at, value.retain());
    else if (array.options.sumsUp) array.set(at, sum(add, before, value, runtime));
    else throw invalid(operation, 'an element that was not set yet', `element ${at} a second time`);
  };
}

function sum(add: BoundKernel, a: Value, b: Value, runtime: TaskRuntime): Value {
  return (add([a, b], runtime) as readonly Value[])[0]!;
}

const write: KernelBinder = (operation) => {
  const put = writer(operation);
  return ([handle, index, value], runtime) => {
    put(arrayOf(operation, handle!), scalar(index!), value!, runtime);
    return [flow()];
  };
};

const scatter: KernelBinder = (operation) => {
  const put = writer(operation);
  return ([handle, indices, value], runtime) => {
    const array = arrayOf(operation, handle!);
    const rows = rowsOf(operation, value!, runtime.backend);
    integers(indices!).forEach((at, i) => {
      put(array, at, rows[i]!, runtime);
    });
    for (const row of rows) row.release();
    return [flow()];
  };
};

/** Gives an element out, which the caller owns. */
function take(operation: Operation, array: TensorArray, at: number): Value {
  const value = elementAt(operation, array, at, null);
  if (array.options.readsOnce) {
    array.elements[at]?.release();
    array.elements[at] = undefined;
  }
  return value;
}

const read: KernelBinder =
  (operation) =>
  ([handle, index]) => [take(operation, arrayOf(operation, handle!), scalar(index!))];

const gather: KernelBinder = (operation) => {
  const shape = shapeOrNullAttr(operation, 'element_shape');
  return ([handle, indices], { backend }) => [
    gathered(operation, arrayOf(operation, handle!), integers(indices!), shape, backend),
  ];
};

function gathered(
  operation: Operation,
  array: TensorArray,
  indices: readonly number[],
  shape: Shape,
  backend: BackendWasm,
): Value {
  if (indices.length === 0) {
    const known = [array.shape, shape].find(isFullyKnown);
    if (known === undefined) throw invalid(operation, 'elements of a known shape', 'no element');
    return hostOutput(array.dtype, [0, ...known]).value;
  }
  const parts = indices.map((at) => take(operation, array, at));
  const value = stacked(operation, parts, 0, backend);
  for (const part of parts) part.release();
  return value;
}

const size: KernelBinder =
  (operation) =>
  ([handle]) => [integerScalar('int32', arrayOf(operation, handle!).elements.length)];

const close: KernelBinder =
  (operation) =>
  ([handle]) => {
    arrayOf(operation, handle!).release();
    return [];
  };

export const TENSOR_ARRAY_KERNELS: KernelTable = {
  TensorArrayV3: tensorArray,
  TensorArrayGradV3: gradientArray,
  TensorArrayWriteV3: write,
  TensorArrayReadV3: read,
  TensorArrayScatterV3: scatter,
  TensorArrayGatherV3: gather,
  TensorArraySizeV3: size,
  TensorArrayCloseV3: close,
};
