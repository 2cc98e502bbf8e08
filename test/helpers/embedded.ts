/** Fixtures, rewritten for N tasks on one machine and ready for the embedded runtime. */
import { readFileSync } from 'node:fs';
import { makeResourceSpec, resolveCluster } from '../../src/cluster/index.js';
import { decodeGraphFile, encodeGraphDef } from '../../src/graph/index.js';
import { readTrainingGraph } from '../../src/graph/read-training-graph.js';
import { rewrite } from '../../src/rewrite/index.js';
import type { EmbeddedTask, RunRequest, Session } from '../../src/runtime/index.js';
import { findBuilder, resolveStrategy, summarize } from '../../src/strategy/index.js';
import { type Fixture, graphPath, readFeeds } from './fixtures.js';

/** Graph and plan of every task. */
export function rewriteFixture(fixture: Fixture, workers: number, strategy = 'ps-lb'): EmbeddedTask[] {
  const bytes = readFileSync(graphPath(fixture));
  const training = readTrainingGraph(decodeGraphFile(bytes));
  const cluster = resolveCluster(
    makeResourceSpec({ nodes: [{ address: 'localhost', cpus: [0], tasks: workers }] }),
  );
  const plan = findBuilder(strategy).build(summarize(training), cluster);
  const resolved = resolveStrategy(plan, training, cluster);
  return Array.from({ length: workers }, (_, task) => {
    const rewritten = rewrite(training, resolved, cluster, task, { input: bytes });
    return { graph: encodeGraphDef(rewritten.graph), plan: rewritten.plan };
  });
}

/** The requests of a training step: each worker's own share of the fixture's feeds. */
export function stepRequests(fixture: Fixture, workers: number): (step: number) => RunRequest[] {
  const feeds = readFeeds(fixture);
  return (step) =>
    Array.from({ length: workers }, (_, task) => ({
      feeds: Object.fromEntries(feeds(task, step)),
      fetches: [fixture.loss, fixture.trainOp],
    }));
}

/** Runs steps `from` up to, not including, `to`; gives the loss of each worker in each. */
export async function trainSteps(
  session: Session,
  fixture: Fixture,
  from: number,
  to: number,
): Promise<number[][]> {
  const requests = stepRequests(fixture, session.taskCount);
  const losses: number[][] = [];
  for (let step = from; step < to; step++) {
    const results = await session.run(requests(step));
    losses.push(results.map((result) => Number(result[fixture.loss]!.data[0])));
  }
  return losses;
}
