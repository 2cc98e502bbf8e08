import test from 'ava';
import {
  canonicalStrategy,
  decodeStrategy,
  encodeStrategy,
  parseStrategy,
  printStrategy,
  sortPlans,
} from '../../src/strategy/codec.js';
import { ALGORITHMS, COMPRESSORS, type Strategy, TOP_K } from '../../src/strategy/strategy.js';
import { fc } from '../helpers/properties.js';
import { throwsTyped } from '../helpers/throws.js';

const text = fc.string({ minLength: 1, maxLength: 8, unit: 'grapheme' });
const synchronizer = fc.oneof(
  fc.record({
    kind: fc.constant('parameter-server' as const),
    device: text,
    staleness: fc.nat(),
    sync: fc.boolean(),
    proxy: fc.boolean(),
  }),
  fc.record({
    kind: fc.constant('collective' as const),
    algorithm: fc.constantFrom(...ALGORITHMS),
    compressor: fc.constantFrom(...COMPRESSORS.filter((each) => each !== TOP_K)),
    group: fc.nat(),
    sparse: fc.constantFrom('gather' as const, 'dense' as const),
  }),
  fc.record({
    kind: fc.constant('collective' as const),
    algorithm: fc.constantFrom(...ALGORITHMS),
    compressor: fc.constant(TOP_K),
    k: fc.oneof(fc.integer({ min: 1 }), fc.double({ min: 0.001, max: 0.999 })),
    group: fc.nat(),
  }),
);
const partition = fc.record({
  axis: fc.nat(),
  shards: fc.array(synchronizer, { minLength: 1, maxLength: 3 }),
});
const strategies: fc.Arbitrary<Strategy> = fc.record({
  format: fc.constant(1 as const),
  builder: text,
  replicas: fc.array(text, { maxLength: 3 }),
  variables: fc.uniqueArray(
    fc.record({ variable: text, synchronizer, partition }, { requiredKeys: ['variable', 'synchronizer'] }),
    { maxLength: 4, selector: (plan) => plan.variable },
  ),
});

test('a strategy printed is parsed back, and prints the same again', (t) => {
  fc.assert(
    fc.property(strategies, (strategy) => {
      const back = parseStrategy(printStrategy(strategy));
      t.deepEqual(back.variables, sortPlans(strategy.variables));
      t.deepEqual(encodeStrategy(back), encodeStrategy(strategy));
      t.is(printStrategy(back), printStrategy(strategy));
    }),
    { numRuns: 50 },
  );
});

test('the canonical text does not depend on the order of variables or fields', (t) => {
  const sync = { proxy: false, sync: true, staleness: 0, device: 'a:CPU:0', kind: 'parameter-server' };
  const plans = [
    { variable: 'b', synchronizer: sync },
    { synchronizer: sync, variable: 'B' },
  ];
  const base = { replicas: ['a:CPU:0'], format: 1, builder: 'x' };
  const one = canonicalStrategy(decodeStrategy({ ...base, variables: plans }));
  t.is(canonicalStrategy(decodeStrategy({ variables: [...plans].reverse(), ...base })), one);
  t.is(
    one,
    '{"format":1,"builder":"x","replicas":["a:CPU:0"],"variables":[' +
      ['B', 'b']
        .map(
          (name) =>
            `{"variable":"${name}","synchronizer":{"kind":"parameter-server","device":"a:CPU:0","staleness":0,"sync":true,"proxy":false}}`,
        )
        .join(',') +
      ']}',
  );
});

test('top-k without k sends a thousandth, and that is written', (t) => {
  const plan = { kind: 'collective', algorithm: 'auto', compressor: TOP_K, group: 0 };
  const { variables } = decodeStrategy(withSynchronizer(plan));
  t.deepEqual(variables[0]?.synchronizer, { ...plan, k: 0.001 } as (typeof variables)[0]['synchronizer']);
  t.true(canonicalStrategy(decodeStrategy(withSynchronizer(plan))).includes('"k":0.001'));
});

test('what is to become of rows is written unless it is left to each step', (t) => {
  const plan = { kind: 'collective', algorithm: 'auto', compressor: 'none', group: 0 };
  const textOf = (more: object) => canonicalStrategy(decodeStrategy(withSynchronizer({ ...plan, ...more })));
  t.is(textOf({ sparse: 'auto' }), textOf({}));
  t.true(textOf({ sparse: 'gather' }).includes('"group":0,"sparse":"gather"'));
});

test('a strategy that was read is frozen throughout', (t) => {
  const strategy = decodeStrategy(withPlan({}));
  t.throws(() => (strategy.replicas as string[]).push('x'), { instanceOf: TypeError });
  t.throws(() => Object.assign(strategy.variables[0]!.synchronizer, { device: 'x' }), {
    instanceOf: TypeError,
  });
});

