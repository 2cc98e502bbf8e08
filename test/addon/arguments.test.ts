/** What the addon refuses: one row per bad call, with the code and the words that help. A bad call never crashes and changes nothing. */
import test from 'ava';
import type { NativeSession } from '../../src/addon/native.js';
import { addon, floats, PATIENT, sessionOf } from '../helpers/addon.js';

/** The addon without types, as JavaScript sees it. */
type Loose = Record<string, (...args: unknown[]) => unknown>;
const loose = (object: unknown): Loose => object as Loose;

function objectsOf(session: NativeSession) {
  const variable = session.variable('w', { dtype: 'float32', shape: [2] });
  variable.assign(floats(1, 2), [2]);
  return {
    addon: loose(addon),
    session: loose(session),
    variable: loose(variable),
    dense: loose(session.denseAccumulator('d', { dtype: 'float32', shape: [2], reduction: 'mean' })),
    sparse: loose(
      session.sparseAccumulator('s', { dtype: 'float32', shape: null, reduction: 'mean', form: 'combined' }),
    ),
    queue: loose(session.tokenQueue('q', { dtypes: ['int64'], shapes: null, capacity: 1 })),
  };
}
type Objects = ReturnType<typeof objectsOf>;

const dense = { dtype: 'float32', shape: [2], reduction: 'mean' };
const momentum = { kind: 'momentum', lr: 1, momentum: 0, useNesterov: false };
const INVALID: readonly [title: string, message: RegExp, call: (objects: Objects) => unknown][] = [
  [
    'rows of no elements',
    /addRows: expected a table of rows of 0 elements, at least one/,
    (o) => o.addon['addRows']!('float32', 0, new Float32Array(4), Int32Array.of(0), new Float32Array(2)),
  ],
  [
    'fewer rows than indices',
    /as many such rows as indices \(2\) but received 4 and 2 elements/,
    (o) => o.addon['addRows']!('float32', 2, new Float32Array(4), Int32Array.of(0, 1), new Float32Array(2)),
  ],
  [
    'an index that is no row',
    /addRows: table: indices\[1\] = 2 is not in \[0, 2\)/,
    (o) => o.addon['addRows']!('float32', 2, new Float32Array(4), Int32Array.of(0, 2), new Float32Array(4)),
  ],
  [
    'rows of another type',
    /addRows: rows: expected a Float32Array for float32 but received Float64Array/,
    (o) => o.addon['addRows']!('float32', 2, new Float32Array(4), Int32Array.of(0), new Float64Array(2)),
  ],
  [
    'no options',
    /createSession: options: expected an object but received undefined/,
    (o) => o.addon['createSession']!(),
  ],
  [
    'a name that is no string',
    /options.name: expected a string but received number 3/,
    (o) => o.addon['createSession']!({ name: 3 }),
  ],
  [
    'no threads',
    /options.threads: expected 1 to 256 but received 0/,
    (o) => o.addon['createSession']!({ name: 'x', threads: 0 }),
  ],
  [
    'half a thread',
    /expected an integer but received number 0.5/,
    (o) => o.addon['createSession']!({ name: 'x', threads: 0.5 }),
  ],
  [
    'a key that is no string',
    /NativeSession.variable: key: expected a string/,
    (o) => o.session['variable']!(1, dense),
  ],
  [
    'an unknown dtype',
    /spec.dtype: expected a dtype among float32.* but received 'float'/,
    (o) => o.session['variable']!('v', { dtype: 'float', shape: null }),
  ],
  [
    'a shape that is no array',
    /spec.shape: expected an array of dimensions/,
    (o) => o.session['variable']!('v', { dtype: 'int32', shape: 2 }),
  ],
  [
    'a missing shape',
    /spec.shape: .* received undefined/,
    (o) => o.session['variable']!('v', { dtype: 'int32' }),
  ],
  [
    'a negative dimension',
    /spec.shape: expected an array of dimensions .* but received -2 among them/,
    (o) => o.session['variable']!('v', { dtype: 'int32', shape: [2, -2] }),
  ],
  [
    'a dimension of text',
    /element 0: expected an integer but received string "2"/,
    (o) => o.session['variable']!('v', { dtype: 'int32', shape: ['2'] }),
  ],
  [
    'an endless shape',
    /at most 1024 elements/,
    (o) => o.session['variable']!('v', { dtype: 'int32', shape: new Array(2 ** 31) }),
  ],
  [
    'an unknown reduction',
    /spec.reduction: expected one of mean, sum but received string "max"/,
    (o) => o.session['denseAccumulator']!('x', { ...dense, reduction: 'max' }),
  ],
  [
    'an unknown form',
    /spec.form: expected one of combined, concatenated, tensorflow but received undefined/,
    (o) => o.session['sparseAccumulator']!('x', dense),
  ],
  [
    'a dtype without aggregation',
    /bool/,
    (o) => o.session['denseAccumulator']!('x', { ...dense, dtype: 'bool' }),
  ],
  [
    'a queue without components',
    /./,
    (o) => o.session['tokenQueue']!('x', { dtypes: [], shapes: null, capacity: 1 }),
  ],
  [
    'a queue of no capacity',
    /capacity/,
    (o) => o.session['tokenQueue']!('x', { dtypes: ['int64'], shapes: null, capacity: 0 }),
  ],
  [
    'the wrong typed array',
    /assign: value: expected a Float32Array for float32 but received Int32Array of 2 elements/,
    (o) => o.variable['assign']!(new Int32Array(2), [2]),
  ],
  [
    'an array that is not typed',
    /expected a typed array but received array of 2/,
    (o) => o.variable['assign']!([1, 2], [2]),
  ],
  [
    'a DataView',
    /expected a typed array/,
    (o) => o.variable['assign']!(new DataView(new ArrayBuffer(8)), [2]),
  ],
  [
    'fewer elements than the shape needs',
    /expected 2 elements/,
    (o) => o.variable['assign']!(floats(1), [2]),
  ],
  ['a shape the variable does not admit', /\[3\]/, (o) => o.variable['assign']!(floats(1, 2, 3), [3])],
  ['a shape beyond all memory', /./, (o) => o.variable['assign']!(floats(1, 2), [2 ** 40, 2 ** 40])],
  ['another size to add', /./, (o) => o.variable['assignAdd']!(floats(1, 2, 3))],
  [
    'a known version of text',
    /copyTo: known: expected an integer/,
    (o) => o.variable['copyTo']!(floats(1, 2), 'x'),
  ],
  [
    'indices of floats',
    /indices: expected an Int32Array or BigInt64Array/,
    (o) => o.variable['gather']!(floats(0), floats(0)),
  ],
  [
    'a slot that is no variable',
    /slots: element 0: expected a NativeVariable but received object/,
    (o) => o.variable['applyDense']!(momentum, [{}], floats(1, 1)),
  ],
  [
    'a slot of another class',
    /slots: element 0: expected a NativeVariable/,
    (o) => o.variable['applyDense']!(momentum, [o.session], floats(1, 1)),
  ],
  [
    'an impostor',
    /slots: element 0: expected a NativeVariable/,
    (o) =>
      o.variable['applyDense']!(
        momentum,
        [Object.setPrototypeOf(o.queue, Object.getPrototypeOf(o.variable))],
        floats(1, 1),
      ),
  ],
  [
    'a missing hyperparameter',
    /optimizer.momentum: expected a number but received undefined/,
    (o) => o.variable['applyDense']!({ kind: 'momentum', lr: 1 }, [], floats(1, 1)),
  ],
  [
    'an optimizer of an unknown kind',
    /optimizer: expected a kind among gradientDescent, .* but received 'sgd'/,
    (o) => o.variable['applyDense']!({ kind: 'sgd' }, [], floats(1, 1)),
  ],
  [
    'a hyperparameter of text',
    /optimizer.alpha: expected a number but received string "1"/,
    (o) => o.variable['applyDense']!({ kind: 'gradientDescent', alpha: '1' }, [], floats(1, 1)),
  ],
  [
    'a step that is no integer',
    /apply: localStep: expected an integer but received number 1.5/,
    (o) => o.dense['apply']!(1.5, 0, floats(1, 1), [2]),
  ],
  [
    'a step beyond 64 bits',
    /an integer of 64 bits but received bigint 18446744073709551616/,
    (o) => o.dense['apply']!(2n ** 64n, 0, floats(1, 1), [2]),
  ],
  [
    'a number beyond the exact integers',
    /localStep: expected an integer/,
    (o) => o.dense['apply']!(2 ** 53, 0, floats(1, 1), [2]),
  ],
  [
    'a symbol',
    /localStep: expected an integer but received symbol/,
    (o) => o.dense['apply']!(Symbol('x'), 0, floats(1, 1), [2]),
  ],
  ['take without options', /take: options: expected an object/, (o) => o.dense['take']!(1)],
  [
    'a deadline that is not a number',
    /options.deadlineMs: expected a number of milliseconds/,
    (o) => o.dense['take']!(1, { deadlineMs: Number.NaN }),
  ],
  ['a deadline of undefined', /options.deadlineMs: .* received undefined/, (o) => o.dense['take']!(1, {})],
  [
    'a dense shape of text',
    /denseShape: expected an array/,
    (o) => o.sparse['apply']!(0, 0, new Int32Array(1), floats(1), [1], 'x'),
  ],
  [
    'fewer values than indices',
    /./,
    (o) => o.sparse['apply']!(0, 0, new Int32Array(2), floats(1), [1], null),
  ],
  [
    'an element that is no array',
    /enqueue: element: expected an array but received object/,
    (o) => o.queue['enqueue']!({}, PATIENT),
  ],
  [
    'a component that is no tensor',
    /expected a tensor \{dtype, shape, data\} but received null/,
    (o) => o.queue['enqueue']!([null], PATIENT),
  ],
  [
    'a component in the wrong array',
    /expected a BigInt64Array for int64/,
    (o) => o.queue['enqueue']!([{ dtype: 'int64', shape: [], data: floats(1) }], PATIENT),
  ],
  ['a close without an answer', /cancelPendingEnqueues: expected a boolean/, (o) => o.queue['close']!()],
];

