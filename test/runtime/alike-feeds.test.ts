/** Feeds that gradients are averaged on the condition of: a step that is fed otherwise on one task than on another is refused, not trained. */
import test, { type ExecutionContext } from 'ava';
import { GradsyncError } from '../../src/errors.js';
import { attr, attributes } from '../../src/graph/attributes.js';
import { encodeGraphDef } from '../../src/graph/codec/graph-def.js';
import { Graph } from '../../src/graph/graph.js';
import type { Tensor } from '../../src/graph/operation.js';
import type { Shape } from '../../src/graph/shape.js';
import { openSession, transform } from '../../src/index.js';
import type { Session } from '../../src/runtime/index.js';
import { vector } from '../helpers/hand-built.js';

const FLOAT = { T: attr.type('float32'), dtype: attr.type('float32') };
const RESOURCES = { nodes: [{ address: 'localhost', tasks: 2 }] };

interface RateOptions {
  readonly shape?: Shape;
  readonly hasDefault?: boolean;
}

/** `w -= rate * x` for a gradient x that is fed, and a rate that is fed or one by default. */
function descent({ shape = [], hasDefault = false }: RateOptions = {}): Uint8Array {
  const graph = new Graph();
  const add = (name: string, type: string, inputs: readonly Tensor[] = [], more = {}): Tensor =>
    graph.add({ name, type, inputs, attributes: attributes({ ...FLOAT, ...more }) }).output();
  const constant = (name: string, dims: readonly number[], elements: readonly number[]): Tensor =>
    add(name, 'Const', [], {
      value: attr.tensor({
        dtype: 'float32',
        shape: dims,
        bytes: new Uint8Array(Float32Array.from(elements).buffer),
      }),
    });
  const x = add('x', 'Placeholder', [], { shape: attr.shape([2]) });
  const rate = hasDefault
    ? add('rate', 'PlaceholderWithDefault', [constant('one', [], [1])], { shape: attr.shape(shape) })
    : add('rate', 'Placeholder', [], { shape: attr.shape(shape) });
  const w = add('w', 'VarHandleOp', [], { shape: attr.shape([2]), shared_name: attr.string('w') });
  graph.add({
    name: 'w/Assign',
    type: 'AssignVariableOp',
    inputs: [w, constant('zeros', [2], [0, 0])],
    attributes: attributes(FLOAT),
  });
  add('seen', 'Mul', [add('w/read', 'ReadVariableOp', [w]), rate]);
  const inputs = [w, constant('alpha', [], [1]), add('scaled', 'Mul', [x, rate])];
  const update = graph.add({
    name: 'update',
    type: 'ResourceApplyGradientDescent',
    inputs,
    attributes: attributes(FLOAT),
  });
  graph.add({ name: 'train_op', type: 'NoOp', controlInputs: [update] });
  return encodeGraphDef(graph);
}

const scalar = (value: number) => ({ dtype: 'float32' as const, shape: [], data: Float32Array.of(value) });
const step = (x: number, rate?: number) => ({
  feeds: { 'x:0': vector(x, x), ...(rate === undefined ? {} : { 'rate:0': scalar(rate) }) },
  fetches: ['train_op'],
});

async function withSession(options: RateOptions, use: (session: Session) => Promise<void>): Promise<void> {
  const session = await openSession({ graph: descent(options), resources: RESOURCES, strategy: 'ps' });
  try {
    await session.initialize();
    await use(session);
  } finally {
    await session.close();
  }
}

async function refused(
  t: ExecutionContext,
  run: Promise<unknown>,
  ...parts: readonly string[]
): Promise<void> {
  const error = await t.throwsAsync(run, { instanceOf: GradsyncError });
  t.is(error?.code, 'INVALID_ARGUMENT');
  for (const part of ['"rate:0"', ...parts])
    t.true(error?.message.includes(part), `"${part}" is not in: ${error?.message}`);
}

async function weight(session: Session): Promise<unknown> {
  return (await session.readVariables()).get('w')?.data[0];
}

for (const [what, shape] of [
  ['a scalar', []],
  ['of unknown rank', null],
] as const) {
  test.serial(
    `a factor of the gradient that is ${what} is fed alike to all tasks, or the step is refused`,
    async (t) => {
      await withSession({ shape }, async (session) => {
        await refused(t, session.run([step(1, 0.5), step(3, 0.25)]), '(0.5) in task 0', '(0.25) in task 1');
        t.is(await weight(session), 0, 'nothing was trained');
        await session.run([step(1, 0.5), step(3, 0.5)]);
        t.is(await weight(session), -1);
      });
      const { plan } = transform({
        graph: descent({ shape }),
        resources: RESOURCES,
        strategy: 'ps',
        task: 1,
      });
      t.deepEqual(plan.feeds['rate:0'], { tensors: ['rate:0'], split: null, alike: true });
      t.false('alike' in plan.feeds['x:0']!);
    },
  );
}

test.serial('steps of tasks that are asked for one by one are compared too, round by round', async (t) => {
  await withSession({}, async (session) => {
    const first = [session.runTask(0, step(1, 0.5)), session.runTask(0, step(1, 0.25))];
    const second = session.runTask(1, step(3, 0.5));
    await refused(t, session.runTask(1, step(3, 0.5)), '(0.25) in task 0', '(0.5) in task 1');
    await session.runTask(1, step(3, 0.25));
    await Promise.all([...first, second]);
    t.is(await weight(session), -1.5);
  });
});

test.serial(
  'a placeholder with a default that only one task is fed is refused; fed to none it has the default',
  async (t) => {
    await withSession({ hasDefault: true }, async (session) => {
      await refused(t, session.run([step(1, 0.5), step(3)]), 'its default in task 1');
      await session.run([step(1), step(3)]);
      t.is(await weight(session), -2);
    });
  },
);

test.serial('what takes part in no round may be fed as one likes', async (t) => {
  await withSession({}, async (session) => {
    const seen = (rate: number) => ({ feeds: { 'rate:0': scalar(rate) }, fetches: ['seen:0'] });
    await t.notThrowsAsync(session.run([seen(1), seen(2)]));
  });
});

test.serial(
  'tasks that train without waiting for each other, and a task alone, are fed as one likes',
  async (t) => {
    const strategy = { builder: 'ps', sync: false } as const;
    const feeds = [
      transform({ graph: descent(), resources: RESOURCES, strategy: JSON.stringify(strategy), task: 0 }).plan
        .feeds,
      transform({
        graph: descent(),
        resources: { nodes: [{ address: 'localhost' }] },
        strategy: 'ps',
        task: 0,
      }).plan.feeds,
    ];
    for (const each of feeds) t.false('alike' in each['rate:0']!);
  },
);

test.serial(
  'a placeholder of unknown rank that is split holds examples: as a factor of the gradient it is asked for',
  (t) => {
    const options = { graph: descent({ shape: null }), resources: RESOURCES, strategy: 'ps', task: 0 };
    const error = t.throws(() => transform({ ...options, feeds: { 'rate:0': { split: 0 } } }), {
      instanceOf: GradsyncError,
    });
    t.true(error?.message.includes('--gradient'));
  },
);
