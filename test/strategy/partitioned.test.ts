import test from 'ava';
import { resolveCluster } from '../../src/cluster/cluster-spec.js';
import { parseResourceSpec } from '../../src/cluster/resource-spec.js';
import { parseStrategy, printStrategy } from '../../src/strategy/codec.js';
import { findBuilder } from '../../src/strategy/find-builder.js';
import { summarize } from '../../src/strategy/model-summary.js';
import {
  type PartitionOptions,
  partitionedAllReduce,
  partitionedParameterServer,
  randomAxisPartitionedAllReduce,
  unevenPartitionedParameterServer,
} from '../../src/strategy/partitioned.js';
import { resolveStrategy } from '../../src/strategy/resolve.js';
import { shardOffsets, shardSizes } from '../../src/strategy/shard-sizes.js';
import type { Strategy } from '../../src/strategy/strategy.js';
import { fc } from '../helpers/properties.js';
import { trainingOf, type VariableInit } from '../helpers/training.js';

const clusterOf = (tasks: number) =>
  resolveCluster(parseResourceSpec(`nodes: [{address: localhost, port: 15000, tasks: ${tasks}}]`));

function build(
  variables: readonly VariableInit[],
  options: PartitionOptions = { minShardBytes: 1 },
  tasks = 3,
  make = partitionedParameterServer,
): Strategy {
  return make(options).build(summarize(trainingOf(variables)), clusterOf(tasks));
}

/** Axis and number of shards of each variable. */
function cutsOf({ variables }: Strategy): Record<string, string> {
  return Object.fromEntries(
    variables.map(({ variable, partition }) => [
      variable,
      partition === undefined ? 'whole' : `axis ${partition.axis} in ${partition.shards.length}`,
    ]),
  );
}

test('sizes of shards differ by at most one, the larger first, and make up the dimension', (t) => {
  t.deepEqual(shardSizes(10, 4), [3, 3, 2, 2]);
  t.deepEqual(shardOffsets([3, 3, 2, 2]), [0, 3, 6, 8]);
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 500 }), fc.integer({ min: 1, max: 500 }), (dim, wanted) => {
      const sizes = shardSizes(dim, Math.min(dim, wanted));
      t.is(
        sizes.reduce((sum, size) => sum + size, 0),
        dim,
      );
      t.true(Math.min(...sizes) >= 1);
      t.true(Math.max(...sizes) - Math.min(...sizes) <= 1);
      t.deepEqual(
        [...sizes].sort((a, b) => b - a),
        sizes,
      );
    }),
  );
});

test('as many shards as servers, of a prime dimension too; never more than rows', (t) => {
  const strategy = build([
    { name: 'a', shape: [7, 4], gradient: 'sparse' },
    { name: 'b', shape: [2, 5], gradient: 'sparse' },
    { name: 'c', shape: [2, 5] },
    { name: 'd', shape: [] },
    { name: 'e', shape: [-1, 5] },
    { name: 'f', shape: [1] },
  ]);
  t.deepEqual(cutsOf(strategy), {
    a: 'axis 0 in 3',
    b: 'axis 0 in 2',
    c: 'axis 1 in 3',
    d: 'whole',
    e: 'whole',
    f: 'whole',
  });
});

test('a variable is split into no shard smaller than asked for', (t) => {
  const variables = [
    { name: 'large', shape: [40_000] },
    { name: 'middle', shape: [32_768] },
    { name: 'small', shape: [32_767] },
  ];
  t.deepEqual(cutsOf(build(variables, {}, 3)), {
    large: 'axis 0 in 2',
    middle: 'axis 0 in 2',
    small: 'whole',
  });
  t.deepEqual(cutsOf(build(variables, { shards: 5, minShardBytes: 20_000 })), {
    large: 'axis 0 in 5',
    middle: 'axis 0 in 5',
    small: 'axis 0 in 5',
  });
});

