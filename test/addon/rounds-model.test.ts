/** Random schedules of rounds with members through JavaScript, against a model of their rules: bounded staleness and quorum. */
import test, { type ExecutionContext } from 'ava';
import type { NativeDenseRounds, RoundsSpec } from '../../src/addon/index.js';
import { addon, floats, PATIENT } from '../helpers/addon.js';
import { codeOf } from '../helpers/addon-thread.js';
import { fc } from '../helpers/properties.js';
import { byId, type Outcome, Settling } from '../helpers/settling.js';

const CONTRIBUTORS = 4;
const EVENTS = ['begin', 'apply', 'take', 'applied', 'join', 'leave', 'die', 'cancel'] as const;
type Event = readonly [(typeof EVENTS)[number], number];

interface Member {
  state: 'none' | 'live' | 'left' | 'dead';
  from: number;
  last: number;
  begun: number | undefined;
  waiting: number | undefined;
}

/** What the rules say, from the events alone. Quorum rounds have no clock here: they wait for nobody (0) or for all (Infinity). */
class Model {
  readonly members: Member[];
  readonly rounds = new Map<number, { contributor: number; step: number; factor: number }[]>();
  readonly outcomes = new Map<number, Outcome>();
  takes: number[] = [];
  current = 0;
  outstanding = false;
  maxLag = 0;

  constructor(readonly spec: RoundsSpec) {
    this.members = Array.from({ length: CONTRIBUTORS }, (_, c) => ({
      state: spec.members.includes(c) ? 'live' : 'none',
      from: 0,
      last: -1,
      begun: undefined,
      waiting: undefined,
    }));
  }

  get applied(): number {
    return this.current - (this.outstanding ? 1 : 0);
  }
  get #staleness(): number {
    return this.spec.rule.kind === 'quorum' ? 0 : this.spec.rule.staleness;
  }
  #isAwaited = (m: Member): boolean => m.state === 'live' && m.from <= this.current && m.last < this.current;
  #fresh(): number {
    return (this.rounds.get(this.current) ?? []).filter(({ step }) => step === this.current).length;
  }
  #needed(): number {
    if (this.spec.rule.kind !== 'quorum') return 0;
    const counted = this.members.filter(
      (m) => m.state === 'dead' || (m.state === 'live' && m.from <= this.current),
    );
    return Math.min(this.spec.rule.quorum, counted.length);
  }
  #isLost(): boolean {
    return this.#fresh() + this.members.filter(this.#isAwaited).length < this.#needed();
  }
  #isComplete(): boolean {
    const isDue = this.spec.rule.kind === 'quorum' && this.spec.rule.wait === 0;
    const isEnough = this.rounds.has(this.current) && this.#fresh() >= this.#needed();
    return !this.outstanding && isEnough && (isDue || !this.members.some(this.#isAwaited));
  }

  nextStep(m: Member): number {
    return this.spec.rule.kind === 'quorum' ? Math.max(m.last + 1, this.current) : m.last + 1;
  }

  settle(): void {
    this.#skipEmpty();
    while (this.takes.length > 0) {
      const answer = this.#answerOfTake();
      if (answer === undefined) break;
      this.outcomes.set(this.takes.shift()!, answer);
    }
    for (const m of this.members.filter(({ waiting }) => waiting !== undefined)) this.#settleBegin(m);
  }

  #skipEmpty(): void {
    if (this.outstanding || this.rounds.has(this.current)) return;
    const wanted = this.members.filter((m) => m.state === 'live').map((m) => Math.max(m.from, m.last + 1));
    const next = Math.min(...wanted, ...this.rounds.keys());
    if (Number.isFinite(next) && next > this.current) this.current = next;
  }

  #answerOfTake(): Outcome | undefined {
    if (this.rounds.size === 0 && !this.members.some(({ state }) => state === 'live')) {
      return { code: this.members.some(({ state }) => state === 'dead') ? 'UNAVAILABLE' : 'OUT_OF_RANGE' };
    }
    if (this.#isComplete()) {
      const contributions = this.rounds.get(this.current)!;
      this.rounds.delete(this.current);
      this.outstanding = true;
      return { value: { step: this.current++, contributions: sorted(contributions) } };
    }
    return !this.outstanding && this.#isLost() ? { code: 'UNAVAILABLE' } : undefined;
  }

  #settleBegin(m: Member): void {
    const step = this.nextStep(m);
    if (this.#isLost()) this.end(m, { code: 'UNAVAILABLE' });
    else if (this.applied >= step - this.#staleness) {
      m.begun = step;
      this.maxLag = Math.max(this.maxLag, step - this.applied);
      this.end(m, { value: { step, applied: this.applied, lag: step - this.applied } });
    }
  }

  end(m: Member, outcome: Outcome): void {
    if (m.waiting !== undefined) this.outcomes.set(m.waiting, outcome);
    m.waiting = undefined;
  }
}

