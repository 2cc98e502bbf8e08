/** Tensors that are kept in parts, one per partition of a variable: the checks of the parts, and putting them together. */
import { elementCount } from '../../graph/shape.js';
import { damaged } from './damage.js';
import type { Slice } from './entry.js';

/** Begin and size of a part along every axis. */
export interface Part {
  readonly starts: readonly number[];
  readonly shape: readonly number[];
}

/** Parts of a tensor of that shape; DATA_LOSS unless they hold every element exactly once. */
export function partsOf(
  slices: readonly Slice[],
  shape: readonly number[],
  file: string,
  tensor: string,
): readonly Part[] {
  const parts = slices.map((slice) => ({
    starts: slice.map(({ start, length }) => (length === undefined ? 0 : start)),
    shape: slice.map(({ length }, axis) => length ?? shape[axis] ?? 0),
  }));
  const whole = elementCount(shape);
  const outside = parts.filter((part) => !isInside(part, shape)).length;
  const sum = parts.reduce((total, part) => total + elementCount(part.shape), 0);
  const overlap = parts.some((part, i) => parts.slice(i + 1).some((other) => meet(part, other)));
  if (outside === 0 && sum === whole && !overlap) return parts;
  const received = `${sum} elements in ${parts.length} parts, ${outside} of them outside${overlap ? ', that overlap' : ''}`;
  throw damaged(file, `parts that make up [${shape}], ${whole} elements`, received, tensor);
}

function isInside({ starts, shape: sizes }: Part, shape: readonly number[]): boolean {
  return starts.length === shape.length && shape.every((dim, axis) => starts[axis]! + sizes[axis]! <= dim);
}

function meet(a: Part, b: Part): boolean {
  return a.starts.every((start, axis) => {
    const other = b.starts[axis]!;
    return start < other + b.shape[axis]! && other < start + a.shape[axis]!;
  });
}

/** Copies the bytes of a part to their places in the whole tensor. */
export function copyPart(
  whole: Uint8Array,
  shape: readonly number[],
  { starts, shape: sizes }: Part,
  bytes: Uint8Array,
  elementSize: number,
): void {
  const strides = shape.map((_, axis) => elementSize * elementCount(shape.slice(axis + 1)));
  // The trailing axes that the part has all of lie in one piece, together with the axis before them.
  let axis = shape.length - 1;
  while (axis > 0 && sizes[axis] === shape[axis]) axis--;
  const run = axis < 0 ? elementSize : sizes[axis]! * strides[axis]!;
  for (let from = 0, piece = 0; from < bytes.length; from += run, piece++) {
    let to = axis < 0 ? 0 : starts[axis]! * strides[axis]!;
    for (let outer = axis - 1, rest = piece; outer >= 0; outer--) {
      to += (starts[outer]! + (rest % sizes[outer]!)) * strides[outer]!;
      rest = Math.floor(rest / sizes[outer]!);
    }
    whole.set(bytes.subarray(from, from + run), to);
  }
}
