/** Builder Parallax: dense gradients are all-reduced; variables with sparse ones live on the server that holds the fewest bytes. */
import { type ClusterSpec, replicaDevices } from '../cluster/cluster-spec.js';
import { type AllReduceOptions, collectivePlans } from './all-reduce.js';
import type { StrategyBuilder } from './builder.js';
import { sortPlans } from './codec.js';
import type { ModelSummary } from './model-summary.js';
import { serverPlans } from './parameter-server.js';
import type { Strategy } from './strategy.js';

/** `options` are those of what is all-reduced. */
export function parallax(options: AllReduceOptions = {}): StrategyBuilder {
  return Object.freeze({
    name: 'parallax',
    build: ({ variables }: ModelSummary, cluster: ClusterSpec): Strategy => {
      const dense = variables.filter(({ gradient }) => gradient === 'dense');
      const sparse = variables.filter(({ gradient }) => gradient === 'sparse');
      const plans = [...collectivePlans(dense, options), ...serverPlans(sparse, cluster, {})];
      return Object.freeze({
        format: 1,
        builder: 'parallax',
        replicas: Object.freeze(replicaDevices(cluster).map((device) => device.name)),
        variables: Object.freeze(sortPlans(plans)),
      });
    },
  });
}
