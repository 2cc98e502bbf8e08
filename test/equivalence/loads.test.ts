/**
 * Programs that can assign their variables what is fed, between steps: with several replicas in a task they train as with one, whether such
 * an operation is merely there or is run.
 */
import test from 'ava';
import { openSession } from '../../src/engine.js';
import { attr, attributes } from '../../src/graph/attributes.js';
import { encodeGraphDef } from '../../src/graph/codec/graph-def.js';
import { Graph } from '../../src/graph/graph.js';
import type { Operation } from '../../src/graph/operation.js';
import type { TensorData } from '../../src/runtime/index.js';
import { nodesOf } from '../helpers/layouts.js';
import { PATIENT_MS } from '../helpers/patience.js';

const FLOAT = attr.type('float32');
const FROZEN = [3, -5];
const LAYOUT = [2, 2];
/** The rows of a task: those of its replicas, one behind the other. */
const ROWS = [
  [1, 2, 3, 4],
  [-7, 8, 5, 2],
];

function tensor(shape: readonly number[], data: readonly number[]): TensorData {
  return { dtype: 'float32', shape, data: Float32Array.from(data) };
}

/** `w -= mean(x * frozen)`; `load_w`, `load_frozen` and `load_any` (whose value has no known shape) assign what is fed, `shake` adds what is drawn. */
function program(): Uint8Array {
  const graph = new Graph();
  const add = (
    name: string,
    type: string,
    inputs: readonly Operation[],
    own: Parameters<typeof attributes>[0],
  ) => graph.add({ name, type, inputs: inputs.map((input) => input.output()), attributes: attributes(own) });
  const constant = (name: string, dtype: 'float32' | 'int32', shape: readonly number[], data: number[]) => {
    const array = dtype === 'float32' ? Float32Array.from(data) : Int32Array.from(data);
    const value = attr.tensor({ dtype, shape, bytes: new Uint8Array(array.buffer) });
    return add(name, 'Const', [], { dtype: attr.type(dtype), value });
  };
  const fed = (name: string, shape: readonly number[]) =>
    add(name, 'Placeholder', [], { dtype: FLOAT, shape: attr.shape(shape) });
  const variable = (name: string, start: number) => {
    const handle = add(name, 'VarHandleOp', [], {
      dtype: FLOAT,
      shape: attr.shape([2]),
      shared_name: attr.string(name),
    });
    add(
      `${name}/assign`,
      'AssignVariableOp',
      [handle, constant(`${name}/start`, 'float32', [2], [start, start])],
      {
        dtype: FLOAT,
      },
    );
    add(`${name}/read`, 'ReadVariableOp', [handle], { dtype: FLOAT });
    return handle;
  };
  const w = variable('w', 0);
  const frozen = variable('frozen', 1);
  const product = add('product', 'Mul', [fed('x', [-1, 2]), graph.get('frozen/read')], { T: FLOAT });
  const mean = add('mean', 'Mean', [product, constant('axis', 'int32', [1], [0])], {
    T: FLOAT,
    Tidx: attr.type('int32'),
    keep_dims: attr.bool(false),
  });
  add('train_op', 'ResourceApplyGradientDescent', [w, constant('rate', 'float32', [], [1]), mean], {
    T: FLOAT,
  });
  add('load_w', 'AssignVariableOp', [w, fed('w/value', [2])], { dtype: FLOAT });
  add('load_frozen', 'AssignVariableOp', [frozen, fed('frozen/value', [2])], { dtype: FLOAT });
  add('load_any', 'AssignVariableOp', [frozen, fed('any/value', [-1])], { dtype: FLOAT });
  const drawn = add('drawn', 'RandomStandardNormal', [constant('dims', 'int32', [1], [2])], {
    T: attr.type('int32'),
    dtype: FLOAT,
  });
  add('shake', 'AssignAddVariableOp', [w, drawn], { dtype: FLOAT });
  return encodeGraphDef(graph);
}

/** `w` of every task after the operation, if any, and a step. */
async function trained(
  strategy: string,
  load?: { readonly fetch: string; readonly feed: string; readonly value: readonly number[] },
): Promise<readonly (readonly number[])[]> {
  const session = await openSession({
    graph: program(),
    gradients: ['w|mean'],
    resources: { nodes: nodesOf(LAYOUT) },
    strategy,
    deadlineMs: PATIENT_MS,
  });
  try {
    await session.initialize();
    if (load !== undefined) {
      const request = { feeds: { [load.feed]: tensor([2], load.value) }, fetches: [load.fetch] };
      await session.run(LAYOUT.map(() => request));
    }
    await session.run(
      ROWS.map((rows) => ({ feeds: { 'x:0': tensor([2, 2], rows) }, fetches: ['train_op'] })),
    );
    const results = await session.run(LAYOUT.map(() => ({ feeds: {}, fetches: ['w/read:0'] })));
    return results.map((result) => Array.from(result['w/read:0']!.data, Number));
  } finally {
    await session.close();
  }
}

/** What one step comes to from a start, and with these frozen values. */
function expected(start: readonly number[], frozen: readonly number[]): readonly (readonly number[])[] {
  const rows = ROWS.flat();
  const w = start.map((value, i) => {
    const column = rows.filter((_, at) => at % 2 === i);
    return value - (frozen[i]! * column.reduce((sum, each) => sum + each, 0)) / column.length;
  });
  return LAYOUT.map(() => w);
}

for (const strategy of ['ps-lb', 'all-reduce', 'parallax']) {
  test.serial(
    `${strategy}: what could assign a trained variable, and is not run, changes nothing`,
    async (t) => {
      t.deepEqual(await trained(strategy), expected([0, 0], [1, 1]));
    },
  );

  for (const [fetch, feed] of [
    ['load_frozen', 'frozen/value:0'],
    ['load_any', 'any/value:0'],
  ] as const) {
    test.serial(`${strategy}: ${fetch} fills what all replicas read`, async (t) => {
      t.deepEqual(await trained(strategy, { fetch, feed, value: FROZEN }), expected([0, 0], FROZEN));
    });
  }
}

test.serial('all-reduce: a trained variable that is loaded is trained from there', async (t) => {
  const load = { fetch: 'load_w', feed: 'w/value:0', value: [10, -20] };
  t.deepEqual(await trained('all-reduce', load), expected([10, -20], [1, 1]));
});
