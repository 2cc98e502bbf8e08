/** What identifies a collective: its group's size and key, and its own key in the group. Tasks meet where these are the same. */
import type { Operation, Tensor } from '../../graph/operation.js';

export interface CollectiveKeys {
  readonly size: number;
  readonly group: number;
  readonly instance: number;
}

const TYPES = new Set(['CollectiveReduceV2', 'CollectiveGatherV2']);

export function isCollective(type: string): boolean {
  return TYPES.has(type);
}

/** The name of the meeting, the same on all tasks. */
export function collectiveKey({ group, instance }: CollectiveKeys): string {
  return `collective|${group}|${instance}`;
}

/** The keys of an operation, if it is a collective and they are constants. */
export function keysOf({ type, inputs }: Operation): CollectiveKeys | undefined {
  if (!isCollective(type)) return undefined;
  const [size, group, instance] = [1, 2, 3].map((position) => constantOf(inputs[position]));
  if (size === undefined || group === undefined || instance === undefined) return undefined;
  return { size, group, instance };
}

function constantOf(tensor: Tensor | undefined): number | undefined {
  const value = tensor?.operation.attributes.get('value');
  if (value?.kind !== 'tensor' || value.value.dtype !== 'int32') return undefined;
  const { bytes } = value.value;
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getInt32(0, true);
}
