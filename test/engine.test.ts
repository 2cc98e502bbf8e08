import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { clusterDevices, replicaDevices } from '../src/cluster/index.js';
import { planTraining, transform, transformAll } from '../src/engine.js';
import { GradsyncError } from '../src/errors.js';
import { decodeGraphFile } from '../src/graph/codec/graph-file.js';
import { parseFetchName } from '../src/graph/name.js';
import type { Plan } from '../src/rewrite/plan.js';
import type { StrategyBuilder } from '../src/strategy/index.js';
import { parameterServer } from '../src/strategy/parameter-server.js';
import { allFixtures, graphPath } from './helpers/fixtures.js';
import { projectPath } from './helpers/paths.js';
import { fc } from './helpers/properties.js';
import { throwsTyped } from './helpers/throws.js';

const graph = projectPath('test', 'fixtures', 'spam.resource.meta');
const resources = { nodes: [{ address: 'localhost', tasks: 3 }] };
const base = { graph, resources, strategy: 'ps-lb' } as const;

test('bytes and path give the same graph and plan', (t) => {
  const byPath = transform({ ...base, task: 1 });
  const byBytes = transform({ ...base, graph: readFileSync(graph), task: 1 });
  t.deepEqual(byBytes.plan, byPath.plan);
  t.true(Buffer.from(byBytes.graph).equals(byPath.graph));
});

test('all tasks at once give what each gives by itself, under one digest', (t) => {
  const all = transformAll(base);
  t.is(all.length, 3);
  all.forEach((result, task) => {
    const alone = transform({ ...base, task });
    t.deepEqual(result.plan, alone.plan);
    t.true(Buffer.from(result.graph).equals(alone.graph));
    t.is(result.plan.digest, all[0]!.plan.digest);
  });
});

for (const fixture of allFixtures()) {
  test(`${fixture.name}: a task's graph is the same alone and behind others`, (t) => {
    const options = { ...base, graph: graphPath(fixture) };
    const all = transformAll(options);
    const last = transform({ ...options, task: 2 });
    t.true(Buffer.from(all[2]!.graph).equals(last.graph));
    t.deepEqual(all[2]!.plan, last.plan);
  });
}

test('a strategy may be a name, JSON, data or a builder', (t) => {
  const byName = transform({ ...base, strategy: 'ps', task: 0 });
  for (const strategy of [
    '{"builder": "ps"}',
    { builder: 'ps' },
    byName.strategy,
    JSON.stringify(byName.strategy),
    parameterServer(),
  ]) {
    t.is(transform({ ...base, strategy, task: 0 }).plan.digest, byName.plan.digest);
  }
  t.not(transform({ ...base, task: 0 }).plan.digest, byName.plan.digest);
});

test('the options of a builder may be JSON or an object', (t) => {
  for (const choice of [
    { builder: 'ps-lb', sync: false },
    { builder: 'ps-lb', proxy: true },
  ]) {
    const { plan } = transform({ ...base, strategy: choice, task: 1 });
    t.is(plan.digest, transform({ ...base, strategy: JSON.stringify(choice), task: 1 }).plan.digest);
    t.not(plan.digest, transform({ ...base, task: 1 }).plan.digest);
  }
  throwsTyped(
    t,
    () => transform({ ...base, strategy: { builder: 'pss' }, task: 0 }),
    'INVALID_ARGUMENT',
    '"pss"',
  );
});

test('the result names the operations of the graph that was read', (t) => {
  const { graph: read } = decodeGraphFile(readFileSync(graph));
  t.deepEqual(
    transform({ ...base, task: 0 }).operations,
    [...read.operations()].map((operation) => operation.name),
  );
});

test('fetches that are announced are listed; the chief may fetch what waits beside the training operation', (t) => {
  const fetches = ['loss:0', 'init', 'train_op'];
  const { plan } = transform({ ...base, fetches, task: 1 });
  t.deepEqual(plan.fetches['loss:0'], { tensors: ['loss:0'], combine: 'first' });
  t.deepEqual(Object.keys(plan.fetches), ['init', 'loss:0', 'train_op']);
  const [waiting] = Object.keys(transform({ ...base, task: 0 }).plan.notFetchable) as [string];
  throwsTyped(t, () => transform({ ...base, fetches: [waiting], task: 0 }), 'FAILED_PRECONDITION', waiting);
  t.true(waiting in transform({ ...base, fetches: [waiting, 'train_op'], task: 0 }).plan.fetches);
});

test('a fetch that does not exist is refused, the output of an operation too', (t) => {
  throwsTyped(t, () => transform({ ...base, fetches: ['lost:0'], task: 0 }), 'NOT_FOUND', '"lost:0"');
  throwsTyped(
    t,
    () => transform({ ...base, fetches: ['loss:7'], task: 0 }),
    'NOT_FOUND',
    '"loss:7"',
    '1 output',
  );
});

