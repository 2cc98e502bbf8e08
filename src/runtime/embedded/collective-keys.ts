/** What identifies a collective: its group's size and key, and its own key in the group. Tasks meet where these are the same. */
import type { Operation, Tensor } from '../../graph/operation.js';
import { intAttr } from './kernels/attributes.js';

export interface CollectiveKeys {
  readonly size: number;
  readonly group: number;
  readonly instance: number;
}

/** Those whose keys are attributes, and those that take them as inputs. */
const KEYED = new Set(['CollectiveReduce', 'CollectiveGather']);
const TAKING_KEYS = new Set(['CollectiveReduceV2', 'CollectiveGatherV2']);

export function isCollective(type: string): boolean {
  return KEYED.has(type) || TAKING_KEYS.has(type);
}

/** How many take part in a collective, if that is known before it runs. */
export function membersOf(operation: Operation): number | undefined {
  return KEYED.has(operation.type) ? intAttr(operation, 'group_size') : constantOf(operation.inputs[1]);
}

/** The name of the meeting, the same on all tasks. */
export function collectiveKey({ group, instance }: CollectiveKeys): string {
  return `collective|${group}|${instance}`;
}

/** The keys of an operation, if it is a collective and they are known before it runs. */
export function keysOf(operation: Operation): CollectiveKeys | undefined {
  const { type, inputs } = operation;
  if (KEYED.has(type)) return keysIn(operation);
  if (!TAKING_KEYS.has(type)) return undefined;
  const [size, group, instance] = [1, 2, 3].map((position) => constantOf(inputs[position]));
  if (size === undefined || group === undefined || instance === undefined) return undefined;
  return { size, group, instance };
}

/** The keys that are attributes. */
export function keysIn(operation: Operation): CollectiveKeys {
  return {
    size: intAttr(operation, 'group_size'),
    group: intAttr(operation, 'group_key'),
    instance: intAttr(operation, 'instance_key'),
  };
}

function constantOf(tensor: Tensor | undefined): number | undefined {
  const value = tensor?.operation.attributes.get('value');
  if (value?.kind !== 'tensor' || value.value.dtype !== 'int32') return undefined;
  const { bytes } = value.value;
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getInt32(0, true);
}
