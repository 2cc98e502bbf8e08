/** Reading, rewriting and writing large training graphs for many tasks, against TensorFlow reading and writing the same file once. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeGraphDef, encodeGraphDef } from '../src/graph/index.js';
import { transform, transformAll } from '../src/index.js';
import { projectPath } from '../test/helpers/paths.js';
import { findTensorflow, runPython } from '../test/helpers/python.js';
import { syntheticGraph } from '../test/helpers/synthetic-graph.js';
import { type BenchCase, type BenchOptions, type BenchRow, type Samples, timeInTurn, toRow } from './case.js';

const RIVAL = 'TensorFlow: one parse, import and write';
const TASKS = 8;
const RESOURCES = { nodes: [{ address: 'localhost', cpus: [0], tasks: TASKS }] };
/** Operations and variables by size. */
const SIZES: Readonly<Record<string, { operations: number; variables: number }>> = {
  '10,000 operations': { operations: 10_000, variables: 100 },
  '100,000 operations': { operations: 100_000, variables: 1_000 },
};

/** The graph of a size as a file, in a folder that goes away afterwards. */
async function withGraph<T>(size: string, use: (folder: string, file: string) => Promise<T>): Promise<T> {
  const { operations, variables } = SIZES[size]!;
  const { graph } = syntheticGraph({ operations, variables, sparseEvery: 10 });
  const folder = mkdtempSync(join(tmpdir(), 'gradsync-bench-'));
  const file = join(folder, 'graph.pb');
  writeFileSync(file, encodeGraphDef(graph));
  try {
    verify(file, operations);
    return await use(folder, file);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** One task's graph as a user makes it: the whole command, from the start of its process to its end. */
function runCommand(size: string, { quick }: BenchOptions): Promise<BenchRow> {
  return withGraph(size, async (folder, file) => {
    const resources = join(folder, 'cluster.yml');
    writeFileSync(resources, JSON.stringify(RESOURCES));
    const command = ['transform', file, '--resources', resources, '--strategy', 'ps-lb', '--task', '0'];
    const script = projectPath('dist', 'src', 'launch', 'cli.js');
    const contestants = {
      ours: () => execFileSync(process.execPath, [script, ...command, '--out', join(folder, 'task0')]),
      limit: () => writeFileSync(join(folder, 'copy.pb'), readFileSync(file)),
    };
    const times = await timeInTurn(contestants, { rounds: quick ? 1 : 9, warmUp: 1 });
    const note = `gradsync transform for one of ${TASKS} tasks, ${perOperation(size, times.ours)}; the limit is copying the file`;
    const head = { case: 'rewrite', size, rival: RIVAL, note };
    return toRow(head, times.ours, await timeTensorFlow(file, quick), times.limit.median);
  });
}

/** All tasks' graphs in one process that is warm. */
function runAllTasks(size: string, { quick }: BenchOptions): Promise<BenchRow> {
  return withGraph(size, async (folder, file) => {
    const options = { graph: file, resources: RESOURCES, strategy: 'ps-lb' };
    const out = (task: number): string => join(folder, `out${task}.pb`);
    const contestants = {
      ours: () => {
        for (const { graph, plan } of transformAll(options)) writeFileSync(out(plan.task), graph);
      },
      limit: () => {
        for (let task = 0; task < TASKS; task++) writeFileSync(out(task), readFileSync(file));
      },
    };
    const times = await timeInTurn(contestants, { rounds: quick ? 2 : 15, warmUp: 2 });
    const note = `all ${TASKS} tasks in one warm process, ${perOperation(size, times.ours)}; the limit is copying the file ${TASKS} times`;
    const head = { case: `rewrite, all ${TASKS} tasks`, size, rival: RIVAL, note };
    return toRow(head, times.ours, await timeTensorFlow(file, quick), times.limit.median);
  });
}

const REPLICAS = 8;
/** As large as a ResNet-101 with its gradients, and a tenth of it. */
const REPLICATED: Readonly<Record<string, { operations: number; variables: number }>> = {
  '10,000 operations, 8 replicas': { operations: 10_000, variables: 40 },
  '100,000 operations, 8 replicas': { operations: 100_000, variables: 400 },
};

/** One task whose graph has a copy for each of eight devices, from a process that has done nothing before. */
async function runReplicas(size: string): Promise<BenchRow> {
  const { operations, variables } = REPLICATED[size]!;
  const { graph } = syntheticGraph({ operations, variables, sparseEvery: 10 });
  const bytes = encodeGraphDef(graph);
  const gpus = Array.from({ length: REPLICAS }, (_, i) => i);
  const resources = { nodes: [{ address: 'localhost', cpus: [0], gpus }] };
  const begin = performance.now();
  const result = transform({ graph: bytes, resources, strategy: 'ps-lb', task: 0 });
  const ours = performance.now() - begin;
  const copies = decodeGraphDef(result.graph).size;
  if (copies < operations * (REPLICAS / 2)) throw new Error('the graph was not replicated');
  const megabytes = Math.round(process.resourceUsage().maxRSS / 1024);
  const each = ((1000 * ours) / operations / REPLICAS).toFixed(1);
  const note = `${each} us per operation and replica, ${copies} operations written, at most ${megabytes} MB; the limit is copying as many bytes`;
  const head = { case: 'rewrite, replicas', size, rival: 'none', note };
  const before = performance.now();
  result.graph.slice();
  const limit = performance.now() - before;
  return toRow(head, { median: ours, p99: ours }, null, limit);
}

function perOperation(size: string, { median }: Samples): string {
  return `${((1000 * median) / SIZES[size]!.operations).toFixed(1)} us per operation`;
}

/** The chief's graph decodes, keeps every operation of the input and has an accumulator for some variable. */
function verify(file: string, operations: number): void {
  const { graph } = transform({ graph: file, resources: RESOURCES, strategy: 'ps-lb', task: 0 });
  const rewritten = decodeGraphDef(graph);
  const accumulators = [...rewritten.operations()].filter(({ type }) =>
    type.endsWith('ConditionalAccumulator'),
  );
  if (rewritten.size <= operations || accumulators.length === 0)
    throw new Error('the graph was not rewritten');
}

const TENSORFLOW_SCRIPT = `
import statistics, sys, time
import tensorflow as tf
times = []
for _ in range(int(sys.argv[3])):
  begin = time.perf_counter()
  definition = tf.compat.v1.GraphDef.FromString(open(sys.argv[1], 'rb').read())
  with tf.Graph().as_default() as graph:
    tf.import_graph_def(definition, name='')
  open(sys.argv[2], 'wb').write(graph.as_graph_def().SerializeToString())
  times.append(1000 * (time.perf_counter() - begin))
print(statistics.median(times))
`;

async function timeTensorFlow(file: string, quick: boolean): Promise<number | null> {
  const search = findTensorflow();
  if (!search.found) return null;
  const args = ['-c', TENSORFLOW_SCRIPT, file, `${file}.out`, quick ? '1' : '5'];
  return Number((await runPython(search.python, args)).stdout);
}

export const REWRITE_CASES: readonly BenchCase[] = [
  { name: 'rewrite', sizes: Object.keys(SIZES), run: runCommand },
  { name: `rewrite, all ${TASKS} tasks`, sizes: Object.keys(SIZES), run: runAllTasks },
  { name: 'rewrite, replicas', sizes: Object.keys(REPLICATED), run: runReplicas },
];