test('cheap mistakes are told before the graph is read', (t) => {
  const absent = { ...base, graph: join('no', 'such.meta') };
  throwsTyped(t, () => transform({ ...absent, strategy: 'pss', task: 0 }), 'INVALID_ARGUMENT', '"pss"');
  throwsTyped(t, () => transform({ ...absent, task: 3 }), 'OUT_OF_RANGE', 'from 0 to 2');
  throwsTyped(t, () => transform({ ...absent, task: 0 }), 'NOT_FOUND', 'such.meta');
});

for (const fixture of allFixtures()) {
  test(`${fixture.name}: the plan of every task names only what its graph has`, (t) => {
    for (const strategy of ['ps', 'ps-lb']) {
      for (const { graph: bytes, plan } of transformAll({ graph: graphPath(fixture), resources, strategy })) {
        const { graph } = decodeGraphFile(bytes);
        const missing = namesOf(plan).filter(
          (name) => graph.find(parseFetchName(name).operation) === undefined,
        );
        t.deepEqual(missing, []);
        t.deepEqual(Object.keys(plan.variables).sort(), Object.keys(fixture.gradients).sort());
        t.true(plan.initializers.length > 0);
      }
    }
  });
}

const line = readFileSync(projectPath('test', 'fixtures', 'linear-regression.resource.meta'));

/** Transforms bytes that may be no graph; anything but a result or a typed error fails. */
function transformsOrRefuses(t: ExecutionContext, bytes: Uint8Array): void {
  try {
    transform({ ...base, graph: bytes, task: 1 });
    t.pass();
  } catch (error) {
    t.true(error instanceof GradsyncError && error.code !== 'INTERNAL', String((error as Error).stack));
  }
}

test('a file cut anywhere is read or refused with a typed error', (t) => {
  fc.assert(
    fc.property(fc.nat({ max: line.length }), (length) => transformsOrRefuses(t, line.subarray(0, length))),
    { numRuns: 200 },
  );
});

test('a file with damaged bytes is read or refused with a typed error', (t) => {
  const damage = fc.array(fc.tuple(fc.nat({ max: line.length - 1 }), fc.nat({ max: 255 })), {
    minLength: 1,
    maxLength: 4,
  });
  fc.assert(
    fc.property(damage, (changes) => {
      const bytes = Uint8Array.from(line);
      for (const [at, value] of changes) bytes[at] = value;
      transformsOrRefuses(t, bytes);
    }),
    { numRuns: 400 },
  );
});

test('gradient pairs that are given are part of the digest', (t) => {
  const pair = 'W|gradients/mul_grad/tuple/control_dependency:0';
  const digest = (gradients: string[]) => transform({ ...base, graph: line, gradients, task: 0 }).plan.digest;
  t.is(digest([pair]), digest([pair]));
  t.not(digest([pair]), digest([]));
});

/** Every operation and tensor of the rewritten graph that a plan speaks of. */
function namesOf(plan: Plan): string[] {
  const fetched = Object.values(plan.fetches).flatMap((fetch) =>
    'tensors' in fetch ? fetch.tensors : fetch.operations,
  );
  return [
    plan.ready,
    ...plan.initializers,
    ...Object.values(plan.feeds).flatMap((feed) => feed.tensors),
    ...fetched,
    ...Object.keys(plan.notFetchable),
    ...plan.background,
    ...plan.close,
    ...(plan.saver === null ? [] : [plan.saver.filename, plan.saver.save, plan.saver.restore]),
    ...Object.keys(plan.placement),
  ];
}

test("a builder of one's own gives each variable a plan by what is known of it, and is read strictly", (t) => {
  const apart = (
    server: (name: string) => object = (device) => ({
      kind: 'parameter-server',
      device,
      staleness: 0,
      sync: true,
      proxy: false,
    }),
  ): StrategyBuilder => ({
    name: 'sparse-apart',
    build: (summary, cluster) =>
      ({
        format: 1,
        builder: 'sparse-apart',
        replicas: replicaDevices(cluster).map(({ name }) => name),
        variables: summary.variables.map(({ name, gradient }) => ({
          variable: name,
          synchronizer:
            gradient === 'sparse'
              ? server(clusterDevices(cluster).at(-1)!.name)
              : { kind: 'collective', algorithm: 'auto', compressor: 'none', group: 0 },
        })),
      }) as ReturnType<StrategyBuilder['build']>,
  });
  const words = { ...base, graph: projectPath('test', 'fixtures', 'words-sgd.resource.meta') };
  const { variables } = planTraining({ ...words, strategy: apart() });
  t.is(variables['embedding']!.synchronizer, 'parameter-server');
  t.regex(variables['embedding']!.devices[0]!, /task:2/);
  t.is(variables['dense/kernel']!.synchronizer, 'collective');
  const bad: readonly (readonly [() => unknown, RegExp])[] = [
    [() => undefined, /variables\[\d\]\.synchronizer: expected the field "kind"/],
    [() => ({ kind: 'magic' }), /synchronizer\.kind: expected .*parameter-server.* "magic"/],
    [() => ({ kind: 'parameter-server' }), /"device"/],
  ];
  for (const [server, message] of bad) {
    t.throws(() => planTraining({ ...words, strategy: apart(server as () => object) }), {
      instanceOf: GradsyncError,
      code: 'INVALID_ARGUMENT',
      message,
    });
  }
});
