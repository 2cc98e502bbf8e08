/** Discovery of gradients on small graphs: what it takes, and where it asks for the pair instead of training something else. */
import test from 'ava';
import {
  attr,
  attributes,
  Graph,
  type MetaGraph,
  type Operation,
  readTrainingGraph,
  type Tensor,
} from '../../src/graph/index.js';
import { throwsTyped } from '../helpers/throws.js';

/** A model y = x W with what gradient descent needs up to the gradient "backprop:0". */
class Model {
  readonly graph = new Graph();
  readonly x = this.add('x', 'Placeholder').output();
  readonly rate = this.add('rate', 'Const').output();
  readonly variable = this.makeVariable('W');
  readonly read = this.add('W/Read', 'ReadVariableOp', this.variable.output()).output();
  readonly product = this.add('y', 'MatMul', this.x, this.read).output();
  readonly seed = this.add(
    'seed',
    'Fill',
    this.add('shape', 'Shape', this.product).output(),
    this.rate,
  ).output();
  readonly gradient = this.add('backprop', 'MatMul', this.x, this.seed).output();

  add(name: string, type: string, ...inputs: readonly Tensor[]): Operation {
    return this.graph.add({ name, type, inputs });
  }

  makeVariable(name: string): Operation {
    const values = attributes({ dtype: attr.type('float32'), shape: attr.shape([4, 4]) });
    const handle = this.graph.add({ name, type: 'VarHandleOp', attributes: values });
    this.add(
      `${name}/Assign`,
      'AssignVariableOp',
      handle.output(),
      this.add(`${name}/zeros`, 'Const').output(),
    );
    return handle;
  }

  /** Gradient descent with what became of the gradient. */
  descend(gradient: Tensor, name = 'update'): Operation {
    return this.add(name, 'ResourceApplyGradientDescent', this.variable.output(), this.rate, gradient);
  }

  get meta(): MetaGraph {
    const none = new Uint8Array();
    return { graph: this.graph, collections: new Map(), saver: undefined, before: none, after: none };
  }
}

/** What a program may do to a gradient, and whether discovery may take the result. */
const TRANSFORMATIONS: readonly (readonly [string, boolean, (model: Model, gradient: Tensor) => Tensor])[] = [
  ['nothing', true, (_, gradient) => gradient],
  ['an identity', true, (m, g) => m.add('i', 'Identity', g).output()],
  ['a constant factor', true, (m, g) => m.add('m', 'Mul', g, m.add('c', 'Const').output()).output()],
  ['division by a constant', true, (m, g) => m.add('m', 'RealDiv', g, m.rate).output()],
  [
    'a sum of two gradients',
    true,
    (m, g) => m.add('n', 'AddN', g, m.add('g2', 'MatMul', m.x, m.seed).output()).output(),
  ],
  [
    'weight decay',
    true,
    (m, g) => m.add('a', 'AddV2', g, m.add('d', 'Mul', m.read, m.rate).output()).output(),
  ],
  [
    'clipping by value',
    false,
    (m, g) => m.add('c', 'Minimum', m.add('a', 'Maximum', g, m.rate).output(), m.rate).output(),
  ],
  ['ClipByValue', false, (m, g) => m.add('c', 'ClipByValue', g, m.rate, m.rate).output()],
  ['its sign', false, (m, g) => m.add('s', 'Sign', g).output()],
  ['its square', false, (m, g) => m.add('s', 'Mul', g, g).output()],
  [
    'a choice',
    false,
    (m, g) => m.add('s', 'SelectV2', m.add('f', 'IsFinite', g).output(), g, m.rate).output(),
  ],
  [
    'clipping by norm',
    false,
    (m, g) => {
      const norm = m
        .add('norm', 'Sqrt', m.add('sum', 'Sum', m.add('sq', 'Square', g).output(), m.rate).output())
        .output();
      return m.add('c', 'Identity', m.add('div', 'RealDiv', g, norm).output()).output();
    },
  ],
  [
    'clipping by norm as tf.clip_by_norm writes it, scaling before it divides',
    false,
    (m, g) => {
      const norm = m
        .add('norm', 'Sqrt', m.add('sum', 'Sum', m.add('sq', 'Mul', g, g).output(), m.rate).output())
        .output();
      const most = m.add('max', 'Maximum', norm, m.rate).output();
      return m.add('div', 'RealDiv', m.add('scaled', 'Mul', g, m.rate).output(), most).output();
    },
  ],
  [
    'a mean of its square taken away',
    false,
    (m, g) => {
      const mean = m.add('mean', 'Mean', m.add('sq', 'Square', g).output(), m.rate).output();
      return m.add('sub', 'Sub', g, mean).output();
    },
  ],
  [
    'a factor from a global norm',
    false,
    (m, g) => {
      const other = m.add('g2', 'MatMul', m.x, m.seed).output();
      const both = m
        .add('pack', 'Pack', m.add('l', 'L2Loss', g).output(), m.add('l2', 'L2Loss', other).output())
        .output();
      const scale = m.add('scale', 'Rsqrt', m.add('sum', 'Sum', both, m.rate).output()).output();
      return m.add('c', 'Mul', scale, g).output();
    },
  ],
  ['a function of the program', false, (m, g) => m.add('f', 'PartitionedCall', g).output()],
  ['an operation nobody knows', false, (m, g) => m.add('f', 'MyGradientTweak', g).output()],
];