test('uneven: a number of shards that leaves a remainder, where there is one', (t) => {
  const variables = [
    { name: 'prime', shape: [7] },
    { name: 'six', shape: [6] },
    { name: 'two', shape: [2] },
  ];
  const uneven = build(variables, { minShardBytes: 1 }, 3, unevenPartitionedParameterServer);
  t.deepEqual(cutsOf(uneven), { prime: 'axis 0 in 3', six: 'axis 0 in 4', two: 'axis 0 in 2' });
  t.is(uneven.builder, 'uneven-partitioned-ps');
});

test('shards go to the servers that hold the fewest bytes', (t) => {
  const { variables } = build([
    { name: 'a', shape: [4, 1] },
    { name: 'b', shape: [1] },
  ]);
  const devices = variables.flatMap(({ synchronizer, partition }) =>
    (partition?.shards ?? [synchronizer]).map((plan) => plan.kind === 'parameter-server' && plan.device),
  );
  t.deepEqual(devices, [
    'localhost:15000:CPU:0',
    'localhost:15001:CPU:0',
    'localhost:15002:CPU:0',
    'localhost:15001:CPU:0',
  ]);
});

test('a builder with options in JSON; its strategy is read back as it was printed, and fits the graph', (t) => {
  const training = trainingOf([{ name: 'table', shape: [11, 3], gradient: 'sparse' }]);
  const builder = findBuilder(
    '{"builder": "partitioned-ps", "shards": 4, "minShardBytes": 1, "sync": false}',
  );
  const strategy = builder.build(summarize(training), clusterOf(2));
  t.like(strategy.variables[0]?.partition, { axis: 0 });
  t.is(strategy.variables[0]?.partition?.shards.length, 4);
  t.like(strategy.variables[0]?.partition?.shards[3], { sync: false });
  t.deepEqual(parseStrategy(printStrategy(strategy)), strategy);
  t.is(resolveStrategy(strategy, training, clusterOf(2)).variables[0]?.partition?.shards.length, 4);
});

test('partitioned-all-reduce: every shard is reduced by itself, in groups of so many', (t) => {
  const variables = [
    { name: 'b', shape: [6] },
    { name: 'a', shape: [4, 2] },
  ];
  const strategy = partitionedAllReduce({ minShardBytes: 1, group: 2 }).build(
    summarize(trainingOf(variables)),
    clusterOf(3),
  );
  t.deepEqual(cutsOf(strategy), { a: 'axis 0 in 3', b: 'axis 0 in 3' });
  const groups = strategy.variables.map(({ partition }) =>
    partition!.shards.map((plan) => plan.kind === 'collective' && plan.group),
  );
  t.deepEqual(groups, [
    [0, 0, 1],
    [1, 2, 2],
  ]);
});

test('random-axis-partitioned-all-reduce draws axes longer than one, the same from the same seed', (t) => {
  const variables = Array.from({ length: 40 }, (_, i) => ({ name: `v${i}`, shape: [5, 1, 6] }));
  const draw = (seed: number): Record<string, string> =>
    cutsOf(
      randomAxisPartitionedAllReduce({ minShardBytes: 1, seed }).build(
        summarize(trainingOf([...variables, { name: 'table', shape: [9, 9], gradient: 'sparse' }])),
        clusterOf(3),
      ),
    );
  t.deepEqual(draw(1), draw(1));
  t.notDeepEqual(draw(1), draw(2));
  const { table, ...dense } = draw(1);
  t.is(table, 'whole');
  t.deepEqual([...new Set(Object.values(dense))].sort(), ['axis 0 in 3', 'axis 2 in 3']);
});

test('one shard is the variable itself', (t) => {
  const training = trainingOf([{ name: 'W', shape: [4] }]);
  const [plan] = findBuilder('ps').build(summarize(training), clusterOf(2)).variables;
  const shard = { ...plan!.synchronizer, device: 'localhost:15001:CPU:0' };
  const strategy: Strategy = {
    format: 1,
    builder: 'mine',
    replicas: ['localhost:15000:CPU:0', 'localhost:15001:CPU:0'],
    variables: [{ ...plan!, partition: { axis: 0, shards: [shard] } }],
  };
  const [resolved] = resolveStrategy(strategy, training, clusterOf(2)).variables;
  t.is(resolved?.partition, undefined);
  t.like(resolved?.synchronizer, { device: '/job:worker/task:1/device:CPU:0' });
});
