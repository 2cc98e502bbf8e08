/**
 * What it costs to cross between JavaScript and C++: calls and promises of the addon, through Node-API, beside the same through nan, which
 * is V8 itself. Targets: a call below 1 us, a promise below 10 us.
 */
import { loadAddon } from '../src/addon/load.js';
import {
  type BenchCase,
  type BenchOptions,
  type BenchRow,
  type Contestant,
  timeInTurn,
  toRow,
} from './case.js';
import { type NanAddon, openNanAddon } from './nan-addon.js';

const ELEMENTS = 16;
const WAIT = { deadlineMs: 60_000 };
const TARGET_US = { call: 1, promise: 10 };

/** One crossing, of either side; `times` of them make a sample. */
interface Crossing {
  readonly kind: keyof typeof TARGET_US;
  readonly size: string;
  readonly times: number;
  /** Runs `times` crossings after a check that one does what it should. */
  ours(times: number): Contestant;
  rival(addon: NanAddon, times: number): Contestant;
}

const SPEC = { dtype: 'float32', shape: [ELEMENTS] } as const;
const value = Float32Array.from({ length: ELEMENTS }, (_, i) => i);

const open = () => loadAddon().createSession({ name: 'boundary', threads: 1 });

function require(isRight: boolean, what: string): void {
  if (!isRight) throw new Error(`boundary: ${what} is wrong`);
}

interface Value {
  readonly version: number;
  assign(value: Float32Array, shape: readonly number[]): void;
}

function readMany(object: Value, times: number): Contestant {
  object.assign(value, SPEC.shape);
  require(object.version === 1, 'a number that is read');
  return () => {
    let sum = 0;
    for (let i = 0; i < times; i++) sum += object.version;
    return sum;
  };
}

function assignMany(object: Value, times: number): Contestant {
  object.assign(value, SPEC.shape);
  require(object.version === 1, 'the effect of a call');
  return () => {
    for (let i = 0; i < times; i++) object.assign(value, SPEC.shape);
  };
}

type Take = () => Promise<{ readonly data: ArrayLike<unknown> }>;
function takeMany(take: Take, times: number, inFlight: number): Contestant {
  return async () => {
    for (let i = 0; i < times; i += inFlight) {
      const waits = Array.from({ length: inFlight }, take);
      for (const { data } of await Promise.all(waits)) require(data[1] === 1, 'what was taken');
    }
  };
}

function oursTake(): Take {
  const accumulator = open().denseAccumulator('g', { ...SPEC, reduction: 'mean' });
  let step = 0;
  return () => {
    accumulator.apply(step++, 0, value, SPEC.shape);
    return accumulator.take(1, WAIT).promise;
  };
}

function rivalTake({ Value }: NanAddon): Take {
  const object = new Value();
  return () => {
    object.assign(value, SPEC.shape);
    return object.take();
  };
}

const CROSSINGS: readonly Crossing[] = [
  {
    kind: 'call',
    size: 'reads a number',
    times: 20_000,
    ours: (times) => readMany(open().variable('v', SPEC), times),
    rival: ({ Value }, times) => readMany(new Value(), times),
  },
  {
    kind: 'call',
    size: `gives ${ELEMENTS} floats`,
    times: 5_000,
    ours: (times) => assignMany(open().variable('v', SPEC), times),
    rival: ({ Value }, times) => assignMany(new Value(), times),
  },
  ...[1, 64].map(
    (inFlight): Crossing => ({
      kind: 'promise',
      size: `of ${ELEMENTS} floats, ${inFlight} in flight`,
      times: 1_024,
      ours: (times) => takeMany(oursTake(), times, inFlight),
      rival: (addon, times) => takeMany(rivalTake(addon), times, inFlight),
    }),
  ),
];

function caseOf(kind: Crossing['kind']): string {
  return kind === 'call' ? 'boundary, one call' : 'boundary, one promise';
}

async function run(crossing: Crossing, { quick }: BenchOptions): Promise<BenchRow> {
  const nan = await openNanAddon();
  const { times } = crossing;
  const ours = crossing.ours(times);
  const contestants =
    'addon' in nan ? { ours, rival: crossing.rival(nan.addon, times) } : { ours, rival: () => {} };
  const samples = await timeInTurn(contestants, { rounds: quick ? 5 : 200, warmUp: quick ? 2 : 30 });
  const perCall = ({ median, p99 }: { median: number; p99: number }) => ({
    median: median / times,
    p99: p99 / times,
  });
  const us = 1000 * perCall(samples.ours).median;
  const target = TARGET_US[crossing.kind];
  const verdict = `target below ${target} us: ${us < target ? 'reached' : 'missed'} with ${us.toPrecision(3)} us`;
  const head = {
    case: caseOf(crossing.kind),
    size: crossing.size,
    rival: 'nan',
    note: 'addon' in nan ? verdict : `${verdict}; ${nan.missing}`,
  };
  const rivalMs = 'addon' in nan ? perCall(samples.rival).median : null;
  return toRow(head, perCall(samples.ours), rivalMs, null);
}

export const BOUNDARY_CASES: readonly BenchCase[] = (['call', 'promise'] as const).map((kind) => {
  const crossings = CROSSINGS.filter((crossing) => crossing.kind === kind);
  return {
    name: caseOf(kind),
    sizes: crossings.map(({ size }) => size),
    run: (size, options) => run(crossings.find((crossing) => crossing.size === size)!, options),
  };
});