function sorted<T extends { contributor: number; step: number }>(contributions: T[]): T[] {
  return contributions.sort((a, b) => a.contributor - b.contributor || a.step - b.step);
}

/** Does one event to both; a call that the model refuses must throw that code. */
class Pair {
  readonly model: Model;

  constructor(
    readonly t: ExecutionContext,
    readonly rounds: NativeDenseRounds,
    readonly settling: Settling,
    readonly spec: RoundsSpec,
  ) {
    this.model = new Model(spec);
  }

  #expect(code: string | undefined, call: () => unknown): void {
    let actual: unknown;
    try {
      call();
    } catch (error) {
      actual = codeOf(error);
    }
    if (actual !== code) throw new Error(`expected ${code} but received ${actual}`);
  }

  act([event, who]: Event): void {
    const member = this.model.members[who]!;
    this[event](who, member);
    this.model.settle();
  }

  begin(who: number, member: Member): void {
    const id = this.settling.watch(this.rounds.begin(who, PATIENT), (ticket) => ticket);
    const isRefused = member.state !== 'live' || member.begun !== undefined || member.waiting !== undefined;
    if (isRefused) this.model.outcomes.set(id, { code: 'FAILED_PRECONDITION' });
    else member.waiting = id;
  }

  apply(who: number, member: Member): void {
    const { model } = this;
    const step = member.begun ?? member.last;
    const apply = () => this.rounds.apply(step, who, floats(1), [1]);
    if (member.state !== 'live' || member.begun === undefined) {
      const isRepeat = member.state === 'live' && step >= 0;
      this.#expect(isRepeat ? 'ALREADY_EXISTS' : 'FAILED_PRECONDITION', apply);
      return;
    }
    const receipt = apply();
    const lag = model.current - step;
    const late = model.spec.rule.kind === 'quorum' ? model.spec.rule.late : 'drop';
    const factor = typeof late === 'object' && lag > 0 ? 1 / (1 + lag) : 1;
    const status = lag <= 0 || late === 'accept' ? 'accepted' : typeof late === 'object' ? 'scaled' : 'stale';
    this.t.is(receipt.status, status);
    if (receipt.status === 'scaled') this.t.is(receipt.factor, factor);
    if (lag > 0) this.t.like(receipt, { localStep: BigInt(step), globalStep: BigInt(model.current) });
    if (status !== 'stale') {
      const round = Math.max(step, model.current);
      model.rounds.set(round, [...(model.rounds.get(round) ?? []), { contributor: who, step, factor }]);
    }
    member.last = step;
    member.begun = undefined;
  }

  take(): void {
    const id = this.settling.watch(this.rounds.take(PATIENT), ({ step, contributions, result }) => {
      const sum = contributions.reduce((total, { factor }) => total + factor, 0);
      this.t.true(Math.abs((result.data[0] as number) - sum) < 1e-5, 'the sum of ones times factors');
      const seen = contributions.map(({ contributor, step, factor }) => ({ contributor, step, factor }));
      return { step, contributions: sorted(seen) };
    });
    this.model.takes.push(id);
  }

  applied(): void {
    const { outstanding, current } = this.model;
    this.#expect(outstanding ? undefined : 'FAILED_PRECONDITION', () => this.rounds.applied(current - 1));
    this.model.outstanding = false;
  }

  join(who: number, member: Member): void {
    if (member.state === 'live') {
      this.#expect('ALREADY_EXISTS', () => this.rounds.join(who));
      return;
    }
    member.from = Math.max(this.model.current, member.last + 1);
    member.last = member.from - 1;
    member.state = 'live';
    this.t.is(this.rounds.join(who), member.from);
  }

  leave(who: number, member: Member): void {
    const isThere = member.state === 'live' || member.state === 'dead';
    this.#expect(isThere ? undefined : 'FAILED_PRECONDITION', () => this.rounds.leave(who));
    if (isThere) this.#go(member, 'left');
  }

  die(who: number, member: Member): void {
    this.rounds.die(who);
    if (member.state === 'live') this.#go(member, 'dead');
  }

  #go(member: Member, state: 'left' | 'dead'): void {
    member.state = state;
    member.begun = undefined;
    this.model.end(member, { code: 'CANCELLED' });
  }

  cancel(who: number, member: Member): void {
    const id = who % 2 === 0 ? member.waiting : this.model.takes[0];
    if (id === undefined) return;
    this.settling.cancel(id);
    this.model.outcomes.set(id, { code: 'CANCELLED' });
    if (id === member.waiting) member.waiting = undefined;
    this.model.takes = this.model.takes.filter((take) => take !== id);
  }

  /** Everybody leaves, the chief takes what there is: then nobody may wait any more. */
  drain(): void {
    for (let who = 0; who < CONTRIBUTORS; who++) {
      const { state } = this.model.members[who]!;
      if (state === 'live' || state === 'dead') this.act(['leave', who]);
    }
    while (this.model.takes.length > 0 || this.model.rounds.size > 0 || this.model.outstanding) {
      this.act([this.model.outstanding ? 'applied' : 'take', 0]);
    }
  }
}

