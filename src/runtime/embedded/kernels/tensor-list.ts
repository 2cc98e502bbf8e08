/** Tensor lists: what functional loops keep their values in. A list is a value: an operation that changes one gives another. */
import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';
import { attr } from '../../../graph/attributes.js';
import type { DType } from '../../../graph/dtype.js';
import { Operation } from '../../../graph/operation.js';
import { isFullyKnown, type Shape } from '../../../graph/shape.js';
import type { BoundKernel, KernelBinder, KernelTable } from '../kernel.js';
import { Value } from '../value.js';
import { stacked } from './array.js';
import { intAttr, invalid, typeAttr } from './attributes.js';
import { BINARY_KERNELS } from './binary.js';
import { checkElement, ElementList, elementAt, listOf, rowsOf } from './element-list.js';
import { FILL_KERNELS } from './fill.js';
import { hostOutput, integerScalar, integers, integerVector, scalar } from './host.js';

function listValue(dtype: DType, shape: Shape, elements: (Value | undefined)[]): Value {
  return Value.ofHeld('variant', new ElementList(dtype, shape, elements));
}

/** A shape as a tensor: a scalar -1 knows nothing, a vector has -1 where a dimension is unknown. */
function shapeOf(value: Value): Shape {
  return value.shape.length === 0 ? null : integers(value);
}

/** The number of the operation's length input, 0 or more. */
function length(operation: Operation, value: Value): number {
  const count = scalar(value);
  if (count < 0) throw invalid(operation, 'a length of 0 or more', String(count));
  return count;
}

const emptyList: KernelBinder = (operation) => {
  const dtype = typeAttr(operation, 'element_dtype');
  return ([shape]) => [listValue(dtype, shapeOf(shape!), [])];
};

const reserve: KernelBinder = (operation) => {
  const dtype = typeAttr(operation, 'element_dtype');
  return ([shape, count]) => [
    listValue(
      dtype,
      shapeOf(shape!),
      new Array<Value | undefined>(length(operation, count!)).fill(undefined),
    ),
  ];
};

const pushBack: KernelBinder =
  (operation) =>
  ([input, element]) => {
    const list = listOf(operation, input!);
    checkElement(operation, list, element!);
    return [listValue(list.dtype, list.shape, [...list.retained(), element!.retain()])];
  };

const popBack: KernelBinder =
  (operation) =>
  ([input, shape]) => {
    const list = listOf(operation, input!);
    const last = elementAt(operation, list, list.elements.length - 1, shapeOf(shape!));
    const rest = list.elements.slice(0, -1).map((element) => element?.retain());
    return [listValue(list.dtype, list.shape, rest), last];
  };

const getItem: KernelBinder =
  (operation) =>
  ([input, index, shape]) => [
    elementAt(operation, listOf(operation, input!), scalar(index!), shapeOf(shape!)),
  ];

const setItem: KernelBinder =
  (operation) =>
  ([input, index, element]) => {
    const list = listOf(operation, input!);
    const at = scalar(index!);
    checkElement(operation, list, element!);
    if (at < 0 || at >= list.elements.length) {
      throw invalid(operation, `an index below ${list.elements.length}`, String(at));
    }
    const elements = list.retained();
    elements[at]?.release();
    elements[at] = element!.retain();
    return [listValue(list.dtype, list.shape, elements)];
  };

const resize: KernelBinder =
  (operation) =>
  ([input, size]) => {
    const list = listOf(operation, input!);
    const count = length(operation, size!);
    const elements = Array.from({ length: count }, (_, i) => list.elements[i]?.retain());
    return [listValue(list.dtype, list.shape, elements)];
  };

/** Elements of a list as one tensor; of an empty one, none of the shape that is known. */
function stackOf(
  operation: Operation,
  list: ElementList,
  indices: readonly number[],
  shape: Shape,
  backend: BackendWasm,
): Value {
  if (indices.length === 0) {
    const known = [shape, list.shape].find(isFullyKnown);
    if (known === undefined) throw invalid(operation, 'elements of a known shape', 'no element');
    return hostOutput(list.dtype, [0, ...known]).value;
  }
  const parts = indices.map((at) => elementAt(operation, list, at, shape));
  try {
    return stacked(operation, parts, 0, backend);
  } finally {
    for (const part of parts) part.release();
  }
}

