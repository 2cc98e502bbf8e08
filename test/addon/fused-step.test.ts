/** Many variables updated by one call: the same bits as take, clip and update one by one; guards; and nothing done by halves. */
import test from 'ava';
import type { NativeSession, NativeUpdate, NativeVariable } from '../../src/addon/native.js';
import { floats, PATIENT, sessionOf } from '../helpers/addon.js';

const ADAM = {
  kind: 'adam',
  beta1Power: 0.9,
  beta2Power: 0.999,
  lr: 0.01,
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-7,
  useNesterov: false,
} as const;
const SIZE = 3000;
const WIDTH = 8;

function variable(
  session: NativeSession,
  key: string,
  shape: readonly number[],
  value: number,
): NativeVariable {
  const made = session.variable(key, { dtype: 'float32', shape });
  made.assign(new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(value), shape);
  return made;
}

/** A dense variable and a table, both trained by Adam from accumulators of 2 contributions. */
function model(session: NativeSession) {
  const update = (name: string, shape: readonly number[], accumulator: NativeUpdate['accumulator']) => ({
    variable: variable(session, name, shape, 1),
    slots: [variable(session, `${name}/m`, shape, 0), variable(session, `${name}/v`, shape, 0)],
    optimizer: ADAM,
    accumulator,
    numRequired: 2,
  });
  const dense = session.denseAccumulator('d', { dtype: 'float32', shape: [SIZE], reduction: 'mean' });
  const sparse = session.sparseAccumulator('s', {
    dtype: 'float32',
    shape: [100, WIDTH],
    reduction: 'mean',
    form: 'combined',
  });
  const updates = [update('dense', [SIZE], dense), update('table', [100, WIDTH], sparse)] as const;
  return { session, dense, sparse, updates };
}

const wave = (count: number, seed: number) =>
  Float32Array.from({ length: count }, (_, i) => Math.sin(seed + i));
const ROWS = [new Int32Array([7, 3, 7]), new Int32Array([50, 3])];

function contribute({ dense, sparse }: ReturnType<typeof model>, contributor: number): void {
  dense.apply(0, contributor, wave(SIZE, contributor), [SIZE]);
  const rows = ROWS[contributor]!;
  sparse.apply(0, contributor, rows, wave(rows.length * WIDTH, contributor), [rows.length, WIDTH], null);
}

const values = ({ variable: one, slots }: NativeUpdate) => [one, ...slots].map((each) => each.read().data);

test('a fused step gives the bits of take and update, one variable after another', async (t) => {
  const fused = model(sessionOf(t));
  const stepwise = model(sessionOf(t));
  for (const contributor of [1, 0]) for (const one of [fused, stepwise]) contribute(one, contributor);
  const gradient = await stepwise.dense.take(2, PATIENT).promise;
  const slices = await stepwise.sparse.take(2, PATIENT).promise;
  const [dense, table] = stepwise.updates;
  dense.variable.applyDense(ADAM, dense.slots, gradient.data);
  table.variable.applySparse(ADAM, table.slots, slices.values.data, slices.indices);
  const result = await fused.session.fusedStep(fused.updates, PATIENT).promise;
  t.deepEqual(result, { isApplied: true, globalNorm: null, scale: 1, nonFinite: [] });
  t.deepEqual(fused.updates.map(values), stepwise.updates.map(values));
});

test('clipping scales all gradients by the norm of dense and sparse aggregates together', async (t) => {
  const { session, dense, updates } = model(sessionOf(t));
  const [update] = updates;
  const descent: NativeUpdate = {
    ...update,
    slots: [],
    optimizer: { kind: 'gradientDescent', alpha: 1 },
    numRequired: 1,
  };
  const gradient = new Float32Array(SIZE);
  gradient.set([3, 4]);
  dense.apply(0, 0, gradient, [SIZE]);
  const result = await session.fusedStep([descent], { ...PATIENT, clipNorm: 2.5 }).promise;
  t.is(result.globalNorm, 5);
  t.is(result.scale, 0.5);
  t.deepEqual(update.variable.read().data.slice(0, 3), floats(-0.5, -1, 1));
});

