import test from 'ava';
import { sparseFormOf } from '../../src/rewrite/sparse-form.js';
import { rewrittenFor } from '../helpers/rewritten.js';
import { trainingOfText } from '../helpers/text-graph.js';

const START = `
  e = Variable()
  e/Assign = AssignVariableOp(e, zeros)
  s = Variable()
  s/Assign = AssignVariableOp(s, zeros)
  zeros = Const()
  rate = Const()
  i = Indices()
  v = Placeholder()
`;

const formIs = test.macro({
  exec: (t, form: 'combined' | 'concatenated', blamed: string, body: string) => {
    const training = trainingOfText(START + body, { e: 'i, v -> update' });
    const found = sparseFormOf(training.pairs[0]!, false);
    t.is(found.form, form, found.reason);
    t.true(found.reason.includes(blamed), found.reason);
  },
  title: (name = '') => name,
});

test(
  'rows that are added to the variable may be combined',
  formIs,
  'combined',
  '',
  'update = ResourceScatterAdd(e, i, v)',
);
test(
  'a factor leaves the form combined',
  formIs,
  'combined',
  '',
  'n = Neg(v)\n m = Mul(n, rate)\n update = ResourceScatterAdd(e, i, m)',
);
test(
  'an optimizer that adds up duplicates first may have them combined',
  formIs,
  'combined',
  '',
  'u = Unique(i)\n sum = UnsortedSegmentSum(v, u:1, rate)\n update = ResourceSparseApplyAdagrad(e, s, rate, sum, u)',
);
test(
  'what comes after duplicates are added up may do anything',
  formIs,
  'combined',
  '',
  'u = Unique(i)\n sum = UnsortedSegmentSum(v, u:1, rate)\n sq = Square(sum)\n update = ResourceScatterAdd(e, u, sq)',
);
test(
  'a fused update of raw rows looks at single rows',
  formIs,
  'concatenated',
  'ResourceSparseApplyAdagrad "update"',
  'update = ResourceSparseApplyAdagrad(e, s, rate, v, i)',
);
test(
  'a norm over the rows looks at single rows',
  formIs,
  'concatenated',
  'L2Loss "l2"',
  'l2 = L2Loss(v)\n m = Mul(v, l2)\n update = ResourceScatterAdd(e, i, m)',
);
test(
  'a product of rows with themselves looks at single rows',
  formIs,
  'concatenated',
  'Mul "m"',
  'm = Mul(v, v)\n update = ResourceScatterAdd(e, i, m)',
);
test(
  'dividing by rows looks at single rows',
  formIs,
  'concatenated',
  'RealDiv "m"',
  'm = RealDiv(rate, v)\n update = ResourceScatterAdd(e, i, m)',
);
test(
  'overwriting rows looks at single rows',
  formIs,
  'concatenated',
  'ResourceScatterUpdate "update"',
  'update = ResourceScatterUpdate(e, i, v)',
);
test(
  'counting duplicates looks at single rows',
  formIs,
  'concatenated',
  'UniqueWithCounts "u"',
  'u = UniqueWithCounts(i)\n sum = UnsortedSegmentSum(v, u:1, rate)\n update = ResourceScatterAdd(e, u, sum)',
);

test('two tables whose rows one Unique sorts are concatenated, so that their rows stay in step', (t) => {
  const training = trainingOfText(
    `${START}
     f = Variable()
     f/Assign = AssignVariableOp(f, zeros)
     w = Placeholder()
     u = Unique(i)
     sum_e = UnsortedSegmentSum(v, u:1, rate)
     sum_f = UnsortedSegmentSum(w, u:1, rate)
     update_e = ResourceScatterAdd(e, u, sum_e)
     update_f = ResourceScatterAdd(f, u, sum_f)
     train = NoOp(^update_e, ^update_f)`,
    { e: 'i, v -> update_e', f: 'i, w -> update_f' },
  );
  const { plan } = rewrittenFor(training, 2, 0);
  t.is(plan.variables['e']?.sparseForm, 'concatenated');
  t.is(plan.variables['f']?.sparseForm, 'concatenated');
});
