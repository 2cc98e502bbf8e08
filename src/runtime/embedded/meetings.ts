/**
 * Meetings: the accumulators, queues and collectives through which tasks exchange gradients and tokens. A step in which one task comes to a meeting and
 * another does not would wait until its deadline.
 */
import type { Graph } from '../../graph/graph.js';
import type { Meeting } from '../executor.js';
import { collectiveKey, keysOf } from './collective-keys.js';
import { allNodes, type ExecutionPlan } from './execution-plan.js';
import { addressOf, handleOf, resourceKey, resourceKind } from './handles.js';

const GIVES_GRADIENT = new Set([
  'AccumulatorApplyGradient',
  'ResourceAccumulatorApplyGradient',
  'SparseAccumulatorApplyGradient',
]);
const GIVES = new Set([...GIVES_GRADIENT, 'QueueEnqueueV2', 'QueueEnqueue']);
const TAKES = new Set([
  'AccumulatorTakeGradient',
  'ResourceAccumulatorTakeGradient',
  'SparseAccumulatorTakeGradient',
  'QueueDequeueV2',
  'QueueDequeue',
]);

/** Whether operations of this type give a gradient to an accumulator. */
export function givesGradient(type: string): boolean {
  return GIVES_GRADIENT.has(type);
}

/** Keys of those that a task's graph names. */
export function meetingsOf(graph: Graph, task: number): string[] {
  const keys = new Set<string>();
  for (const operation of graph.operations()) {
    const kind = resourceKind(operation);
    const collective = keysOf(operation);
    if (collective !== undefined) keys.add(collectiveKey(collective));
    if (kind !== undefined && kind !== 'variable') keys.add(resourceKey(kind, addressOf(operation, task)));
  }
  return [...keys];
}

/** What a program gives and takes when it runs. */
export function meetingsIn(plan: ExecutionPlan, task: number): Meeting[] {
  const meetings = new Map<string, { -readonly [K in keyof Meeting]: Meeting[K] }>();
  for (const { operation } of allNodes(plan)) {
    const collective = keysOf(operation);
    if (collective !== undefined) {
      const key = collectiveKey(collective);
      meetings.set(key, { key, kind: 'collective', gives: 1, takes: 1 });
      continue;
    }
    const handle = operation.inputs[0] && handleOf(operation.inputs[0]);
    const kind = handle && resourceKind(handle);
    if (handle === undefined || kind === undefined || kind === 'variable') continue;
    const key = resourceKey(kind, addressOf(handle, task));
    const meeting = meetings.get(key) ?? { key, kind, gives: 0, takes: 0 };
    if (GIVES.has(operation.type)) meeting.gives++;
    if (TAKES.has(operation.type)) meeting.takes++;
    if (meeting.gives + meeting.takes > 0) meetings.set(key, meeting);
  }
  return [...meetings.values()];
}
