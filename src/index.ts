/** The public names of gradsync. Everything else is under the subpaths `gradsync/graph`, `/cluster`, `/strategy`, `/rewrite`, `/runtime`, `/addon`, `/report`. */
export type { ResourceInput } from './cluster/index.js';
export {
  type Overview,
  openSession,
  planTraining,
  type SessionOptions,
  type TrainingOptions,
  type TransformOptions,
  type TransformResult,
  transform,
  transformAll,
} from './engine.js';
export { type ErrorCode, errorMessage, GradsyncError } from './errors.js';
export type { FeedOverride, Plan } from './rewrite/index.js';
export type {
  Batches,
  CheckpointOptions,
  RunRequest,
  RunResult,
  Session,
  TensorData,
  TrainingEnd,
  TrainRequest,
} from './runtime/index.js';
export type { BuilderChoice, Strategy, StrategyBuilder } from './strategy/index.js';