test('a guard names the contributor and the variable whose gradient is not finite', async (t) => {
  const one = model(sessionOf(t));
  const before = one.updates.map(values);
  const spoil = (contributor: number) => {
    const gradient = wave(SIZE, 0);
    gradient[17] = Number.NaN;
    one.dense.apply(10, contributor, gradient, [SIZE]);
    one.dense.apply(10, 0, wave(SIZE, 0), [SIZE]);
    for (const contributor of [0, 1]) {
      one.sparse.apply(10, contributor, ROWS[1]!, wave(2 * WIDTH, 0), [2, WIDTH], null);
    }
  };
  spoil(5);
  const step = (nonFinite: 'error' | 'skip' | 'zero') =>
    one.session.fusedStep(one.updates, { ...PATIENT, nonFinite }).promise;
  await t.throwsAsync(() => step('error'), {
    code: 'INVALID_ARGUMENT',
    message: /variable 'dense': .* contributor 5 .* at position 17/,
  });
  spoil(6);
  const skipped = await step('skip');
  t.false(skipped.isApplied);
  t.deepEqual(skipped.nonFinite, [{ variable: 'dense', contributor: 6, position: 17 }]);
  t.deepEqual(one.updates.map(values), before);
  spoil(7);
  const zeroed = await step('zero');
  t.true(zeroed.isApplied);
  t.deepEqual(zeroed.nonFinite, [{ variable: 'dense', contributor: 7, position: 17 }]);
  t.true(one.updates.flatMap(values).every((data) => (data as Float32Array).every(Number.isFinite)));
});

test('a step that misses its deadline, or is cancelled, gives the contributions back', async (t) => {
  const one = model(sessionOf(t));
  one.dense.apply(0, 0, wave(SIZE, 0), [SIZE]);
  one.dense.apply(0, 1, wave(SIZE, 1), [SIZE]);
  const late = one.session.fusedStep(one.updates, { deadlineMs: 10 });
  await t.throwsAsync(late.promise, { code: 'DEADLINE_EXCEEDED' });
  const ended = one.session.fusedStep(one.updates, PATIENT);
  ended.cancel();
  await t.throwsAsync(ended.promise, { code: 'CANCELLED' });
  t.is(one.dense.numAccumulated, 2);
  for (const contributor of [0, 1]) {
    one.sparse.apply(
      0,
      contributor,
      ROWS[contributor]!,
      wave(ROWS[contributor]!.length * WIDTH, 0),
      [ROWS[contributor]!.length, WIDTH],
      null,
    );
  }
  t.true((await one.session.fusedStep(one.updates, PATIENT).promise).isApplied);
});

test('a session that closes ends its steps', async (t) => {
  const { session, updates } = model(sessionOf(t));
  const { promise } = session.fusedStep(updates, PATIENT);
  session.close('enough');
  await t.throwsAsync(promise, { code: 'CANCELLED' });
});

test('bad updates are refused, and name what is wrong', async (t) => {
  const { session, updates } = model(sessionOf(t));
  const [update] = updates;
  const call =
    (list: unknown, options: unknown = PATIENT) =>
    () =>
      session.fusedStep(list as never, options as never).promise;
  await t.throwsAsync(call([]), { code: 'INVALID_ARGUMENT', message: /at least one variable/ });
  await t.throwsAsync(call([update, update]), { code: 'INVALID_ARGUMENT', message: /one twice/ });
  await t.throwsAsync(call([update], { ...PATIENT, clipNorm: -1 }), { code: 'INVALID_ARGUMENT' });
  const refused = (list: unknown, message: RegExp, options: unknown = PATIENT) =>
    t.throws(() => call(list, options)(), { code: 'INVALID_ARGUMENT', message });
  refused({}, /updates: expected an array but received object/);
  refused([{ ...update, accumulator: update.variable }], /updates\[0\]\.accumulator: expected a Native/);
  refused([{ ...update, slots: [1] }], /updates\[0\]\.slots: element 0: expected a NativeVariable/);
  refused([{ ...update, optimizer: {} }], /updates\[0\]\.optimizer\.kind/);
  refused([update], /nonFinite: expected one of error, skip, zero/, { ...PATIENT, nonFinite: 'panic' });
  const stranger = variable(sessionOf(t), 'x', [SIZE], 0);
  refused([{ ...update, variable: stranger }], /expected objects of the session/);
});

test('gradients that a cancelled step had taken do not enter a round of another shape', async (t) => {
  const session = sessionOf(t);
  const free = (key: string) =>
    session.denseAccumulator(key, { dtype: 'float32', shape: null, reduction: 'sum' });
  const [first, second] = [free('first'), free('second')];
  const update = (name: string, accumulator: NativeUpdate['accumulator']): NativeUpdate => ({
    variable: variable(session, name, [2], 0),
    slots: [],
    optimizer: { kind: 'gradientDescent', alpha: 1 },
    accumulator,
    numRequired: 1,
  });
  const step = session.fusedStep([update('a', first), update('b', second)], PATIENT);
  const many = 1 << 20;
  first.apply(0, 0, new Float32Array(many), [many]);
  first.apply(1, 1, floats(1, 2), [2]);
  step.cancel();
  await t.throwsAsync(step.promise, { code: 'CANCELLED' });
  t.deepEqual((await first.take(1, PATIENT).promise).data, floats(1, 2));
});
