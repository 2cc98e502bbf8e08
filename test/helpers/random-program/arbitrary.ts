/** Draws programs, and trainings of them: strategy, cluster, batches. */
import type { Layout } from '../fixtures.js';
import { fc } from '../properties.js';
import { ACTIVATIONS, type LayerSpec, OPTIMIZERS, type ProgramSpec } from './spec.js';
import { COLLECTIVE_BUILDERS, type PlanChoice, SERVER_BUILDERS, type StrategyChoice } from './strategies.js';

export interface TrainingSpec {
  readonly program: ProgramSpec;
  readonly layout: Layout;
  readonly strategy: StrategyChoice;
  /** Whether every replica has as many examples as every other in a step. */
  readonly areEven: boolean;
  /** Examples, by turns. */
  readonly rows: readonly number[];
  readonly steps: number;
}

/** Replicas that compute, of each task. */
export function replicasOf({ layout, strategy }: TrainingSpec): Layout {
  return strategy.kind === 'custom' && strategy.oneEach ? layout.map(() => 1) : layout;
}

const LAYOUTS: readonly Layout[] = [[1], [2], [1, 1], [2, 2], [1, 1, 1], [2, 1], [1, 3]];

const size = fc.integer({ min: 1, max: 5 });
const activation = fc.constantFrom(...ACTIVATIONS);

const layer: fc.Arbitrary<LayerSpec> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('dense'),
      units: size,
      bias: fc.constantFrom('none', 'BiasAdd', 'AddV2'),
      activation,
      transposed: fc.boolean(),
      kernel: fc.constantFrom('own', 'again', 'sum'),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('embedding'),
      rows: fc.integer({ min: 1, max: 7 }),
      width: size,
      words: fc.integer({ min: 0, max: 3 }),
      reduction: fc.constantFrom('Mean', 'Sum'),
      again: fc.boolean(),
    }),
  },
  fc.record({ kind: fc.constant('scale'), scalar: fc.boolean() }),
  fc.record({
    kind: fc.constant('center'),
    reduction: fc.constantFrom('Mean', 'Sum'),
    axis: fc.constantFrom(1, 0),
  }),
  fc.record({ kind: fc.constant('residual'), activation }),
  fc.record({ kind: fc.constant('tied') }),
);

const optimizer = fc.record({ kind: fc.constantFrom(...OPTIMIZERS), nesterov: fc.boolean() });

const program: fc.Arbitrary<ProgramSpec> = fc.record({
  variables: fc.constantFrom('resource', 'reference'),
  features: fc.integer({ min: 1, max: 4 }),
  layers: fc.array(layer, { minLength: 1, maxLength: 4 }),
  loss: fc.constantFrom('squares', 'cross-entropy'),
  penalty: fc.boolean(),
  ids: fc.constantFrom('int32', 'int64'),
  bareIds: fc.boolean(),
  optimizers: fc.array(optimizer, { minLength: 1, maxLength: 2 }),
  rate: fc.constantFrom('constant', 'fed', 'decayed'),
  change: fc.constantFrom('none', 'clip-by-global-norm', 'clip-by-value', 'decay'),
  shrinks: fc.boolean(),
  shadow: fc.boolean(),
  counts: fc.boolean(),
  average: fc.boolean(),
  pairs: fc.constantFrom('given', 'given', 'given', 'found'),
  seed: fc.nat(),
});

const servers: fc.Arbitrary<StrategyChoice> = fc.record({
  kind: fc.constant('builder'),
  builder: fc.constantFrom(...SERVER_BUILDERS),
  options: fc.record(
    {
      sync: fc.boolean(),
      proxy: fc.boolean(),
      shards: fc.integer({ min: 1, max: 4 }),
    },
    { requiredKeys: [] },
  ),
});

/** Everything is sent, with a `k` of as many elements as any variable has. */
const compression = fc.constantFrom(
  {},
  { compressor: 'none' },
  { compressor: 'top-k-error-feedback', k: 1000 },
);

const collectives: fc.Arbitrary<StrategyChoice> = fc.record({
  kind: fc.constant('builder'),
  builder: fc.constantFrom(...COLLECTIVE_BUILDERS),
  options: fc
    .tuple(
      fc.record(
        {
          group: fc.integer({ min: 1, max: 3 }),
          algorithm: fc.constantFrom('auto', 'ring'),
          shards: fc.integer({ min: 1, max: 4 }),
          seed: fc.nat(9),
        },
        { requiredKeys: [] },
      ),
      compression,
    )
    .map(([options, compressor]) => ({ ...options, ...compressor })),
});

const plan: fc.Arbitrary<PlanChoice> = fc.record({
  isCollective: fc.boolean(),
  device: fc.nat(5),
  proxy: fc.boolean(),
  group: fc.nat(2),
  shards: fc.integer({ min: 1, max: 3 }),
  axis: fc.nat(1),
});

const custom: fc.Arbitrary<StrategyChoice> = fc.record({
  kind: fc.constant('custom'),
  oneEach: fc.boolean(),
  plans: fc.array(plan, { minLength: 1, maxLength: 5 }),
});

export const training: fc.Arbitrary<TrainingSpec> = fc.record({
  program,
  layout: fc.constantFrom(...LAYOUTS),
  strategy: fc.oneof(servers, collectives, custom),
  areEven: fc.boolean(),
  rows: fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 4 }),
  steps: fc.integer({ min: 2, max: 3 }),
});
