import test from 'ava';
import { attr } from '../../src/graph/attributes.js';
import { rewrittenFor } from '../helpers/rewritten.js';
import { trainingOfText } from '../helpers/text-graph.js';

const TEXT = `
  zeros = Const()
  rate = Const()
  x = Placeholder()
  initial = TruncatedNormal(zeros)
  a = Variable()
  a/Assign = AssignVariableOp(a, initial)
  mask = RandomUniform(x)
  free = RandomUniform(x)
  noisy = AddN(x, mask, free)
  g = Neg(noisy)
  update = ResourceApplyGradientDescent(a, rate, g)
  train_op = NoOp(^update)
`;

function seedsOf(task: number): readonly (bigint | undefined)[] {
  const training = trainingOfText(TEXT, { a: 'g -> update' });
  for (const name of ['mask', 'initial']) {
    training.graph.setAttributes(training.graph.get(name), { seed: attr.int(7), seed2: attr.int(40) });
  }
  const { graph } = rewrittenFor(training, 3, task);
  return ['mask', 'initial', 'free'].map((name) => {
    const seed = graph.get(name).attributes.get('seed2');
    return seed?.kind === 'int' ? seed.value : undefined;
  });
}

test('every task draws numbers of its own in a step, and the same initial values; the chief those of the program', (t) => {
  t.deepEqual(seedsOf(0), [40n, 40n, undefined]);
  t.deepEqual(seedsOf(1), [41n, 40n, undefined]);
  t.deepEqual(seedsOf(2), [42n, 40n, undefined]);
});