for (const [what, isTaken, transform] of TRANSFORMATIONS) {
  test(`${what} between gradient and update: ${isTaken ? 'the input of the update is the gradient' : 'the pair is asked for'}`, (t) => {
    const model = new Model();
    const update = model.descend(transform(model, model.gradient));
    if (isTaken) {
      const [pair] = readTrainingGraph(model.meta).pairs;
      t.deepEqual(pair?.gradient, { kind: 'dense', tensor: update.inputs[2]! });
      return;
    }
    throwsTyped(
      t,
      () => readTrainingGraph(model.meta),
      'INVALID_ARGUMENT',
      '"W"',
      '--gradient',
      'gradsync/gradients',
    );
    const [pair] = readTrainingGraph(model.meta, { gradients: ['W:0|backprop:0'] }).pairs;
    t.deepEqual(pair?.gradient, { kind: 'dense', tensor: model.gradient });
    t.is(pair?.update, update);
  });
}

/** Whose sizes a gradient is cut by, and whether it is then that of the rows. */
const CUTS: readonly (readonly [string, boolean, (model: Model, rows: Tensor) => readonly Tensor[]])[] = [
  ['what is concatenated', true, (m, rows) => [m.x, rows]],
  ['the same in another order', false, (m, rows) => [rows, m.x]],
  ['something else', false, (m, rows) => [m.x, m.add('other', 'Neg', rows).output()]],
];
for (const [whose, isTaken, partsOf] of CUTS) {
  const outcome = isTaken ? 'the gradient is found' : 'the pair is asked for';
  test(`rows beside other values, whose gradient is cut by the sizes of ${whose}: ${outcome}`, (t) => {
    const model = new Model();
    const ids = model.add('ids', 'Placeholder').output();
    const rows = model.add('rows', 'ResourceGather', model.variable.output(), ids).output();
    const joined = model.add('joined', 'ConcatV2', model.x, rows, model.rate).output();
    const shape = model.add('joined/Shape', 'Shape', joined).output();
    const seed = model.add('joined/seed', 'Fill', shape, model.rate).output();
    const sizes = model.add('sizes', 'ShapeN', ...partsOf(model, rows));
    const offsets = model.add('offsets', 'ConcatOffset', model.rate, sizes.output(0), sizes.output(1));
    const cut = model.add('cut', 'Slice', seed, offsets.output(1), sizes.output(1)).output();
    model.add('update', 'ResourceScatterSub', model.variable.output(), ids, cut);
    if (isTaken) t.is(readTrainingGraph(model.meta).pairs[0]?.gradient.kind, 'sparse');
    else throwsTyped(t, () => readTrainingGraph(model.meta), 'INVALID_ARGUMENT', '"cut" (Slice)');
  });
}

test('one variable with two updates is an error that names both', (t) => {
  const model = new Model();
  model.descend(model.gradient, 'update_1');
  model.descend(model.gradient, 'update_2');
  throwsTyped(t, () => readTrainingGraph(model.meta), 'INVALID_ARGUMENT', '"update_1"', '"update_2"');
  const gradients = ['W|backprop:0'];
  throwsTyped(
    t,
    () => readTrainingGraph(model.meta, { gradients }),
    'INVALID_ARGUMENT',
    '"update_1"',
    '"update_2"',
  );
});