for (const [title, message, call] of INVALID) {
  test(`refused as INVALID_ARGUMENT: ${title}`, (t) => {
    const objects = objectsOf(sessionOf(t));
    t.throws(() => call(objects), { code: 'INVALID_ARGUMENT', message });
  });
}

test('a take of none is refused by its promise', async (t) => {
  const accumulator = sessionOf(t).denseAccumulator('d', { dtype: 'float32', shape: null, reduction: 'sum' });
  await t.throwsAsync(accumulator.take(0, PATIENT).promise, {
    code: 'INVALID_ARGUMENT',
    message: /num_required/,
  });
});

test('a component of another dtype than the queue has is refused by its promise', async (t) => {
  const queue = sessionOf(t).tokenQueue('q', { dtypes: ['int64'], shapes: null, capacity: 1 });
  const element = [{ dtype: 'float32', shape: [], data: floats(1) }] as const;
  await t.throwsAsync(queue.enqueue(element, PATIENT).promise, { code: 'INVALID_ARGUMENT' });
});

test('an unknown session is NOT_FOUND, and so is a closed one', (t) => {
  t.throws(() => addon.attachSession('nobody'), { code: 'NOT_FOUND', message: /"nobody"/ });
  const session = addon.createSession({ name: 'short' });
  session.close('enough');
  t.throws(() => addon.attachSession(session.id), { code: 'NOT_FOUND' });
});

