/** The digest of a run: the same on every task that was given the same graph, strategy and cluster. */
import { createHash } from 'node:crypto';
import { type ClusterSpec, printCluster } from '../cluster/cluster-spec.js';
import { canonicalStrategy } from '../strategy/codec.js';
import type { ResolvedStrategy } from '../strategy/strategy.js';
import type { RollCall } from './plan.js';

/** Version of graph.pb, plan.json and the names under which tasks meet. */
export const FORMAT = 1;

/** SHA-256, hexadecimal, over format, input, strategy and cluster, each with its length before it; where data may be uneven also over what then becomes of the run. */
export function runDigest(
  input: Uint8Array,
  strategy: ResolvedStrategy,
  cluster: ClusterSpec,
  uneven?: RollCall['uneven'],
): string {
  const hash = createHash('sha256');
  const utf8 = new TextEncoder();
  const texts = [
    `gradsync ${FORMAT}`,
    canonicalStrategy(strategy),
    printCluster(cluster),
    ...(uneven === undefined ? [] : [uneven]),
  ];
  for (const part of [input, ...texts.map((each) => utf8.encode(each))]) {
    hash.update(`${part.byteLength}:`);
    hash.update(part);
  }
  return hash.digest('hex');
}
