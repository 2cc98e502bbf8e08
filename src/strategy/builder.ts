/** StrategyBuilder: a rule that turns the summary of a model and a cluster into a strategy. The same inputs give the same strategy. */
import type { ClusterSpec } from '../cluster/cluster-spec.js';
import type { ModelSummary } from './model-summary.js';
import type { Strategy } from './strategy.js';

export interface StrategyBuilder {
  /** The name under which people ask for it; `Strategy.builder` of what it makes. */
  readonly name: string;
  build(summary: ModelSummary, cluster: ClusterSpec): Strategy;
}
