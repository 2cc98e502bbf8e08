import { readFileSync } from 'node:fs';
import test from 'ava';
import { decodeGraphFile } from '../../src/graph/index.js';
import type { Operation } from '../../src/graph/operation.js';
import { readTrainingGraph } from '../../src/graph/read-training-graph.js';
import type { TrainingGraph } from '../../src/graph/training-graph.js';
import { ancestors } from '../../src/graph/traverse.js';
import { overviewOfTask, type Rewritten, rewrite } from '../../src/rewrite/index.js';
import { fedProgram } from '../helpers/fed-gradients.js';
import { fixtureNamed, graphPath } from '../helpers/fixtures.js';
import { clusterOf, rewrittenFor, strategyFor } from '../helpers/rewritten.js';
import { throwsTyped } from '../helpers/throws.js';
import { trainingOf } from '../helpers/training.js';

function read(name: string): TrainingGraph {
  return readTrainingGraph(decodeGraphFile(readFileSync(graphPath(fixtureNamed(name)))));
}

function collectivesOf({ graph }: Rewritten): readonly Operation[] {
  return [...graph.operations()].filter(({ type }) => type.startsWith('Collective'));
}

/** The number that an operation's input is, if it is a constant. */
function constantAt({ inputs }: Operation, position: number): number {
  const value = inputs[position]?.operation.attributes.get('value');
  return value?.kind === 'tensor'
    ? new DataView(value.value.bytes.slice().buffer).getInt32(0, true)
    : Number.NaN;
}

/** Group size, group key and instance key; the first of several where the step decides which. */
function keysOf(operation: Operation): readonly number[] {
  const { type, inputs, attributes } = operation;
  if (type === 'CollectiveGatherV2') {
    return [constantAt(operation, 1), constantAt(operation, 2), constantAt(inputs[3]!.operation, 0)];
  }
  return ['group_size', 'group_key', 'instance_key'].map((name) => {
    const value = attributes.get(name);
    return value?.kind === 'int' ? Number(value.value) : Number.NaN;
  });
}

test('all tasks count the keys of their collectives alike, each once', (t) => {
  const training = read('words-adam-clipped.resource');
  const countedBy = (task: number) =>
    collectivesOf(rewrittenFor(training, 3, task, { strategy: 'all-reduce' })).map(
      (operation) => [operation.name, operation.type, keysOf(operation)] as const,
    );
  const chief = countedBy(0);
  t.deepEqual(countedBy(1), chief);
  t.deepEqual(countedBy(2), chief);
  t.deepEqual(new Set(chief.map(([, , [size]]) => size)), new Set([3]));
  t.is(new Set(chief.map(([, , keys]) => keys[2])).size, chief.length);
});

test('gathered rows have a key for each length that they may be padded to, and no other collective has it', (t) => {
  const training = read('words-adam-clipped.resource');
  const operations = collectivesOf(rewrittenFor(training, 2, 1, { strategy: 'all-reduce' }));
  const ranges = operations.map((operation): [first: number, count: number] => {
    const [, , first] = keysOf(operation);
    return [first!, operation.type === 'CollectiveGatherV2' ? 31 : 1];
  });
  const keys = ranges.flatMap(([first, count]) => Array.from({ length: count }, (_, i) => first + i));
  t.is(new Set(keys).size, keys.length);
  t.true(ranges.some(([, count]) => count === 31));
});

test('gradients of one group travel together, a group of one each by itself', (t) => {
  const training = read('mnist-cnn.resource');
  const countOf = (strategy: string) => collectivesOf(rewrittenFor(training, 2, 1, { strategy })).length;
  t.is(countOf('all-reduce'), 1);
  t.is(countOf('{"builder": "all-reduce", "group": 1}'), training.pairs.length);
  t.is(countOf('{"builder": "all-reduce", "group": 3}'), Math.ceil(training.pairs.length / 3));
});

test('with one task nothing is exchanged, with several replicas they are averaged', (t) => {
  const training = read('spam.resource');
  const one = rewrittenFor(training, 1, 0, { strategy: 'all-reduce' });
  t.deepEqual(collectivesOf(one), []);
  t.deepEqual(one.plan.notFetchable, {});
  const two = rewrittenFor(training, 1, 0, { strategy: 'all-reduce', devices: 'cpus: [0, 1]' });
  t.deepEqual(collectivesOf(two), []);
  t.true([...two.graph.operations()].some(({ name }) => name.endsWith('replica_mean')));
});

