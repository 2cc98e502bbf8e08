/** Gathers: which axis they pick along, as far as the graph tells. */
import type { Operation } from '../graph/operation.js';

const GATHERS = new Set(['Gather', 'GatherV2', 'ResourceGather']);

/** Whether an operation picks rows of input 0 by the indices of input 1. */
export function isGather({ type }: Operation): boolean {
  return GATHERS.has(type);
}

/** The axis that a gather picks along. */
export function gatherAxis({ type, inputs }: Operation): number | undefined {
  if (type !== 'GatherV2') return 0;
  const value = inputs[2]?.operation.attributes.get('value');
  if (value?.kind !== 'tensor' || value.value.shape.length > 0) return undefined;
  const { dtype, bytes } = value.value;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return dtype === 'int64' ? Number(view.getBigInt64(0, true)) : view.getInt32(0, true);
}

/** Whether it picks for each of several batches apart. */
export function isBatched({ attributes }: Operation): boolean {
  const batch = attributes.get('batch_dims');
  return batch?.kind === 'int' && batch.value !== 0n;
}
