/** Lists of tensors, as loops keep them: what TensorFlow's tensor lists, tensor arrays, stacks and optionals have in common. */
import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';
import type { DType } from '../../../graph/dtype.js';
import type { Operation } from '../../../graph/operation.js';
import { isCompatible, isFullyKnown, printShape, type Shape } from '../../../graph/shape.js';
import type { Held, Value } from '../value.js';
import { invalid } from './attributes.js';
import { hostOutput } from './host.js';
import { pieces } from './slice.js';

/** Elements that a value owns; undefined where none was set. */
export class ElementList implements Held {
  readonly elements: (Value | undefined)[];
  readonly dtype: DType;
  readonly shape: Shape;

  /** Takes the elements over. */
  constructor(dtype: DType, shape: Shape, elements: (Value | undefined)[]) {
    this.dtype = dtype;
    this.shape = shape;
    this.elements = elements;
  }

  release(): void {
    for (const element of this.elements) element?.release();
    this.elements.length = 0;
  }

  /** What is known of the shape of an element that was not set. */
  shapeAt(_at: number): Shape {
    return this.elements.find((element) => element !== undefined)?.shape ?? null;
  }

  /** Elements of their own, for another list. */
  retained(): (Value | undefined)[] {
    return this.elements.map((element) => element?.retain());
  }
}

/** The list in a value, or INVALID_ARGUMENT. */
export function listOf(operation: Operation, value: Value): ElementList {
  if (value.held instanceof ElementList) return value.held;
  throw invalid(operation, 'a list of tensors', `${value.dtype} without one`);
}

/** An element, or zeros where none was set; the caller owns it. `shape` is what the operation says of it, beside what the list does. */
export function elementAt(operation: Operation, list: ElementList, at: number, shape: Shape): Value {
  if (at < 0 || at >= list.elements.length) {
    throw invalid(operation, `an index below ${list.elements.length}`, String(at));
  }
  return list.elements[at]?.retain() ?? zeros(operation, list, [shape, list.shape, list.shapeAt(at)]);
}

function zeros(operation: Operation, { dtype, shape }: ElementList, shapes: readonly Shape[]): Value {
  const known = shapes.find(isFullyKnown);
  if (known === undefined) {
    throw invalid(operation, 'an element that was set, or one of a known shape', printShape(shape));
  }
  return hostOutput(dtype, known).value;
}

/** Refuses an element of another dtype or shape than the list's. */
export function checkElement(operation: Operation, list: ElementList, value: Value): void {
  if (value.dtype === list.dtype && isCompatible(value.shape, list.shape)) return;
  const received = `${value.dtype}${printShape(value.shape)}`;
  throw invalid(operation, `an element ${list.dtype}${printShape(list.shape)}`, received);
}

/** The rows of a tensor, each a value of its own. */
export function rowsOf(operation: Operation, value: Value, backend: BackendWasm): Value[] {
  const [count, ...shape] = value.shape;
  if (count === undefined) throw invalid(operation, 'a tensor of at least one dimension', 'a scalar');
  return pieces(backend, value, 0, new Array<number>(count).fill(1), () => shape);
}
