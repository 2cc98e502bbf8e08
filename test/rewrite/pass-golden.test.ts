/**
 * What each pass does to the graph, as text: the lines that it took out (`-`), put in or put in the place of others (`+`), for small cases that
 * together meet every pass. After a change that is meant: `UPDATE_GOLDEN=1 npx ava dist/test/rewrite/pass-golden.test.js`.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import test from 'ava';
import type { Graph } from '../../src/graph/graph.js';
import { decodeGraphFile } from '../../src/graph/index.js';
import { printOperation } from '../../src/graph/print.js';
import { readTrainingGraph } from '../../src/graph/read-training-graph.js';
import { PassLog, type PassLogEntry, rewriteEach } from '../../src/rewrite/index.js';
import { fixtureNamed, graphPath } from '../helpers/fixtures.js';
import { projectPath } from '../helpers/paths.js';
import { clusterOf, strategyFor } from '../helpers/rewritten.js';

/** Follows a graph from pass to pass. */
class Following extends PassLog {
  readonly #graph: Graph;
  #before: ReadonlyMap<string, string>;
  #text = '';

  constructor(graph: Graph) {
    super();
    this.#graph = graph;
    this.#before = linesOf(graph);
  }

  get text(): string {
    return this.#text;
  }

  override add(entry: PassLogEntry): void {
    super.add(entry);
    const after = linesOf(this.#graph);
    this.#text += `== ${entry.pass}\n`;
    for (const [name, line] of this.#before) if (!after.has(name)) this.#text += `- ${line}\n`;
    for (const [name, line] of after) if (this.#before.get(name) !== line) this.#text += `+ ${line}\n`;
    this.#before = after;
  }
}

function linesOf(graph: Graph): ReadonlyMap<string, string> {
  return new Map([...graph.operations()].map((operation) => [operation.name, printOperation(operation)]));
}

interface Case {
  readonly file: string;
  readonly fixture: string;
  readonly strategy: string;
  readonly task: number;
  readonly cpus?: string;
  readonly uneven?: 'stop' | 'join';
}

const CASES: readonly Case[] = [
  {
    file: 'synchronous',
    fixture: 'linear-regression-clipped.resource',
    strategy: '{"builder": "ps-lb", "proxy": true}',
    task: 1,
  },
  {
    file: 'replicas',
    fixture: 'linear-regression.resource',
    strategy: 'ps-lb',
    task: 0,
    cpus: 'cpus: [0, 1]',
  },
  {
    file: 'shards',
    fixture: 'words-sgd.resource',
    strategy: '{"builder": "partitioned-ps", "shards": 2, "minShardBytes": 64}',
    task: 0,
  },
  {
    file: 'staleness',
    fixture: 'linear-regression.resource',
    strategy: '{"builder": "ps-lb", "staleness": 1}',
    task: 0,
    uneven: 'join',
  },
  { file: 'parallax', fixture: 'words-adam-clipped.resource', strategy: 'parallax', task: 1 },
  {
    file: 'compressed',
    fixture: 'linear-regression.resource',
    strategy: '{"builder": "all-reduce", "compressor": "float16-error-feedback"}',
    task: 0,
  },
  {
    file: 'asynchronous',
    fixture: 'linear-regression.resource',
    strategy: '{"builder": "ps-lb", "sync": false}',
    task: 0,
  },
];
const TASKS = 2;

const met = new Set<string>();

for (const { file, fixture, strategy, task, cpus = 'cpus: [0]', uneven } of CASES) {
  test.serial(`${file}: what each pass does to ${fixture} is as it was`, (t) => {
    const training = readTrainingGraph(decodeGraphFile(readFileSync(graphPath(fixtureNamed(fixture)))));
    const cluster = clusterOf(TASKS, cpus);
    const resolved = strategyFor(training, TASKS, strategy, cluster);
    const log = new Following(training.graph);
    const [digest] = rewriteEach(
      training,
      resolved,
      cluster,
      [task],
      { log, uneven },
      ({ plan }) => plan.digest,
    );
    for (const { pass } of log.entries) met.add(pass);
    const text = log.text.replaceAll(digest!, '<digest>');
    const path = projectPath('test', 'golden', 'passes', `${file}.txt`);
    if (process.env['UPDATE_GOLDEN'] !== undefined) writeFileSync(path, text);
    t.is(text, readFileSync(path, 'utf8'));
  });
}

test.serial('these cases meet every pass', (t) => {
  const source = readFileSync(projectPath('src', 'rewrite', 'pipeline.ts'), 'utf8');
  const passes = new Set([...source.matchAll(/\bpass\(\s*'([a-z-]+)'/g)].map(([, name]) => name!));
  t.true(passes.size > 10, `${[...passes]}`);
  t.deepEqual(
    [...passes].filter((name) => !met.has(name)),
    [],
  );
});