const stack: KernelBinder = (operation) => {
  const count = intAttr(operation, 'num_elements', -1);
  return ([input, shape], { backend }) => {
    const list = listOf(operation, input!);
    if (count >= 0 && count !== list.elements.length) {
      throw invalid(operation, `${count} elements`, String(list.elements.length));
    }
    return [stackOf(operation, list, [...list.elements.keys()], shapeOf(shape!), backend)];
  };
};

const gather: KernelBinder =
  (operation) =>
  ([input, indices, shape], { backend }) => [
    stackOf(operation, listOf(operation, input!), integers(indices!), shapeOf(shape!), backend),
  ];

const fromTensor: KernelBinder = (operation) => {
  const dtype = typeAttr(operation, 'element_dtype');
  return ([tensor, shape], { backend }) => [
    listValue(dtype, shapeOf(shape!), rowsOf(operation, tensor!, backend)),
  ];
};

const scatter: KernelBinder = (operation) => {
  const dtype = typeAttr(operation, 'element_dtype');
  return ([tensor, indices, shape, count], { backend }) => {
    const at = integers(indices!);
    const rows = rowsOf(operation, tensor!, backend);
    const given = count === undefined ? -1 : scalar(count);
    const size = given >= 0 ? given : 1 + Math.max(-1, ...at);
    const elements = new Array<Value | undefined>(size).fill(undefined);
    at.forEach((index, i) => {
      elements[index]?.release();
      elements[index] = rows[i]!;
    });
    return [listValue(dtype, shapeOf(shape!), elements)];
  };
};

const listLength: KernelBinder =
  (operation) =>
  ([input]) => [integerScalar('int32', listOf(operation, input!).elements.length)];

const elementShape: KernelBinder = (operation) => {
  const dtype = typeAttr(operation, 'shape_type', { allowed: ['int32', 'int64'] });
  return ([input]) => {
    const { shape } = listOf(operation, input!);
    return [shape === null ? integerScalar(dtype, -1) : integerVector(dtype, shape)];
  };
};

/** Sums of lists, element by element; one that was not set counts as zeros. */
const addLists: KernelBinder = (operation) => {
  const kernels = new Map<DType, BoundKernel>();
  return (inputs, runtime) => {
    const lists = inputs.map((value) => listOf(operation, value));
    const [{ dtype, shape }] = lists as [ElementList];
    const add = kernels.get(dtype) ?? additionOf(operation, dtype);
    kernels.set(dtype, add);
    const size = Math.max(...lists.map(({ elements }) => elements.length));
    const elements = Array.from({ length: size }, (_, i) => {
      const parts = lists.flatMap(({ elements }) => elements[i] ?? []);
      return parts.length === 0 ? undefined : (add(parts, runtime) as readonly Value[])[0];
    });
    return [listValue(dtype, shape, elements)];
  };
};

/** The addition of elements, for an operation that adds lists of them. */
function additionOf({ name, type, attributes, id }: Operation, dtype: DType): BoundKernel {
  const changed = attributes.with({ T: attr.type(dtype) });
  return BINARY_KERNELS['AddN']!(new Operation({ name, type, attributes: changed }, id));
}

/** Zeros for each element that was set. */
const zeroList: KernelBinder =
  (operation) =>
  ([input]) => {
    const { dtype, shape, elements } = listOf(operation, input!);
    const zeros = elements.map((element) => element && hostOutput(dtype, element.shape).value);
    return [listValue(dtype, shape, zeros)];
  };

/** The kernel for lists where an operation's `T` is variant, and the one for numbers otherwise. */
function orLists(type: string, table: KernelTable, lists: KernelBinder): KernelBinder {
  return (operation) =>
    (typeAttr(operation, 'T', { fallback: 'float32' }) === 'variant' ? lists : table[type]!)(operation);
}

export const TENSOR_LIST_KERNELS: KernelTable = {
  EmptyTensorList: emptyList,
  TensorListReserve: reserve,
  TensorListPushBack: pushBack,
  TensorListPopBack: popBack,
  TensorListGetItem: getItem,
  TensorListSetItem: setItem,
  TensorListResize: resize,
  TensorListStack: stack,
  TensorListGather: gather,
  TensorListFromTensor: fromTensor,
  TensorListScatterV2: scatter,
  TensorListScatter: scatter,
  TensorListLength: listLength,
  TensorListElementShape: elementShape,
  AddN: orLists('AddN', BINARY_KERNELS, addLists),
  ZerosLike: orLists('ZerosLike', FILL_KERNELS, zeroList),
};