function withPlan(changes: object): object {
  const plan = {
    kind: 'parameter-server',
    device: 'a:CPU:0',
    staleness: 0,
    sync: true,
    proxy: false,
    ...changes,
  };
  return { format: 1, builder: 'x', replicas: [], variables: [{ variable: 'W', synchronizer: plan }] };
}

const collective = { kind: 'collective', algorithm: 'ring', compressor: 'none', group: 0 };
const withSynchronizer = (plan: unknown, more: object = {}): object => ({
  ...withPlan({}),
  variables: [{ variable: 'W', synchronizer: plan, ...more }],
});

const BAD: readonly [title: string, value: unknown, ...parts: string[]][] = [
  ['null', null, 'strategy: expected an object', 'null'],
  ['an array', [], 'an object', '[]'],
  ['an empty object', {}, '"format"'],
  ['another format', { ...withPlan({}), format: 2 }, 'strategy.format', 'expected 1', '2'],
  ['an unknown field', { ...withPlan({}), more: 1 }, '"more"'],
  ['a builder that is empty', { ...withPlan({}), builder: '' }, 'strategy.builder', 'a non-empty string'],
  ['replicas that are text', { ...withPlan({}), replicas: 'a' }, 'strategy.replicas', 'an array', '"a"'],
  ['a replica that is a number', { ...withPlan({}), replicas: ['a', 1] }, 'strategy.replicas[1]', '1'],
  ['variables that are an object', { ...withPlan({}), variables: {} }, 'strategy.variables', 'an array'],
  ['a plan without variable', { ...withPlan({}), variables: [{}] }, 'strategy.variables[0]', '"variable"'],
  ['a negative staleness', withPlan({ staleness: -1 }), 'strategy.variables[0].synchronizer.staleness', '-1'],
  ['a fraction as staleness', withPlan({ staleness: 0.5 }), 'synchronizer.staleness', '0.5'],
  ['sync as text', withPlan({ sync: 'yes' }), 'synchronizer.sync', 'true or false', '"yes"'],
  ['proxy as a number', withPlan({ proxy: 1 }), 'synchronizer.proxy', 'true or false', '1'],
  [
    'proxy missing',
    withSynchronizer({ kind: 'parameter-server', device: 'a', staleness: 0, sync: true }),
    '"proxy"',
  ],
  ['a field of the other kind', withPlan({ group: 1 }), '"group"'],
  ['an unknown kind', withPlan({ kind: 'gossip' }), 'one of parameter-server, collective', '"gossip"'],
  ['no kind', withSynchronizer({}), 'synchronizer', '"kind"'],
  ['a synchronizer that is null', withSynchronizer(null), 'synchronizer', '"kind"'],
  ['an unknown algorithm', withSynchronizer({ ...collective, algorithm: 'tree' }), 'algorithm', '"tree"'],
  ['an unknown compressor', withSynchronizer({ ...collective, compressor: 'zip' }), 'compressor', '"zip"'],
  [
    'rows sent otherwise',
    withSynchronizer({ ...collective, sparse: 'rows' }),
    'auto, gather, dense',
    '"rows"',
  ],
  [
    'a k that is no part',
    withSynchronizer({ ...collective, compressor: TOP_K, k: 1.5 }),
    'synchronizer.k',
    '1.5',
  ],
  ['a k of nothing', withSynchronizer({ ...collective, compressor: TOP_K, k: 0 }), 'between 0 and 1', '0'],
  ['a k of another compressor', withSynchronizer({ ...collective, k: 2 }), TOP_K, '"none"'],
  [
    'a partition without shards',
    withSynchronizer(collective, { partition: { axis: 0, shards: [] } }),
    'partition.shards',
  ],
  [
    'a partition with a negative axis',
    withSynchronizer(collective, { partition: { axis: -1, shards: [collective] } }),
    'axis',
  ],
  [
    'two plans for one variable',
    { ...withPlan({}), variables: [0, 1].map(() => ({ variable: 'W', synchronizer: collective })) },
    'strategy.variables',
    'two for "W"',
  ],
];

for (const [title, value, ...parts] of BAD) {
  test(`refused: ${title}`, (t) => throwsTyped(t, () => decodeStrategy(value), 'INVALID_ARGUMENT', ...parts));
}

test('text that is not JSON is refused with the position', (t) => {
  throwsTyped(t, () => parseStrategy('{"format": 1,'), 'INVALID_ARGUMENT', 'valid JSON');
});

test('any JSON value is read or refused with a typed error', (t) => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      throwsTyped(t, () => decodeStrategy(value), 'INVALID_ARGUMENT');
    }),
    { numRuns: 100 },
  );
});
