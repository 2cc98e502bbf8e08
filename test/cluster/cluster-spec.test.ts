import test from 'ava';
import {
  type ClusterSpec,
  clusterDevices,
  deviceFinder,
  printCluster,
  replicaDevices,
  resolveCluster,
  taskOf,
  workerAddresses,
} from '../../src/cluster/cluster-spec.js';
import { parseResourceSpec } from '../../src/cluster/resource-spec.js';
import { fc } from '../helpers/properties.js';
import { throwsTyped } from '../helpers/throws.js';

const clusterOf = (yaml: string): ClusterSpec => resolveCluster(parseResourceSpec(yaml));

test('the chief is task 0, the others follow by address and by port as a number', (t) => {
  const cluster = clusterOf(`
nodes:
  - {address: b, port: 900}
  - {address: a, port: 10000}
  - {address: c, port: 1, chief: true}
  - {address: a, port: 9999}
`);
  t.deepEqual(workerAddresses(cluster), ['c:1', 'a:9999', 'a:10000', 'b:900']);
  t.deepEqual(
    cluster.tasks.map((task) => task.index),
    [0, 1, 2, 3],
  );
});

test('tasks: n takes consecutive ports and deals out the GPUs', (t) => {
  const cluster = clusterOf('nodes: [{address: localhost, port: 3000, tasks: 2, gpus: [0, 1, 2]}]');
  t.deepEqual(workerAddresses(cluster), ['localhost:3000', 'localhost:3001']);
  t.deepEqual(
    cluster.tasks.map((task) => task.gpus),
    [[0, 1], [2]],
  );
});

test('the order of the entries does not matter', (t) => {
  const nodes = [
    '{address: a, chief: true}',
    '{address: b, port: 80}',
    '{address: b, port: 9}',
    '{address: c}',
  ];
  const expected = printCluster(clusterOf(`nodes: [${nodes.join(', ')}]`));
  fc.assert(
    fc.property(fc.shuffledSubarray(nodes, { minLength: nodes.length }), (shuffled) => {
      t.is(printCluster(clusterOf(`nodes: [${shuffled.join(', ')}]`)), expected);
    }),
  );
});

test('an IPv6 address stands in brackets', (t) => {
  t.deepEqual(workerAddresses(clusterOf('nodes: [{address: "::1"}]')), ['[::1]:15000']);
});

test('devices are named by address, with the port only where an address has several tasks', (t) => {
  const cluster = clusterOf('nodes: [{address: a, tasks: 2, chief: true}, {address: b, gpus: [1]}]');
  t.deepEqual(
    clusterDevices(cluster).map((device) => [device.name, device.resolved]),
    [
      ['a:15000:CPU:0', '/job:worker/task:0/device:CPU:0'],
      ['a:15001:CPU:0', '/job:worker/task:1/device:CPU:0'],
      ['b:CPU:0', '/job:worker/task:2/device:CPU:0'],
      ['b:GPU:1', '/job:worker/task:2/device:GPU:1'],
    ],
  );
});

test('a device is found by any of its names', (t) => {
  const find = deviceFinder(
    clusterOf('nodes: [{address: a, tasks: 2, chief: true}, {address: "::2", gpus: [1]}]'),
  );
  t.is(find('a:15001:CPU:0').task, 2);
  t.is(find('::2:GPU:1').resolved, '/job:worker/task:1/device:GPU:1');
  t.is(find('::2:15000:CPU:0'), find('/job:worker/task:1/device:CPU:0'));
});

test('a name that means several devices, or none, is refused', (t) => {
  const find = deviceFinder(clusterOf('nodes: [{address: a, tasks: 2}]'));
  throwsTyped(
    t,
    () => find('a:CPU:0'),
    'INVALID_ARGUMENT',
    'a:15000:CPU:0, a:15001:CPU:0',
    'which 2 tasks have',
  );
  throwsTyped(t, () => find('a:15000:GPU:0'), 'NOT_FOUND', '"a:15000:GPU:0"');
  throwsTyped(t, () => find(''), 'NOT_FOUND');
});

test('replicas are all GPUs, and the CPUs of tasks without', (t) => {
  const cluster = clusterOf('nodes: [{address: a, chief: true, gpus: [0, 1]}, {address: b, cpus: [0, 1]}]');
  t.deepEqual(
    replicaDevices(cluster).map((device) => device.name),
    ['a:GPU:0', 'a:GPU:1', 'b:CPU:0', 'b:CPU:1'],
  );
});

test('a task that does not exist is OUT_OF_RANGE', (t) => {
  const cluster = clusterOf('nodes: [{address: a, tasks: 2}]');
  t.is(taskOf(cluster, 1).port, 15001);
  for (const index of [2, -1, 0.5, Number.NaN]) {
    throwsTyped(t, () => taskOf(cluster, index), 'OUT_OF_RANGE', 'from 0 to 1', String(index));
  }
});

test('the canonical text of a cluster', (t) => {
  t.is(
    printCluster(clusterOf('nodes: [{address: localhost}]')),
    '{"job":"worker","tasks":[{"index":0,"address":"localhost","port":15000,"cpus":[0],"gpus":[],"networkBandwidth":1}]}',
  );
});