test('weight decay that is subtracted before the update is not the update', (t) => {
  const model = new Model();
  const decay = model.add(
    'decay',
    'AssignSubVariableOp',
    model.variable.output(),
    model.add('d', 'Mul', model.read, model.rate).output(),
  );
  const update = model.descend(model.gradient);
  model.graph.addControlInput(update, decay);
  for (const gradients of [[], ['W|backprop:0']]) {
    const [pair] = readTrainingGraph(model.meta, { gradients }).pairs;
    t.is(pair?.update, update);
    t.is(pair?.source, update);
  }
});

test('the group of one update is its source only if something waits for it, and it gathers nothing else', (t) => {
  const model = new Model();
  const update = model.descend(model.gradient);
  const group = model.graph.add({ name: 'group', type: 'NoOp', controlInputs: [update] });
  t.is(readTrainingGraph(model.meta).pairs[0]?.source, update, 'nothing waits for it');
  const counter = model.makeVariable('counter');
  const step = model.add('step', 'AssignAddVariableOp', counter.output(), model.rate);
  model.graph.addControlInput(step, group);
  t.is(readTrainingGraph(model.meta).pairs[0]?.source, group);
  const beta = model.makeVariable('beta');
  model.graph.addControlInput(group, model.add('beta/step', 'AssignVariableOp', beta.output(), model.x));
  t.is(readTrainingGraph(model.meta).pairs[0]?.source, update, 'another variable is set in it');
});

for (const [predicate, isTaken] of [
  ['rate', true],
  ['x', false],
] as const) {
  const outcome = isTaken ? 'the update is found' : 'the pair is asked for';
  test(`handles are followed through identities and a switch on "${predicate}": ${outcome}`, (t) => {
    const model = new Model();
    const handle = model.add('alias', 'Identity', model.variable.output()).output();
    const branch = model.add('switch', 'Switch', handle, model[predicate]).output(1);
    const update = model.add('update', 'ResourceApplyGradientDescent', branch, model.rate, model.gradient);
    if (isTaken) t.is(readTrainingGraph(model.meta).pairs[0]?.update, update);
    else throwsTyped(t, () => readTrainingGraph(model.meta), 'INVALID_ARGUMENT', '"switch" (Switch)');
  });
}

test('restoring a checkpoint and resetting to a constant are no updates', (t) => {
  const model = new Model();
  const restored = model.add('restored', 'Identity', model.add('restore', 'RestoreV2').output()).output();
  model.add('restore/Assign', 'AssignVariableOp', model.variable.output(), restored);
  model.add('reset', 'AssignVariableOp', model.variable.output(), model.rate);
  const update = model.descend(model.gradient);
  const { pairs, variables } = readTrainingGraph(model.meta);
  t.is(pairs[0]?.update, update);
  t.is(variables[0]?.initializer?.name, 'W/Assign');
});

test('a graph without variables, and one that trains none, are errors that say what to export', (t) => {
  const empty = new Model();
  const graph = new Graph();
  graph.add({ name: 'x', type: 'Placeholder' });
  throwsTyped(
    t,
    () => readTrainingGraph({ ...empty.meta, graph }),
    'FAILED_PRECONDITION',
    'without variables',
  );
  throwsTyped(
    t,
    () => readTrainingGraph(empty.meta),
    'FAILED_PRECONDITION',
    'none that is trained',
    'minimize',
  );
});

test('operations that lack inputs, and cycles, are no reason to crash or to hang', (t) => {
  for (const type of ['Identity', 'Neg', 'Mul', 'RealDiv', 'Reshape', 'AddV2', 'UnsortedSegmentSum', 'Sum']) {
    for (const withInputs of [false, true]) {
      const model = new Model();
      const odd = model.add('odd', type, ...(withInputs ? [model.gradient] : []));
      if (withInputs) model.graph.setInput(odd, 0, odd.output());
      const inputs = [model.variable.output(), model.rate, model.rate, odd.output(), odd.output()];
      model.add('update', 'ResourceSparseApplyAdagrad', ...inputs);
      model.add('cut', 'ResourceApplyAdam', model.makeVariable('V').output());
      model.add('cut/Assign', 'AssignVariableOp', model.makeVariable('U').output());
      throwsTyped(t, () => readTrainingGraph(model.meta), 'INVALID_ARGUMENT', '--gradient');
    }
  }
});