test('every task trains copies of its own, which begin as those of the chief', (t) => {
  const training = read('words-adam.resource');
  const { graph, plan } = rewrittenFor(training, 2, 1, { strategy: 'all-reduce' });
  const own = '/job:worker/task:1/device:CPU:0';
  const run = new Set(ancestors([graph.get('train_op')]));
  for (const { variable, update } of training.pairs) {
    const handle = graph.get(variable.name);
    t.is(handle.device, own);
    t.true(run.has(graph.get(update.name)));
    const initial = graph.get(variable.initializer!.name).inputs[1]!.operation;
    t.is(initial.inputs[0]!.operation.device, '/job:worker/task:0/device:CPU:0');
    t.deepEqual(plan.variables[variable.name]?.devices, ['/job:worker/task:0/device:CPU:0', own]);
  }
  // Nothing of a step lies on another task: one TensorFlow runs in the same step as others' may not.
  t.deepEqual(new Set([...run].map(({ device }) => device)), new Set([own]));
});

test('the plan says how a variable is synchronized, and what cannot be fetched alone', (t) => {
  const { plan } = rewrittenFor(read('spam.resource'), 2, 1, { strategy: 'all-reduce' });
  t.like(plan.variables['embedding'], {
    synchronizer: 'collective',
    sparseForm: 'concatenated',
    compressor: 'none',
    group: 0,
    weights: 'every replica counts the same',
  });
  const sum = Object.keys(plan.notFetchable).filter((name) => name.endsWith('all_reduce'));
  t.is(sum.length, 1);
  t.false('train_op' in plan.notFetchable);
  t.deepEqual(plan.fetches['train_op'], { operations: ['train_op'] });
});

test('under Parallax the chief keeps sparse variables and publishes what the norm needs of them', (t) => {
  const training = read('spam-clipped.resource');
  const published = (task: number, type: string): readonly Operation[] =>
    [...rewrittenFor(training, 3, task, { strategy: 'parallax' }).graph.operations()].filter(
      (operation) => operation.type === type && operation.name.startsWith('gradsync/publish'),
    );
  const given = published(0, 'QueueEnqueueV2');
  t.is(given.length, 2);
  t.deepEqual(
    given[0]!.inputs.slice(1).map(({ name }) => name),
    ['global_norm/L2Loss:0'],
  );
  t.is(published(0, 'QueueDequeueV2').length, 0);
  t.is(published(2, 'QueueDequeueV2').length, 1);
  t.is(published(2, 'QueueEnqueueV2').length, 0);
});

/** Which task a step's operations lie on, and which collectives are among them. */
function stepOf({ graph }: Rewritten): { devices: ReadonlySet<string>; collectives: number } {
  const run = [...ancestors([graph.get('train_op')])];
  const collectives = run.filter(({ type }) => type.startsWith('Collective')).length;
  return { devices: new Set(run.map(({ device }) => device)), collectives };
}

test('a step that also uses servers has its collectives in a run of the task alone, unless it is for the embedded runtime', (t) => {
  const training = read('spam-clipped.resource');
  const own = '/job:worker/task:1/device:CPU:0';
  const rewritten = rewrittenFor(training, 2, 1, { strategy: 'parallax' });
  const { graph, plan } = rewritten;
  t.is(stepOf(rewritten).collectives, 0);
  t.is(stepOf(rewritten).devices.size, 2);
  t.is(plan.background.length, 1);
  t.is(plan.close.length, 1);
  const beside = [...ancestors(plan.background.map((name) => graph.get(name)))];
  t.deepEqual(new Set(beside.map(({ device }) => device)), new Set([own]));
  t.is(beside.filter(({ type }) => type.startsWith('Collective')).length, collectivesOf(rewritten).length);
  for (const { name } of beside.filter(({ type }) => type === 'QueueDequeueV2')) {
    t.regex(plan.notFetchable[name]!, /no step may run it/);
  }

  const embedded = rewrittenFor(training, 2, 1, { strategy: 'parallax', runtime: 'embedded' });
  t.deepEqual(embedded.plan.background, []);
  t.is(stepOf(embedded).collectives, collectivesOf(rewritten).length);
});

