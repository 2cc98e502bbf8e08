/** Running rewritten graphs. */

export type { LagRecord } from './background-rounds.js';
export type { Batches } from './batch-source.js';
export type { CheckpointFormat } from './checkpoint-format.js';
export { type EmbeddedSessionOptions, type EmbeddedTask, openEmbeddedSession } from './embedded/open.js';
export type { TensorData, TrafficRecord } from './executor.js';
export type { RunPlan } from './request.js';
export type { UnevenBatches } from './rounds.js';
export { type CheckpointOptions, type RunRequest, type RunResult, Session } from './session.js';
export { SPAN_KINDS, type SpanKind, type TaskTrace, type TraceSpan } from './trace.js';
export type { TaskEnd, TrainingEnd, TrainRequest, Uneven } from './train.js';