test('objects cannot be made with new, nor methods be moved to other objects', (t) => {
  const { variable, session } = objectsOf(sessionOf(t));
  const Variable = (variable as unknown as { constructor: new (...args: unknown[]) => unknown }).constructor;
  t.throws(() => new Variable(), { code: 'FAILED_PRECONDITION' });
  t.throws(() => new Variable(session), { code: 'FAILED_PRECONDITION' });
  t.throws(() => Reflect.apply(variable['read']!, session, []), { instanceOf: TypeError });
  t.throws(() => Reflect.apply(variable['read']!, {}, []), { instanceOf: TypeError });
});

test('a getter that throws is heard', (t) => {
  const session = sessionOf(t);
  const spec = {
    dtype: 'float32' as const,
    get shape(): null {
      throw new RangeError('from the getter');
    },
  };
  t.throws(() => session.variable('w', spec), { instanceOf: RangeError, message: 'from the getter' });
});

test('two fresh sessions of one name are two, with keys of their own', (t) => {
  const [one, two] = [sessionOf(t), sessionOf(t)];
  t.not(one.id, two.id);
  one.variable('w', { dtype: 'float32', shape: null }).assign(floats(1), [1]);
  t.false(two.variable('w', { dtype: 'int32', shape: null }).isInitialized);
});

test('the addon says what it can do and which version it is', (t) => {
  const { instructionSet, instructionSets, ...backends } = addon.capabilities();
  t.deepEqual(backends, { cuda: false, nccl: false, externalMemory: true, gloo: false });
  t.true(instructionSets.includes(instructionSet));
  t.regex(addon.version, /^\d+\.\d+\.\d+/);
});
