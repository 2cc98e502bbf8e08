/** Operations that write into a copy of a tensor by index. */
import type { Operation } from '../../../graph/operation.js';
import { elementCount, printShape } from '../../../graph/shape.js';
import type { KernelBinder, KernelTable } from '../kernel.js';
import { invalid, typeAttr } from './attributes.js';
import { sameShape } from './broadcast.js';
import { rowsOf } from './gather.js';
import { numeric, output } from './host.js';

/** Pieces of the tensor are replaced, each at the coordinates that the last dimension of `indices` gives; of several for one the last stays. */
const update: KernelBinder = (operation) => {
  typeAttr(operation, 'Tindices', { allowed: ['int32', 'int64'] });
  return ([tensor, indices, updates], { backend }) => {
    const { shape } = tensor!;
    const depth = indices!.shape.at(-1) ?? 0;
    const piece = shape.slice(depth);
    const expected = [...indices!.shape.slice(0, -1), ...piece];
    if (depth > shape.length || indices!.shape.length === 0 || !sameShape(updates!.shape, expected)) {
      const received = `indices ${printShape(indices!.shape)} and updates ${printShape(updates!.shape)}`;
      throw invalid(operation, `coordinates and pieces of ${printShape(shape)}`, received);
    }
    const inner = elementCount(piece);
    const places = placesOf(operation, rowsOf(indices!), shape.slice(0, depth));
    const out = output(backend, tensor!.dtype, shape);
    const target = out.data as Float32Array;
    target.set(numeric(tensor!) as Float32Array);
    const source = numeric(updates!) as Float32Array;
    for (const [i, place] of places.entries()) {
      for (let n = 0; n < inner; n++) target[place * inner + n] = source[i * inner + n]!;
    }
    return [out.value];
  };
};

/** Which piece each coordinates mean, in row-major order. */
function placesOf(
  operation: Operation,
  coordinates: ArrayLike<number>,
  dims: readonly number[],
): readonly number[] {
  if (dims.length === 0) throw invalid(operation, 'coordinates of at least one dimension', 'of none');
  return Array.from({ length: coordinates.length / dims.length }, (_, i) =>
    dims.reduce((place, dim, d) => {
      const at = coordinates[i * dims.length + d]!;
      if (at >= 0 && at < dim) return place * dim + at;
      throw invalid(operation, `indices in [0, ${dim})`, String(at));
    }, 0),
  );
}

export const SCATTER_KERNELS: KernelTable = { TensorScatterUpdate: update };