// Mostly work: members that come and go all the time get nowhere.
const event = fc.oneof(
  { weight: 20, arbitrary: fc.constantFrom(...EVENTS.slice(0, 2)) },
  { weight: 6, arbitrary: fc.constantFrom(...EVENTS.slice(2, 4)) },
  { weight: 2, arbitrary: fc.constantFrom(...EVENTS.slice(4)) },
);
const events = fc.array(fc.tuple(event, fc.nat(CONTRIBUTORS - 1)), {
  minLength: 1,
  maxLength: 60,
  size: 'max',
});
const members = fc
  .integer({ min: 1, max: CONTRIBUTORS })
  .map((count) => Array.from({ length: count }, (_, c) => c));

async function follows(t: ExecutionContext, spec: RoundsSpec, schedule: readonly Event[]): Promise<number> {
  const session = addon.createSession({ name: 'model', threads: 1 });
  try {
    const rounds = session.denseRounds('w', { dtype: 'float32', shape: [1], reduction: 'sum', ...spec });
    const pair = new Pair(t, rounds, new Settling(session), spec);
    for (const event of schedule) {
      pair.act(event);
      t.deepEqual(await pair.settling.outcomes(), byId(pair.model.outcomes), event.join(' '));
    }
    pair.drain();
    t.deepEqual(await pair.settling.outcomes(), byId(pair.model.outcomes), 'after the drain');
    return pair.model.maxLag;
  } finally {
    session.close('the schedule is over');
  }
}

test('bounded staleness follows its model, whatever the schedule; lags reach the bound and never pass it', async (t) => {
  let reached = 0;
  const staleness = fc.nat(2);
  await fc.assert(
    fc.asyncProperty(members, staleness, events, async (members, staleness, schedule) => {
      const lag = await follows(t, { members, rule: { kind: 'bounded-staleness', staleness } }, schedule);
      if (lag > staleness) throw new Error(`lag ${lag} with staleness ${staleness}`);
      reached = Math.max(reached, lag);
    }),
    { numRuns: 200 },
  );
  t.is(reached, 2);
});

test('a quorum follows its model, whatever the schedule, under every policy for late contributions', async (t) => {
  const rule = fc.record({
    kind: fc.constant('quorum' as const),
    quorum: fc.integer({ min: 1, max: CONTRIBUTORS }),
    wait: fc.constantFrom(0, Number.POSITIVE_INFINITY),
    late: fc.constantFrom('drop' as const, 'accept' as const, { scale: 'inverse' } as const),
  });
  await fc.assert(
    fc.asyncProperty(members, rule, events, async (members, rule, schedule) => {
      const quorum = Math.min(rule.quorum, members.length);
      await follows(t, { members, rule: { ...rule, quorum } }, schedule);
    }),
    { numRuns: 200 },
  );
});
