/** All kernels on shared objects, one table per family. */
import type { SpanKind } from '../../trace.js';
import { ACCUMULATOR_KERNELS } from './accumulator.js';
import { COLLECTIVE_KERNELS } from './collective.js';
import { OPTIMIZER_KERNELS } from './optimizer.js';
import { QUEUE_KERNELS } from './queue.js';
import type { ResourceKernelTable } from './resource-kernel.js';
import { ROW_KERNELS } from './rows.js';
import { VARIABLE_KERNELS } from './variable.js';

export const RESOURCE_KERNELS: ResourceKernelTable = {
  ...VARIABLE_KERNELS,
  ...ROW_KERNELS,
  ...ACCUMULATOR_KERNELS,
  ...QUEUE_KERNELS,
  ...COLLECTIVE_KERNELS,
  ...OPTIMIZER_KERNELS,
};

/** Those that leave shared objects as they are. */
const READS = new Set([
  'VarHandleOp',
  'VariableV2',
  'Variable',
  'ReadVariableOp',
  'VarIsInitializedOp',
  'IsVariableInitialized',
  'VariableShape',
  'ResourceGather',
  'ConditionalAccumulator',
  'ResourceConditionalAccumulator',
  'SparseConditionalAccumulator',
  'AccumulatorNumAccumulated',
  'ResourceAccumulatorNumAccumulated',
  'FIFOQueueV2',
  'FIFOQueue',
  'QueueSizeV2',
  'QueueSize',
  'QueueIsClosedV2',
  'QueueIsClosed',
]);

/** Whether operations of this type take a variable, an accumulator or a queue and leave it as it is. */
export function onlyReads(type: string): boolean {
  return READS.has(type);
}

/** Whether operations of this type change a variable, an accumulator or a queue. */
export function changesState(type: string): boolean {
  return Object.hasOwn(RESOURCE_KERNELS, type) && !onlyReads(type);
}

/** What the time of an operation of this type is spent on. */
export function spanKind(type: string): SpanKind {
  if (Object.hasOwn(OPTIMIZER_KERNELS, type)) return 'update';
  return Object.hasOwn(RESOURCE_KERNELS, type) ? 'copy' : 'kernel';
}
