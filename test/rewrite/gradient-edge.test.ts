import test from 'ava';
import { inputNames, rewrittenFor } from '../helpers/rewritten.js';
import { trainingOfText } from '../helpers/text-graph.js';
import { throwsTyped } from '../helpers/throws.js';

const VARIABLES = `
  a = Variable()
  a/Assign = AssignVariableOp(a, zeros)
  b = Variable()
  b/Assign = AssignVariableOp(b, zeros)
  zeros = Const()
  rate = Const()
  x = Placeholder()
`;

test('a gradient tensor that two variables share is cut once for each', (t) => {
  const training = trainingOfText(
    `${VARIABLES}
     g = Neg(x)
     update_a = ResourceApplyGradientDescent(a, rate, g)
     update_b = ResourceApplyGradientDescent(b, rate, g)
     train = NoOp(^update_a, ^update_b)`,
    { a: 'g -> update_a', b: 'g -> update_b' },
  );
  const { graph } = rewrittenFor(training, 2, 0);
  t.deepEqual(inputNames(graph.get('update_a')), ['a', 'gradsync/a/take_gradient', 'rate']);
  t.deepEqual(inputNames(graph.get('update_b')), ['b', 'gradsync/b/take_gradient', 'rate']);
  t.deepEqual(inputNames(graph.get('gradsync/a/gradient')), ['g']);
  t.deepEqual(inputNames(graph.get('gradsync/b/gradient')), ['g']);
});

test('backpropagation that reads a gradient on its way to another keeps the local one, even under clipping', (t) => {
  const training = trainingOfText(
    `${VARIABLES}
     gb = Neg(x)
     ga = MatMul(x, gb)
     summary = HistogramSummary(gb)
     norm_a = L2Loss(ga)
     norm_b = L2Loss(gb)
     norm = AddN(norm_a, norm_b)
     clipped_a = Mul(ga, norm)
     clipped_b = Mul(gb, norm)
     update_a = ResourceApplyGradientDescent(a, rate, clipped_a)
     update_b = ResourceApplyGradientDescent(b, rate, clipped_b)
     train = NoOp(^update_a, ^update_b)`,
    { a: 'ga -> update_a', b: 'gb -> update_b' },
  );
  const { graph } = rewrittenFor(training, 2, 0);
  t.deepEqual(inputNames(graph.get('ga')), ['gb', 'x']);
  t.deepEqual(inputNames(graph.get('summary')), ['gb']);
  t.deepEqual(inputNames(graph.get('norm_b')), ['gradsync/b/take_gradient']);
  t.deepEqual(inputNames(graph.get('clipped_b')), ['gradsync/b/take_gradient', 'norm']);
  t.deepEqual(inputNames(graph.get('norm_a')), ['gradsync/a/take_gradient']);
});

test('what changes a slot takes the mean too, even when the update does not wait for it', (t) => {
  const training = trainingOfText(
    `${VARIABLES}
     m = Variable()
     m/Assign = AssignVariableOp(m, zeros)
     read_m = ReadVariableOp(m)
     g = Neg(x)
     step = Mul(g, read_m)
     square = Square(g)
     update_m = AssignVariableOp(m, square)
     update_a = AssignSubVariableOp(a, step)
     train = NoOp(^update_a, ^update_m)`,
    { a: 'g -> update_a' },
  );
  const { graph, plan } = rewrittenFor(training, 2, 1);
  t.deepEqual(inputNames(graph.get('square')), ['gradsync/a/take_gradient']);
  t.true('update_m' in plan.notFetchable);
  t.deepEqual(inputNames(graph.get('train')), ['^gradsync/finish']);
});

test('a given gradient that does not lead to the update is refused by name', (t) => {
  const training = trainingOfText(
    `${VARIABLES}
     g = Neg(x)
     other = Neg(g)
     update_a = ResourceApplyGradientDescent(a, rate, g)
     train = NoOp(^update_a)`,
    { a: 'other -> update_a' },
  );
  throwsTyped(t, () => rewrittenFor(training, 2, 0), 'INVALID_ARGUMENT', '"other:0"', '"a"', 'update_a');
});
