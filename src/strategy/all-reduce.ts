/** Builder AllReduce: every replica keeps its variables, and all agree on the mean of the gradients. */
import { type ClusterSpec, replicaDevices } from '../cluster/cluster-spec.js';
import { excerpt, GradsyncError } from '../errors.js';
import type { StrategyBuilder } from './builder.js';
import { isPart, PART } from './json-cursor.js';
import type { ModelSummary, VariableSummary } from './model-summary.js';
import {
  type CollectivePlan,
  DEFAULT_K,
  type SPARSE_WAYS,
  type Strategy,
  TOP_K,
  type VariablePlan,
} from './strategy.js';

export interface AllReduceOptions {
  /** How many variables at most have one group number: dense gradients of a group travel in one transfer. Default 64. */
  readonly group?: number;
  /** Of dense gradients; slices travel as they are. Default none. */
  readonly compressor?: CollectivePlan['compressor'];
  /** Of top-k-error-feedback, as in CollectivePlan. Default 0.001. */
  readonly k?: number;
  /** Default auto. */
  readonly algorithm?: CollectivePlan['algorithm'];
  /** Of sparse gradients, as in CollectivePlan. Default auto. */
  readonly sparse?: (typeof SPARSE_WAYS)[number];
}

const GROUP_SIZE = 64;

export function allReduce(options: AllReduceOptions = {}): StrategyBuilder {
  return Object.freeze({
    name: 'all-reduce',
    build: ({ variables }: ModelSummary, cluster: ClusterSpec): Strategy =>
      Object.freeze({
        format: 1,
        builder: 'all-reduce',
        replicas: Object.freeze(replicaDevices(cluster).map((device) => device.name)),
        variables: Object.freeze(collectivePlans(variables, options)),
      }),
  });
}

/** Plans in the order of names, so that a group has neighbours, `options.group` of them. */
export function collectivePlans(
  variables: readonly VariableSummary[],
  options: AllReduceOptions,
): VariablePlan[] {
  const { group: size = GROUP_SIZE, compressor = 'none', algorithm = 'auto', sparse = 'auto' } = options;
  checkSize(size);
  checkK(options);
  const compression = compressor === TOP_K ? { compressor, k: options.k ?? DEFAULT_K } : { compressor };
  const way = sparse === 'auto' ? {} : { sparse };
  const sorted = [...variables].sort((a, b) => (a.name < b.name ? -1 : 1));
  return sorted.map(({ name, gradient }, i) =>
    Object.freeze({
      variable: name,
      synchronizer: Object.freeze({
        kind: 'collective',
        algorithm,
        ...(gradient === 'dense' ? compression : { compressor: 'none' as const }),
        group: Math.floor(i / size),
        ...(gradient === 'dense' ? {} : way),
      }),
    }),
  );
}

function checkSize(size: number): void {
  if (Number.isSafeInteger(size) && size > 0) return;
  throw new GradsyncError('INVALID_ARGUMENT', 'Option "group" of the strategy', {
    expected: 'an integer of at least 1: how many variables have one group number',
    received: excerpt(String(size)),
    remedy: 'give 1 to send every gradient by itself',
  });
}

function checkK({ k, compressor }: AllReduceOptions): void {
  if (k === undefined || (compressor === TOP_K && isPart(k))) return;
  throw new GradsyncError('INVALID_ARGUMENT', 'Option "k" of the strategy', {
    expected: compressor === TOP_K ? PART : `the compressor ${TOP_K} with it`,
    received: compressor === TOP_K ? excerpt(String(k)) : `"${compressor ?? 'none'}"`,
    remedy: 'correct it, or leave it out',
  });
}
