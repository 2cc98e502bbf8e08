import test from 'ava';
import { resolveCluster } from '../../src/cluster/cluster-spec.js';
import { parseResourceSpec } from '../../src/cluster/resource-spec.js';
import { byteSize, type ModelSummary, summarize } from '../../src/strategy/model-summary.js';
import { loadBalancedParameterServer, parameterServer } from '../../src/strategy/parameter-server.js';
import type { Strategy } from '../../src/strategy/strategy.js';
import { fc } from '../helpers/properties.js';
import { trainingOf } from '../helpers/training.js';

const two = resolveCluster(parseResourceSpec('nodes: [{address: b, chief: true, gpus: [0]}, {address: a}]'));

function modelOf(...bytes: readonly number[]): ModelSummary {
  return summarize(trainingOf(bytes.map((size, i) => ({ name: `v${i}`, shape: [size / 4] }))));
}

function serversOf(strategy: Strategy): readonly string[] {
  return strategy.variables.map(({ synchronizer }) =>
    synchronizer.kind === 'parameter-server' ? synchronizer.device : synchronizer.kind,
  );
}

test('a summary has the variables with a gradient, with their bytes and gradient kinds', (t) => {
  const training = trainingOf([
    { name: 'table', shape: [10, 4], gradient: 'sparse' },
    { name: 'step', shape: [], gradient: 'none' },
    { name: 'bias', shape: [] },
  ]);
  t.deepEqual(summarize(training).variables, [
    { name: 'table', dtype: 'float32', shape: [10, 4], bytes: 160, gradient: 'sparse' },
    { name: 'bias', dtype: 'float32', shape: [], bytes: 4, gradient: 'dense' },
  ]);
});

test('an unknown dimension counts as 1, an unknown rank as one element', (t) => {
  t.is(byteSize('float32', [-1, 8]), 32);
  t.is(byteSize('float64', null), 8);
  t.is(byteSize('float32', [0, 8]), 0);
});

test('ps puts every variable on the CPU of the chief and computes on all devices', (t) => {
  const strategy = parameterServer().build(modelOf(4, 8), two);
  t.deepEqual(serversOf(strategy), ['b:CPU:0', 'b:CPU:0']);
  t.deepEqual(strategy.replicas, ['b:GPU:0', 'a:CPU:0']);
  t.is(strategy.builder, 'ps');
  t.deepEqual(strategy.variables[0]?.synchronizer, {
    kind: 'parameter-server',
    device: 'b:CPU:0',
    staleness: 0,
    sync: true,
    proxy: false,
  });
});

test('ps-lb gives each variable to the server that holds the fewest bytes', (t) => {
  const strategy = loadBalancedParameterServer().build(modelOf(400, 240, 200, 40), two);
  t.deepEqual(serversOf(strategy), ['b:CPU:0', 'a:CPU:0', 'a:CPU:0', 'b:CPU:0']);
});

test('ps-lb breaks ties by the order of variables and servers', (t) => {
  t.deepEqual(serversOf(loadBalancedParameterServer().build(modelOf(4, 4, 4), two)), [
    'b:CPU:0',
    'a:CPU:0',
    'b:CPU:0',
  ]);
});

test('ps-lb keeps the loads of servers within the largest variable', (t) => {
  const cluster = resolveCluster(parseResourceSpec('nodes: [{address: localhost, tasks: 3}]'));
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 1, maxLength: 20 }), (sizes) => {
      const summary = modelOf(...sizes.map((size) => size * 4));
      const loads = new Map(cluster.tasks.map((task) => [`localhost:${task.port}:CPU:0`, 0]));
      const bytes = new Map(summary.variables.map((variable) => [variable.name, variable.bytes]));
      for (const plan of loadBalancedParameterServer().build(summary, cluster).variables) {
        const [device] = serversOf({ variables: [plan] } as unknown as Strategy) as [string];
        loads.set(device, loads.get(device)! + bytes.get(plan.variable)!);
      }
      const spread = Math.max(...loads.values()) - Math.min(...loads.values());
      t.true(spread <= Math.max(...bytes.values()));
    }),
    { numRuns: 50 },
  );
});

test('a proxy is never planned for a sparse variable', (t) => {
  const summary = summarize(
    trainingOf([
      { name: 'dense', shape: [2] },
      { name: 'sparse', shape: [2, 2], gradient: 'sparse' },
    ]),
  );
  const { variables } = parameterServer({ proxy: true, staleness: 3 }).build(summary, two);
  t.like(variables[0]?.synchronizer, { proxy: true, staleness: 3 });
  t.like(variables[1]?.synchronizer, { proxy: false, staleness: 3 });
});
