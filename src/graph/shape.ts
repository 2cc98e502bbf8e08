/** Static shapes: `null` is an unknown rank, `-1` an unknown dimension. */
export type Shape = readonly number[] | null;

export function isFullyKnown(shape: Shape): shape is readonly number[] {
  return shape !== null && !shape.some((dim) => dim < 0);
}

/** Number of elements of a fully known shape; 1 for a scalar. */
export function elementCount(shape: readonly number[]): number {
  let count = 1;
  for (const dim of shape) count *= dim;
  return count;
}

/** `[2,?,3]`, `<unknown>`: TensorFlow's way of printing. */
export function printShape(shape: Shape): string {
  return shape === null ? '<unknown>' : `[${shape.map((dim) => (dim < 0 ? '?' : dim)).join(',')}]`;
}

/** Whether a fully known shape is one that `pattern` admits. */
export function isCompatible(shape: readonly number[], pattern: Shape): boolean {
  return (
    pattern === null ||
    (shape.length === pattern.length && pattern.every((dim, i) => dim < 0 || dim === shape[i]))
  );
}