test('optimizers that train apart have a run each, which a key that the run always has tells from the others', (t) => {
  const program = fedProgram({ dense: [3], held: [5], sparse: [4, 2] }, () => ({}), 0, {
    sliced: ['sparse'],
    trainOps: { first: ['dense', 'held'], second: ['sparse'] },
  });
  const training = readTrainingGraph(decodeGraphFile(program.graph), { gradients: program.gradients });
  const cluster = clusterOf(2);
  const [copies, servers] = ['all-reduce', 'ps'].map((each) => strategyFor(training, 2, each, cluster));
  const variables = copies!.variables.map((plan, i) =>
    plan.variable === 'held' ? servers!.variables[i]! : plan,
  );
  const { graph, plan } = rewrite(training, { ...copies!, variables }, cluster, 1);
  const keys = plan.background.map((name) =>
    [...ancestors([graph.get(name)])]
      .filter(({ attributes }) => attributes.get('instance_key') !== undefined)
      .map((operation) => keysOf(operation)[2]!),
  );
  t.deepEqual(
    keys.map(({ length }) => length),
    [1, 1],
  );
  t.is(new Set(keys.flat()).size, 2);
});

test('a step sends as much whether its collectives are in it or beside it', (t) => {
  const training = read('words-adam-clipped.resource');
  for (const task of [0, 2]) {
    const [inStep, beside] = (['embedded', 'tensorflow'] as const).map((runtime) => {
      const { transfers } = overviewOfTask(
        rewrittenFor(training, 3, task, { strategy: 'parallax', runtime }),
      );
      return transfers.map(({ from, to, variable, way, size }) => ({ from, to, variable, way, size }));
    });
    t.true(beside!.some(({ variable }) => variable === 'dense/kernel'));
    t.deepEqual(beside, inStep);
  }
});

test('a variable whose rank is not known cannot be gathered', (t) => {
  const training = trainingOf([{ name: 'table', shape: null, gradient: 'sparse' }]);
  throwsTyped(
    t,
    () => rewrittenFor(training, 2, 0, { strategy: 'all-reduce' }),
    'UNIMPLEMENTED',
    '"table"',
    'known rank',
  );
});

test('error feedback asks for a known shape', (t) => {
  const training = trainingOf([{ name: 'w', shape: null }]);
  for (const compressor of ['float16-error-feedback', 'top-k-error-feedback']) {
    const strategy = JSON.stringify({ builder: 'all-reduce', compressor });
    throwsTyped(t, () => rewrittenFor(training, 2, 0, { strategy }), 'UNIMPLEMENTED', '"w"', 'a known shape');
  }
});

const largest = (k: number): string =>
  JSON.stringify({ builder: 'all-reduce', compressor: 'top-k-error-feedback', k });

test('top-k sends a part of the elements, at least one, or a number of them', (t) => {
  const training = trainingOf([
    { name: 'large', shape: [2000, 3] },
    { name: 'few', shape: [7] },
  ]);
  const sentFor = (k: number) => {
    const { variables } = rewrittenFor(training, 2, 0, { strategy: largest(k) }).plan;
    return [variables['large']?.k, variables['few']?.k];
  };
  t.deepEqual(sentFor(0.001), [6, 1]);
  // Seven hundredths of a hundred are a little more than 7 in floating point.
  t.deepEqual(sentFor(0.07), [420, 1]);
  t.deepEqual(sentFor(5), [5, 5]);
  t.deepEqual(sentFor(100), [100, 7]);
});

test('where top-k leaves nothing out, gradients travel as they are, without indices', (t) => {
  const training = trainingOf([{ name: 'w', shape: [4] }]);
  const typesFor = (k: number) =>
    collectivesOf(rewrittenFor(training, 2, 0, { strategy: largest(k) })).map(({ type }) => type);
  t.deepEqual(typesFor(3), ['CollectiveGather', 'CollectiveGather']);
  t.deepEqual(typesFor(4), ['CollectiveReduce']);
});

test('top-k counts positions in 32 bits: gradients that are too many do not travel together, one that is too large not at all', (t) => {
  const sized = (...sizes: readonly number[]) => {
    const training = trainingOf(sizes.map((size, i) => ({ name: `w${i}`, shape: [size] })));
    const updates = training.pairs.map(({ update }) => update);
    training.graph.add({ name: 'train_op', type: 'NoOp', controlInputs: updates });
    return training;
  };
  const countFor = (training: TrainingGraph) =>
    collectivesOf(rewrittenFor(training, 2, 0, { strategy: largest(1) })).length;
  t.is(countFor(sized(2 ** 30, 2 ** 30 - 1)), 2);
  t.is(countFor(sized(2 ** 30, 2 ** 30)), 4);
  throwsTyped(t, () => countFor(sized(2 ** 31)), 'UNIMPLEMENTED', '"w0"', 'partitioned-all-reduce');
});
