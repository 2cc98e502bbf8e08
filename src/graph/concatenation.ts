/**
 * The derivative of a concatenation, as differentiation writes it: `Slice(dy, ConcatOffset(axis, sizes):i, sizes[i])` for part i, or for
 * many parts `SplitV(dy, Squeeze(Slice(Pack(sizes), ...)), axis):i`. The sizes are those of the parts (`Shape`, `ShapeN`).
 */
import type { ForwardUse } from './forward-uses.js';
import { isConstant } from './op-catalog.js';
import type { Operation, Tensor } from './operation.js';

/** If `tensor` is the part of `taken`: the tensor of the whole that it is taken of. */
export function concatenated(tensor: Tensor, { forward, taken }: ForwardUse): Tensor | undefined {
  const parts = partsOf(forward);
  const { operation, index } = tensor;
  const [whole, second, third] = operation.inputs;
  if (operation.type === 'SplitV') {
    const sizes = packedSizes(second);
    return parts[index] === taken && areSizes(sizes, parts) ? whole : undefined;
  }
  if (operation.type !== 'Slice' || second?.operation.type !== 'ConcatOffset') return undefined;
  const sizes = second.operation.inputs.slice(1);
  const isPart = parts[second.index] === taken && sizes[second.index] === third;
  return isPart && areSizes(sizes, parts) ? whole : undefined;
}

/** What is concatenated: the axis comes last, in the older operation first. */
function partsOf({ type, inputs }: Operation): readonly Tensor[] {
  return type === 'Concat' ? inputs.slice(1) : inputs.slice(0, -1);
}

function packedSizes(tensor: Tensor | undefined): readonly Tensor[] {
  let at = tensor?.operation;
  while (at !== undefined && /^(Squeeze|Slice)$/.test(at.type)) at = at.inputs[0]?.operation;
  return at?.type === 'Pack' ? at.inputs : [];
}

function areSizes(sizes: readonly Tensor[], parts: readonly Tensor[]): boolean {
  return sizes.length === parts.length && sizes.every((size, i) => isSizeOf(size, parts[i]!));
}

/** A shape that is known is a constant. */
function isSizeOf({ operation: { type, inputs }, index }: Tensor, part: Tensor): boolean {
  return isConstant(type) || (/^Shape(N)?$/.test(type) && inputs[index] === part);
}
