/** Requests: the user's names become those of the rewritten graph; what cannot be run is refused with what was expected. */
import test from 'ava';
import { checkPlans } from '../../src/runtime/check-plans.js';
import type { TensorData } from '../../src/runtime/executor.js';
import { checkFeed, programRequest, type RunPlan } from '../../src/runtime/request.js';
import { throwsTyped } from '../helpers/throws.js';

const PLAN: RunPlan = {
  digest: 'd',
  task: 0,
  initializers: [],
  feeds: { 'x:0': { tensors: ['replica/x:0'], split: null } },
  fetches: {
    'loss:0': { tensors: ['replica/loss:0'], combine: 'first' },
    train_op: { operations: ['train/finish', 'train/tokens'] },
  },
  notFetchable: { mean: 'it takes a round' },
  background: [],
};

test('names of the plan are mapped, others stay as they are', (t) => {
  const { program, tensors } = programRequest(
    PLAN,
    ['x:0', 'y:0'],
    ['train_op', 'loss:0', 'other:1', 'init'],
  );
  t.deepEqual(program, {
    feeds: ['replica/x:0', 'y:0'],
    tensors: ['replica/loss:0', 'other:1'],
    operations: ['train/finish', 'train/tokens', 'init'],
    guarded: [],
  });
  t.deepEqual(tensors, [
    { name: 'loss:0', count: 1, combine: 'first' },
    { name: 'other:1', count: 1, combine: 'first' },
  ]);
});

test('what is not fetchable alone is marked, as a tensor and as an operation', (t) => {
  const { guarded } = programRequest(PLAN, [], ['mean:0', 'mean', 'other', 'train_op']).program;
  t.deepEqual(guarded, ['mean:0', 'mean']);
});

test('what several replicas take or give is asked for in all of them', (t) => {
  const plan: RunPlan = {
    ...PLAN,
    feeds: { 'x:0': { tensors: ['a:0', 'b:0'], split: 0 } },
    fetches: { 'loss:0': { tensors: ['c:0', 'd:0'], combine: 'mean' } },
  };
  const { program, feeds, tensors } = programRequest(plan, ['x:0'], ['loss:0', 'other:0']);
  t.deepEqual(program.feeds, ['a:0', 'b:0']);
  t.deepEqual(program.tensors, ['c:0', 'd:0', 'other:0']);
  t.deepEqual(feeds, [{ name: 'x:0', count: 2, split: 0 }]);
  t.deepEqual(tensors, [
    { name: 'loss:0', count: 2, combine: 'mean' },
    { name: 'other:0', count: 1, combine: 'first' },
  ]);
});

test('plans of different runs or in the wrong order are refused', (t) => {
  const second: RunPlan = { ...PLAN, task: 1 };
  checkPlans([PLAN, second], 2);
  throwsTyped(t, () => checkPlans([], 0), 'INVALID_ARGUMENT');
  throwsTyped(t, () => checkPlans([PLAN, PLAN], 2), 'INVALID_ARGUMENT', 'task 1');
  throwsTyped(t, () => checkPlans([PLAN, { ...second, digest: 'e' }], 2), 'FAILED_PRECONDITION', 'd', 'e');
});

