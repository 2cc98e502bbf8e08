import { readFileSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { decodeGraphFile, encodeGraphDef } from '../../src/graph/index.js';
import type { Operation } from '../../src/graph/operation.js';
import { readTrainingGraph } from '../../src/graph/read-training-graph.js';
import type { TrainingGraph } from '../../src/graph/training-graph.js';
import { ancestors } from '../../src/graph/traverse.js';
import { type Rewritten, rewrite } from '../../src/rewrite/index.js';
import type { DenseFrom } from '../../src/rewrite/plan.js';
import { resolveStrategy } from '../../src/strategy/index.js';
import { fedProgram } from '../helpers/fed-gradients.js';
import { fixtureNamed, graphPath } from '../helpers/fixtures.js';
import { clusterOf, rewrittenFor, strategyFor } from '../helpers/rewritten.js';
import { throwsTyped } from '../helpers/throws.js';
import { trainingOf } from '../helpers/training.js';

const tableOf = (...shape: readonly number[]): TrainingGraph =>
  trainingOf([{ name: 'table', shape, gradient: 'sparse' }]);
const copies = (sparse: string): string => JSON.stringify({ builder: 'all-reduce', sparse });

function ofType({ graph }: Rewritten, ...types: readonly string[]): readonly Operation[] {
  return [...graph.operations()].filter(({ type, origin }) => types.includes(type) && origin !== undefined);
}

const collectives = (rewritten: Rewritten): readonly string[] =>
  [...rewritten.graph.operations()].flatMap(({ type }) => (type.startsWith('Collective') ? [type] : []));

/** By hand: indices are int64 and rows float32, so `width` elements are 8 + 4 * width bytes to gather, 4 + 4 * width in a sum. */
const THRESHOLDS: readonly (readonly [
  shape: readonly number[],
  tasks: number,
  from: DenseFrom | undefined,
])[] = [
  // A row of 40 bytes against 36 of each of 500: from 450 gathered rows on, which are padded to 512.
  [[500, 8], 2, { rows: 257, bytes: 500 * 36 }],
  // Two others get each row; 2/3 of the table goes around twice: from 300 rows on.
  [[500, 8], 3, { rows: 257, bytes: (4 * 500 * 36) / 3 }],
  // From 225 rows on.
  [[500, 8], 4, { rows: 129, bytes: (6 * 500 * 36) / 4 }],
  [[500, 8], 64, { rows: 9, bytes: Math.ceil((126 * 500 * 36) / 64) }],
  // Rows of a vector: 12 bytes against 8.
  [[500], 2, { rows: 257, bytes: 500 * 8 }],
  // As few as there may be at all.
  [[1, 3], 4, { rows: 0, bytes: 24 }],
  // No element.
  [[0, 3], 2, undefined],
  [[4, 0], 2, undefined],
  // As one tensor more than 2 ** 31 - 1 elements, and just as many.
  [[2 ** 30, 1], 2, undefined],
  [[2 ** 30 - 1, 1], 2, { rows: 2 ** 29 + 1, bytes: 8 * (2 ** 30 - 1) }],
];

for (const [shape, tasks, from] of THRESHOLDS) {
  const title = from === undefined ? 'never' : `from ${from.rows} rows on`;
  test(`a table of [${shape}], ${tasks} tasks: rows are summed as a dense gradient ${title}`, (t) => {
    const { plan } = rewrittenFor(tableOf(...shape), tasks, 0, { strategy: 'all-reduce' });
    t.deepEqual(plan.variables['table']?.denseFrom, from && [from]);
  });
}

/** Whether `operation` is computed from an output of a Switch. */
const isBehind = (operation: Operation, branch: Operation, output: number): boolean =>
  [operation, ...ancestors([operation])].some(({ inputs }) => inputs.includes(branch.output(output)));

test('few rows are gathered and many summed, in branches on the counts of all tasks, and divided once behind them', (t) => {
  const rewritten = rewrittenFor(tableOf(500, 8), 3, 0, { strategy: 'all-reduce' });
  const { graph } = rewritten;
  t.deepEqual(collectives(rewritten), [
    'CollectiveGather',
    'CollectiveGatherV2',
    'CollectiveGatherV2',
    'CollectiveReduce',
  ]);
  const [counts] = ofType(rewritten, 'CollectiveGather');
  const branches = ofType(rewritten, 'Switch');
  t.is(branches.length, 2);
  for (const branch of branches) {
    t.true(ancestors([branch.inputs[1]!.operation]).has(counts!));
    t.false(ancestors([counts!]).has(branch));
  }
  const [indices, values] = branches as [Operation, Operation];
  const [gatheredIndices, gatheredValues] = ofType(rewritten, 'CollectiveGatherV2');
  t.true(isBehind(gatheredIndices!, indices, 0) && isBehind(gatheredValues!, values, 0));
  const [sum] = ofType(rewritten, 'CollectiveReduce');
  t.true(isBehind(sum!, indices, 1) && isBehind(sum!, values, 1));
  for (const branch of branches) t.false(isBehind(sum!, branch, 0) || isBehind(gatheredValues!, branch, 1));
  const [mean, ...others] = ofType(rewritten, 'RealDiv');
  t.deepEqual(others, []);
  t.is(mean!.inputs[0]!.operation.type, 'Merge');
  const update = graph.get('table_update');
  t.is(update.inputs[1]!.operation.type, 'Merge');
  t.is(update.inputs[2]!.operation, mean!);
});

test('where gathering is never more bytes, or the strategy says so, the graph has no branch', (t) => {
  // Indices of int32 and float32 marks are as large: as many rows as the table has are as many bytes.
  const ofInt32 = (rows: number): TrainingGraph => {
    const { graph, gradients } = fedProgram({ table: [rows, 2] }, () => ({}), 0, { sliced: ['table'] });
    return readTrainingGraph(decodeGraphFile(graph), { gradients });
  };
  for (const [training, sparse] of [
    [ofInt32(8), 'auto'],
    [tableOf(500, 8), 'gather'],
  ] as const) {
    const rewritten = rewrittenFor(training, 2, 0, { strategy: copies(sparse) });
    t.deepEqual(collectives(rewritten), ['CollectiveGather', 'CollectiveGatherV2', 'CollectiveGatherV2']);
    t.deepEqual(ofType(rewritten, 'Switch', 'Merge'), []);
    t.false('denseFrom' in rewritten.plan.variables['table']!);
  }
  const { plan } = rewrittenFor(ofInt32(9), 2, 0, { strategy: 'all-reduce' });
  t.deepEqual(plan.variables['table']?.denseFrom, [{ rows: 9, bytes: 9 * 12 }]);
});

test('"sparse": "dense" always sums, without counts and branches', (t) => {
  const rewritten = rewrittenFor(tableOf(500, 8), 2, 0, { strategy: copies('dense') });
  t.deepEqual(collectives(rewritten), ['CollectiveReduce']);
  t.deepEqual(ofType(rewritten, 'Switch', 'Merge'), []);
  t.like(rewritten.plan.variables['table'], {
    sparseForm: 'combined',
    denseFrom: [{ rows: 0, bytes: 500 * 36 }],
  });
});

const read = (name: string): TrainingGraph =>
  readTrainingGraph(decodeGraphFile(readFileSync(graphPath(fixtureNamed(name)))));

test('where something looks at single rows they are gathered, and the strategy cannot have it otherwise', (t) => {
  const training = read('words-adam-clipped.resource');
  const rewritten = rewrittenFor(training, 4, 1, { strategy: 'all-reduce' });
  t.deepEqual(ofType(rewritten, 'Switch', 'Merge'), []);
  const refused = (each: TrainingGraph, ...parts: readonly string[]): void =>
    throwsTyped(t, () => rewrittenFor(each, 2, 0, { strategy: copies('dense') }), 'UNIMPLEMENTED', ...parts);
  refused(training, '"embedding"', 'looks at single rows', '"sparse": "dense"', 'leave "sparse" out');
  refused(tableOf(4, 0), '"table"', 'float32, shape [4,0]');
  refused(trainingOf([{ name: 'table', shape: null, gradient: 'sparse' }]), 'shape <unknown>');
  t.notThrows(() => rewrittenFor(training, 1, 0, { strategy: copies('dense') }));
});

test('beside variables on servers rows are gathered, in both runtimes, unless the strategy has them summed', (t) => {
  const program = fedProgram({ held: [3], table: [500, 8] }, () => ({}), 0, { sliced: ['table'] });
  const training = readTrainingGraph(decodeGraphFile(program.graph), { gradients: program.gradients });
  const cluster = clusterOf(2);
  const [held] = strategyFor(training, 2, 'ps', cluster).variables;
  for (const [sparse, wanted] of [
    ['auto', ['CollectiveGather', 'CollectiveGatherV2', 'CollectiveGatherV2']],
    ['dense', ['CollectiveReduce']],
  ] as const) {
    const own = strategyFor(training, 2, copies(sparse), cluster);
    const mixed = resolveStrategy({ ...own, variables: [held!, own.variables[1]!] }, training, cluster);
    for (const runtime of ['embedded', 'tensorflow'] as const)
      t.deepEqual(collectives(rewrite(training, mixed, cluster, 1, { runtime })), wanted);
  }
});

function bytesOf(t: ExecutionContext, training: TrainingGraph, strategy: string): Uint8Array {
  const bytes = encodeGraphDef(rewrittenFor(training, 2, 1, { strategy }).graph);
  t.deepEqual(encodeGraphDef(rewrittenFor(training, 2, 1, { strategy }).graph), bytes);
  return bytes;
}

test('what is left out is auto: the same digest, the same bytes', (t) => {
  const training = read('spam.resource');
  t.deepEqual(bytesOf(t, training, 'all-reduce'), bytesOf(t, training, copies('auto')));
  t.notDeepEqual(bytesOf(t, training, 'all-reduce'), bytesOf(t, training, copies('gather')));
});
