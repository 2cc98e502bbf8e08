/** Rounds with members through JavaScript. Their semantics are tested natively and in rounds-model.test.ts; here it is the way in and out. */
import test from 'ava';
import { withSignal } from '../../src/addon/index.js';
import { floats, PATIENT, sessionOf } from '../helpers/addon.js';
import { startThread } from '../helpers/addon-thread.js';
import { ROUNDS } from '../helpers/addon-worker-jobs.js';

const DENSE = { dtype: 'float32', shape: [1], reduction: 'mean' } as const;
const QUORUM = { kind: 'quorum', quorum: 1, wait: 0, late: { scale: 'exponential', decay: 0.5 } } as const;

test('a worker whose data ends early leaves; the other goes on to its end, and the chief hears of it', async (t) => {
  const session = sessionOf(t);
  const rounds = session.denseRounds('w', ROUNDS);
  const lags = [
    startThread(t, session).ask({ kind: 'contribute', key: 'w', contributor: 0, steps: 20 }),
    startThread(t, session).ask({ kind: 'contribute', key: 'w', contributor: 1, steps: 50 }),
  ];
  for (let step = 0; step < 50; step++) {
    const taken = await rounds.take(PATIENT).promise;
    t.is(taken.step, step);
    const contributors = taken.contributions.map(({ contributor }) => contributor);
    t.deepEqual(contributors, step < 20 ? [0, 1] : [1]);
    t.deepEqual(taken.result.data, floats(step, step < 20 ? 0.5 : 1));
    rounds.applied(step);
  }
  await t.throwsAsync(rounds.take(PATIENT).promise, {
    code: 'OUT_OF_RANGE',
    message: /every member has left/,
  });
  for (const lag of await Promise.all(lags)) t.true((lag as number) <= 2);
  t.is(rounds.numApplied, 50);
});

test('a late contribution is scaled and told so; the round says who is in it', async (t) => {
  const rounds = sessionOf(t).denseRounds('w', { ...DENSE, members: [0, 1], rule: QUORUM });
  t.deepEqual(await rounds.begin(0, PATIENT).promise, { step: 0, applied: 0, lag: 0 });
  await rounds.begin(1, PATIENT).promise;
  t.deepEqual(rounds.apply(0, 0, floats(1), [1]), { status: 'accepted' });
  t.is((await rounds.take(PATIENT).promise).step, 0);
  rounds.applied(0n);
  t.deepEqual(rounds.apply(0, 1, floats(8), [1]), {
    status: 'scaled',
    factor: 0.5,
    localStep: 0n,
    globalStep: 1n,
  });
  await rounds.begin(0, PATIENT).promise;
  rounds.apply(1, 0, floats(2), [1]);
  t.deepEqual(await rounds.take(PATIENT).promise, {
    step: 1,
    contributions: [
      { contributor: 0, step: 1, lag: 0, factor: 1 },
      { contributor: 1, step: 0, lag: 1, factor: 0.5 },
    ],
    result: { dtype: 'float32', shape: [1], data: floats(3) },
  });
  t.deepEqual(rounds.lags(0), { reads: 2, max: 0, counts: { 0: 2 } });
});

test('an adaptive quorum goes on without those who are slow', async (t) => {
  const wait = { multiplier: 2, minMs: 1, maxMs: 20, window: 8 };
  const rule = { kind: 'quorum', quorum: 1, wait, late: 'drop' } as const;
  const rounds = sessionOf(t).denseRounds('w', { ...DENSE, members: [0, 1], rule });
  await rounds.begin(0, PATIENT).promise;
  await rounds.begin(1, PATIENT).promise;
  rounds.apply(0, 0, floats(1), [1]);
  t.is((await rounds.take(PATIENT).promise).contributions.length, 1);
  t.deepEqual(rounds.apply(0, 1, floats(1), [1]), { status: 'stale', localStep: 0n, globalStep: 1n });
});

test('sparse gradients have rounds too', async (t) => {
  const rounds = sessionOf(t).sparseRounds('e', {
    ...DENSE,
    shape: [8, 1],
    form: 'combined',
    members: [0, 1],
    rule: { kind: 'bounded-staleness', staleness: 0 },
  });
  for (const contributor of [1, 0]) {
    const { step } = await rounds.begin(contributor, PATIENT).promise;
    rounds.apply(step, contributor, Int32Array.of(7 - contributor, 3), floats(2, 4), [2, 1], null);
  }
  const { result } = await rounds.take(PATIENT).promise;
  t.deepEqual(result.indices, new BigInt64Array([3n, 6n, 7n]));
  t.deepEqual(result.values.data, floats(4, 1, 1));
});

test('every wait has a deadline and can be cancelled or aborted', async (t) => {
  const session = sessionOf(t);
  const rounds = session.denseRounds('w', {
    ...DENSE,
    members: [0, 1],
    rule: { kind: 'bounded-staleness', staleness: 0 },
  });
  await rounds.begin(0, PATIENT).promise;
  rounds.apply(0, 0, floats(1), [1]);
  await t.throwsAsync(rounds.begin(0, { deadlineMs: 5 }).promise, {
    code: 'DEADLINE_EXCEEDED',
    message: /contributor 0: step 1 may not begin .* waits for 1/,
  });
  const begin = rounds.begin(0, PATIENT);
  begin.cancel();
  await t.throwsAsync(begin.promise, { code: 'CANCELLED' });
  const abort = AbortSignal.timeout(5);
  await t.throwsAsync(withSignal(rounds.take(PATIENT), abort), { code: 'CANCELLED' });
  const waiting = rounds.take(PATIENT).promise;
  session.close('enough');
  await t.throwsAsync(waiting, { code: 'CANCELLED', message: /enough/ });
  t.throws(() => rounds.join(5), { code: 'FAILED_PRECONDITION' });
});

const BAD: readonly [name: string, spec: unknown, message: RegExp][] = [
  ['no members', { members: [], rule: QUORUM }, /at least one member/],
  ['no rule', { members: [0] }, /spec\.rule: expected an object but received undefined/],
  ['an unknown rule', { members: [0], rule: { kind: 'all' } }, /"bounded-staleness" or "quorum".*"all"/],
  ['too large a quorum', { members: [0], rule: { ...QUORUM, quorum: 2 } }, /a quorum of 1 to 1/],
  [
    'a wait that is none',
    { members: [0], rule: { ...QUORUM, wait: 'soon' } },
    /spec\.rule\.wait: expected a number/,
  ],
  [
    'a policy that is none',
    { members: [0], rule: { ...QUORUM, late: 'perhaps' } },
    /spec\.rule\.late: expected "drop"/,
  ],
  ['negative staleness', { members: [0], rule: { kind: 'bounded-staleness', staleness: -1 } }, /at least 0/],
];
for (const [name, spec, message] of BAD) {
  test(`a specification with ${name} is refused`, (t) => {
    const make = () => sessionOf(t).denseRounds('w', { ...DENSE, ...(spec as typeof ROUNDS) });
    t.throws(make, { code: 'INVALID_ARGUMENT', message });
  });
}

test('a second request gives the same rounds; one that disagrees is refused', (t) => {
  const session = sessionOf(t);
  const spec = { ...DENSE, members: [0, 1], rule: QUORUM } as const;
  session.denseRounds('w', spec).leave(1);
  t.throws(() => session.denseRounds('w', spec).leave(1), { code: 'FAILED_PRECONDITION' });
  t.throws(() => session.denseRounds('w', { ...spec, members: [0] }), { code: 'INVALID_ARGUMENT' });
  t.throws(() => session.denseAccumulator('w', DENSE), { code: 'INVALID_ARGUMENT' });
});