const WITHOUT_DATA = { counts: { tasks: null, replicas: null }, nothing: [], leftOut: [], settings: [] };
const MALFORMED: readonly [title: string, fields: object, ...parts: string[]][] = [
  ['another format', { format: 2 }, '"format"', '1', '2'],
  ['no digest', { digest: undefined }, '"digest"', 'undefined'],
  ['initializers that are a text', { initializers: 'init' }, '"initializers"', 'an array of texts', '"init"'],
  ['feeds that are none', { feeds: null }, '"feeds"', 'null'],
  ['a feed without tensors', { feeds: { 'x:0': { tensors: [], split: 0 } } }, 'feed "x:0"', '"tensors"'],
  ['a feed split by name', { feeds: { 'x:0': { tensors: ['x:0'], split: 'rows' } } }, '"split"', '"rows"'],
  ['a feed that may be alike', { feeds: { x: { tensors: ['x:0'], split: 0, alike: 1 } } }, '"alike"'],
  ['a fetch that is a name', { fetches: { loss: 'loss:0' } }, 'fetch "loss"', '"loss:0"'],
  ['a sum', { fetches: { l: { tensors: ['l:0'], combine: 'sum' } } }, '"combine"', 'mean', '"sum"'],
  ['operations by number', { fetches: { train_op: { operations: [1] } } }, '"operations"'],
  ['no background', { background: undefined }, '"background"'],
  ['a partition without shards', { partitions: { w: { axis: 0, shards: [] } } }, 'partition "w"', '"shards"'],
  ['a staleness below none', { variables: { w: { staleness: -1 } } }, 'variable "w"', '"staleness"', '-1'],
  ['residuals without variables', { residuals: { save: 's' } }, '"residuals"', '"variables"'],
  ['a residual that is no name', { residuals: { variables: { w: 5 } } }, 'residual of "w"', '5'],
  ['no word on data', { withoutData: { counts: {}, nothing: [] } }, '"withoutData"', '"leftOut"'],
  [
    'nothing that is no array',
    { withoutData: { ...WITHOUT_DATA, nothing: [{ tensor: 'g:0', dtype: 'string', shape: [] }] } },
    '"nothing" 0',
    '"dtype"',
  ],
  ['counts by number', { withoutData: { ...WITHOUT_DATA, counts: { tasks: 2, replicas: null } } }, '"tasks"'],
  [
    'rounds without lag',
    { rounds: [{ applied: 'a', steps: 's', trains: [], anew: [] }] },
    'rounds 0',
    '"lag"',
  ],
];

for (const [title, fields, ...parts] of MALFORMED) {
  test(`a plan with ${title} is refused by the name of the field`, (t) => {
    const plan = { ...PLAN, ...fields } as RunPlan;
    throwsTyped(t, () => checkPlans([plan], 1), 'INVALID_ARGUMENT', 'Plan of task 0', 'plan.json', ...parts);
  });
}

test('plans of which one counts rounds that the other does not are refused', (t) => {
  const rounds = [{ applied: 'a', steps: 's', lag: 'l:0', trains: ['train_op'], anew: [] }];
  const plans = [
    { ...PLAN, rounds },
    { ...PLAN, task: 1 },
  ];
  throwsTyped(t, () => checkPlans(plans, 2), 'INVALID_ARGUMENT', 'task 1', '"rounds"');
});

const SPEC = { tensor: 'x:0', dtype: 'float32', shape: [-1, 2] } as const;
const FEEDS: readonly [title: string, value: TensorData, parts: readonly string[]][] = [
  [
    'dtype',
    { dtype: 'int32', shape: [1, 2], data: new Int32Array(2) },
    ['x:0', 'float32 [?,2]', 'int32 [1,2]'],
  ],
  [
    'shape',
    { dtype: 'float32', shape: [2], data: new Float32Array(2) },
    ['x:0', 'float32 [?,2]', 'float32 [2]'],
  ],
  ['array', { dtype: 'float32', shape: [1, 2], data: new Float64Array(2) }, ['Float32Array', 'Float64Array']],
  [
    'length',
    { dtype: 'float32', shape: [1, 2], data: new Float32Array(3) },
    ['2 elements', 'Float32Array of 3'],
  ],
];

for (const [title, value, parts] of FEEDS) {
  test(`a feed of the wrong ${title} names the placeholder, what it takes and what came`, (t) => {
    throwsTyped(t, () => checkFeed('x:0', value, SPEC), 'INVALID_ARGUMENT', ...parts);
  });
}

test('a feed that fits is let through', (t) => {
  t.notThrows(() => checkFeed('x:0', { dtype: 'float32', shape: [3, 2], data: new Float32Array(6) }, SPEC));
});
