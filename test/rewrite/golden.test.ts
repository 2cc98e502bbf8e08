/** The text of rewritten graphs, whole. After a change that is meant: `UPDATE_GOLDEN=1 npx ava dist/test/rewrite/golden.test.js`. */
import { readFileSync, writeFileSync } from 'node:fs';
import test from 'ava';
import { decodeGraphFile, printGraph } from '../../src/graph/index.js';
import type { Operation } from '../../src/graph/operation.js';
import { readTrainingGraph } from '../../src/graph/read-training-graph.js';
import { fixtureNamed, graphPath } from '../helpers/fixtures.js';
import { projectPath } from '../helpers/paths.js';
import { rewrittenFor } from '../helpers/rewritten.js';

/** What the rewriting added or rewired, and all that changes state. */
function isOfInterest(operation: Operation): boolean {
  const { origin, inputs, controlInputs, type } = operation;
  const isFedByNew = inputs.some((tensor) => tensor.operation.origin !== undefined);
  return origin !== undefined || isFedByNew || controlInputs.length > 0 || /^Var|Apply|Assign/.test(type);
}

interface Variant {
  readonly replicas?: number;
  /** The strategy, and what the file of such a text is called. */
  readonly strategy?: readonly [name: string, strategy: string];
  readonly uneven?: 'stop' | 'join';
}

const isGolden = test.macro<[fixture: string, tasks: number, task: number, variant?: Variant]>({
  exec: (
    t,
    fixture,
    tasks,
    task,
    { replicas = 1, strategy: [suffix, strategy] = ['', 'ps-lb'], uneven = undefined } = {},
  ) => {
    const training = readTrainingGraph(decodeGraphFile(readFileSync(graphPath(fixtureNamed(fixture)))));
    const cpus = Array.from({ length: replicas }, (_, i) => i);
    const { graph, plan } = rewrittenFor(training, tasks, task, {
      devices: `cpus: [${cpus}]`,
      strategy,
      uneven,
    });
    const text = printGraph(graph, { where: isOfInterest }).replaceAll(plan.digest, '<digest>');
    const path = projectPath(
      'test',
      'golden',
      `${fixture}.task${task}of${tasks}${replicas > 1 ? `x${replicas}` : ''}${suffix}${uneven === undefined ? '' : `.${uneven}`}.txt`,
    );
    if (process.env['UPDATE_GOLDEN'] !== undefined) writeFileSync(path, text);
    t.is(text, readFileSync(path, 'utf8'));
  },
  title: (
    _,
    fixture,
    tasks,
    task,
    { replicas = 1, strategy: [, strategy] = ['', 'ps-lb'], uneven = undefined } = {},
  ) =>
    `${fixture}, task ${task} of ${tasks} with ${replicas} replicas, ${strategy}${uneven === undefined ? '' : `, data uneven: ${uneven}`}, is as it was`,
});

test(isGolden, 'linear-regression.resource', 1, 0);
test(isGolden, 'linear-regression.resource', 2, 0);
test(isGolden, 'linear-regression.resource', 2, 1);
test(isGolden, 'words-adam.resource', 2, 0);
test(isGolden, 'spam.reference', 2, 1);
test(isGolden, 'spam-clipped.resource', 2, 0);
test(isGolden, 'spam-clipped.resource', 2, 1);
test(isGolden, 'linear-regression.resource', 1, 0, { replicas: 2 });
test(isGolden, 'linear-regression.resource', 2, 1, { replicas: 2 });
test(isGolden, 'words-sgd.resource', 1, 0, { replicas: 2 });

const ASYNCHRONOUS = ['.asynchronous', '{"builder": "ps-lb", "sync": false}'] as const;
test(isGolden, 'linear-regression.resource', 2, 0, { strategy: ASYNCHRONOUS });
test(isGolden, 'linear-regression-clipped.resource', 2, 1, { strategy: ASYNCHRONOUS });
test(isGolden, 'decay-adagrad.resource', 2, 1, { strategy: ASYNCHRONOUS });

const STALE = ['.staleness', '{"builder": "ps-lb", "staleness": 2}'] as const;
test(isGolden, 'linear-regression.resource', 2, 0, { strategy: STALE });
test(isGolden, 'linear-regression.resource', 2, 1, { strategy: STALE });
test(isGolden, 'words-adam.resource', 2, 0, { strategy: STALE });

const PROXIES = ['.proxy', '{"builder": "ps-lb", "proxy": true}'] as const;
test(isGolden, 'linear-regression.resource', 2, 0, { strategy: PROXIES });
test(isGolden, 'linear-regression.resource', 2, 1, { strategy: PROXIES });
test(isGolden, 'decay-adam.reference', 2, 1, { strategy: PROXIES });

const ALL_REDUCE = ['.all-reduce', 'all-reduce'] as const;
test(isGolden, 'linear-regression.resource', 2, 0, { strategy: ALL_REDUCE });
test(isGolden, 'linear-regression.resource', 2, 1, { strategy: ALL_REDUCE });
test(isGolden, 'spam.resource', 2, 1, { strategy: ALL_REDUCE });
test(isGolden, 'linear-regression.resource', 2, 1, { replicas: 2, strategy: ALL_REDUCE });
const LARGEST = [
  '.top-k',
  '{"builder": "all-reduce", "compressor": "top-k-error-feedback", "k": 0.25}',
] as const;
test(isGolden, 'shared-gradient.resource', 2, 1, { strategy: LARGEST });
const SHARDS = ['.partition', '{"builder": "partitioned-ps", "shards": 2, "minShardBytes": 64}'] as const;
test(isGolden, 'words-sgd.resource', 1, 0, { strategy: SHARDS });
test(isGolden, 'words-adam.reference', 2, 0, { strategy: SHARDS });
test(isGolden, 'spam-clipped.resource', 2, 1, { strategy: SHARDS });
test(isGolden, 'words-adam.resource', 2, 0, { uneven: 'join' });
test(isGolden, 'linear-regression.resource', 2, 0, { strategy: STALE, uneven: 'join' });
