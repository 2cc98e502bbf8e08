/** The strategy room: the decision per variable how its gradients are aggregated, and the builders that make it. */
export { type AllReduceOptions, allReduce } from './all-reduce.js';
export type { StrategyBuilder } from './builder.js';
export { canonicalStrategy, decodeStrategy, encodeStrategy, parseStrategy, printStrategy } from './codec.js';
export { BUILDER_NAMES, type BuilderChoice, builderOf, findBuilder, fixedBuilder } from './find-builder.js';
export { type ModelSummary, summarize, type VariableSummary } from './model-summary.js';
export { parallax } from './parallax.js';
export {
  loadBalancedParameterServer,
  type ParameterServerOptions,
  parameterServer,
} from './parameter-server.js';
export {
  type PartitionOptions,
  partitionedAllReduce,
  partitionedParameterServer,
  type RandomAxisOptions,
  randomAxisPartitionedAllReduce,
  unevenPartitionedParameterServer,
} from './partitioned.js';
export { resolveStrategy } from './resolve.js';
export * from './strategy.js';
