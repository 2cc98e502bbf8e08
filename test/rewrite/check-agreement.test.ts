/** What stands between averaged gradients and updates: what tasks would not agree on is refused, its legitimate neighbours are not. */
import test from 'ava';
import { rewrittenFor } from '../helpers/rewritten.js';
import { type PairTexts, trainingOfText } from '../helpers/text-graph.js';
import { throwsTyped } from '../helpers/throws.js';

const STALE = '{"builder": "ps-lb", "staleness": 1}';

/** A variable with a loss and a gradient; `behind` is what makes an update of it. */
function trainingWith(
  behind: string,
  pairs: PairTexts = { w: 'g -> update' },
  alike: readonly string[] = [],
) {
  const program = `
    zeros = Const()
    x = Placeholder()
    w = Variable()
    w/Assign = AssignVariableOp(w, zeros)
    count = Counter()
    count/Assign = AssignVariableOp(count, zeros)
    average = Variable()
    average/Assign = AssignVariableOp(average, zeros)
    read = ReadVariableOp(w)
    product = Mul(read, x)
    loss = Square(product)
    g = Neg(product)
    steps = ReadVariableOp(count)
    ${behind}
    train_op = NoOp(^update)`;
  const training = trainingOfText(program, pairs);
  return { ...training, alike: alike.map((name) => training.graph.get(name)) };
}

type Program = readonly [what: string, behind: string, ...named: string[]];

const DIFFERING: readonly Program[] = [
  [
    'a rate that follows the loss',
    `rate = Mul(loss, zeros)
    update = ResourceApplyGradientDescent(w, rate, g)`,
    '"x" (Placeholder)',
  ],
  [
    'a mask by the loss',
    `good = Less(loss, zeros)
    masked = SelectV2(good, g, zeros)
    update = ResourceApplyGradientDescent(w, zeros, masked)`,
    '"x" (Placeholder)',
  ],
  [
    'noise on the gradient',
    `noise = RandomStandardNormal(zeros)
    noisy = Add(g, noise)
    update = ResourceApplyGradientDescent(w, zeros, noisy)`,
    '"noise" (RandomStandardNormal)',
  ],
  [
    'the size of a share',
    `size = Shape(x)
    divided = RealDiv(g, size)
    update = ResourceApplyGradientDescent(w, zeros, divided)`,
    '"x" (Placeholder)',
  ],
  [
    'a variable that the loss changes in the step',
    `rate = ReadVariableOp(average)
    update = ResourceApplyGradientDescent(w, rate, g)
    lowered = AssignVariableOp(average, loss, ^update)`,
    'variable "average"',
    '"x" (Placeholder)',
  ],
  [
    'a variable that the loss changes on its own',
    `rate = ReadVariableOp(average)
    update = ResourceApplyGradientDescent(w, rate, g)
    lowered = AssignSubVariableOp(average, loss)`,
    'variable "average"',
    '"x" (Placeholder)',
  ],
  [
    'a counter of examples',
    `size = Shape(x)
    counted = AssignAddVariableOp(count, size)
    update = ResourceApplyGradientDescent(w, steps, g)`,
    'variable "count"',
    '"x" (Placeholder)',
  ],
  [
    'weight decay by the loss, beside the update',
    `shrunk = Mul(read, loss)
    decay = AssignSubVariableOp(w, shrunk)
    update = ResourceApplyGradientDescent(w, zeros, g, ^decay)`,
    '"x" (Placeholder)',
  ],
  [
    'a constant that a branch on the loss chooses',
    `good = Less(loss, zeros)
    pivot = Switch(good, good)
    no = Identity(pivot)
    yes = Identity(pivot:1)
    small = Const(^no)
    large = Const(^yes)
    rate = Merge(small, large)
    update = ResourceApplyGradientDescent(w, rate, g)`,
    '"x" (Placeholder)',
  ],
];

for (const [what, behind, ...named] of DIFFERING) {
  test(`copies are not updated with ${what}; on a server the chief computes it, once`, (t) => {
    const refused = () => rewrittenFor(trainingWith(behind), 2, 0, { strategy: 'all-reduce' });
    throwsTyped(t, refused, 'UNIMPLEMENTED', 'Update of variable "w"', ...named, 'ps or ps-lb');
    t.notThrows(() => rewrittenFor(trainingWith(behind), 2, 0, { strategy: 'ps-lb' }));
    t.notThrows(() => rewrittenFor(trainingWith(behind), 1, 0, { strategy: 'all-reduce' }));
  });
}

const AGREED: readonly Program[] = [
  [
    'the norm of averaged gradients',
    `squares = Square(g)
    norm = Sum(squares, zeros)
    clipped = RealDiv(g, norm)
    update = ResourceApplyGradientDescent(w, zeros, clipped)`,
  ],
  ['the global step', 'update = ResourceApplyGradientDescent(w, steps, g)'],
  [
    'weight decay and a power of the optimizer',
    `decay = Mul(read, zeros)
    sum = Add(g, decay)
    power = ReadVariableOp(average)
    update = ResourceApplyGradientDescent(w, power, sum)
    next = Mul(power, zeros)
    assigned = AssignVariableOp(average, next, ^update)`,
  ],
  [
    'a loss scale that averaged gradients change',
    `finite = IsFinite(g)
    scale = ReadVariableOp(average)
    masked = SelectV2(finite, g, zeros)
    update = ResourceApplyGradientDescent(w, scale, masked)
    next = SelectV2(finite, scale, zeros)
    assigned = AssignVariableOp(average, next, ^update)`,
  ],
  [
    'zeros like what the batch decides',
    `none = ZerosLike(loss)
    sum = Add(g, none)
    update = ResourceApplyGradientDescent(w, zeros, sum)`,
  ],
  [
    'numbers drawn from a seed that is the same',
    `noise = StatelessRandomNormal(zeros, steps)
    noisy = Add(g, noise)
    update = ResourceApplyGradientDescent(w, zeros, noisy)`,
  ],
  [
    'a variable that a checkpoint restores',
    `prefix = Placeholder()
    restored = RestoreV2(prefix, zeros, zeros)
    restore = AssignVariableOp(average, restored)
    rate = ReadVariableOp(average)
    update = ResourceApplyGradientDescent(w, rate, g)`,
  ],
  [
    'nothing of an average that the batch changes beside it',
    `moved = AssignSubVariableOp(average, loss)
    update = ResourceApplyGradientDescent(w, zeros, g, ^moved)`,
  ],
  [
    'a condition on the global step',
    `even = Equal(steps, zeros)
    w/switch = Switch(w, even)
    g/switch = Switch(g, even)
    update = ResourceApplyGradientDescent(w/switch:1, zeros, g/switch:1)`,
  ],
  [
    'what a branch on averaged gradients chooses',
    `finite = IsFinite(g)
    all = All(finite, zeros)
    g/switch = Switch(g, all)
    none = ZerosLike(g/switch)
    chosen = Merge(none, g/switch:1)
    update = ResourceApplyGradientDescent(w, zeros, chosen)`,
  ],
];

for (const [what, behind] of AGREED) {
  test(`copies are updated with ${what}`, (t) => {
    t.notThrows(() => rewrittenFor(trainingWith(behind), 2, 1, { strategy: 'all-reduce' }));
  });
}

test('a fed learning rate is taken where all tasks are fed the same', (t) => {
  const behind = `rate = Placeholder()
    update = ResourceApplyGradientDescent(w, rate, g)`;
  const trains = (alike: readonly string[]) =>
    rewrittenFor(trainingWith(behind, undefined, alike), 2, 0, { strategy: 'all-reduce' });
  t.notThrows(() => trains(['rate']));
  throwsTyped(t, () => trains([]), 'UNIMPLEMENTED', '"rate" (Placeholder)');
});

test('beside copies, what the chief computes for a server may take of its batch', (t) => {
  const mixed = (rate: string, factor: string) =>
    trainingWith(
      `rows = Indices()
      table = Variable()
      table/Assign = AssignVariableOp(table, zeros)
      values = Neg(x)
      scaled = Mul(values, ${factor})
      update_table = ResourceScatterSub(table, rows, scaled)
      update = ResourceApplyGradientDescent(w, ${rate}, g, ^update_table)`,
      { w: 'g -> update', table: 'rows, values -> update_table' },
    );
  const trained = (rate: string, factor: string) =>
    rewrittenFor(mixed(rate, factor), 2, 1, { strategy: 'parallax' });
  t.notThrows(() => trained('zeros', 'loss'));
  throwsTyped(t, () => trained('loss', 'zeros'), 'UNIMPLEMENTED', 'Update of variable "w"', '"x"');
});

/** An update on a condition; `given` is the gradient: before the condition, or as the update takes it. */
function conditional(predicate: string, given: 'g' | 'taken') {
  return trainingWith(
    `when = ${predicate}
    same = Identity(when)
    w/switch = Switch(w, same)
    g/switch = Switch(g, when)
    taken = Neg(g/switch:1)
    update = ResourceApplyGradientDescent(w/switch:1, zeros, taken)`,
    { w: `${given} -> update` },
  );
}
const BY_LOSS = 'Less(loss, zeros)';
const BY_STEP = 'Equal(steps, zeros)';

test('a round whose update a condition may leave out would never end, and is refused', (t) => {
  for (const strategy of ['ps', 'ps-lb']) {
    const refused = (predicate: string) => () =>
      rewrittenFor(conditional(predicate, 'g'), 2, 0, { strategy });
    throwsTyped(
      t,
      refused(BY_LOSS),
      'UNIMPLEMENTED',
      'variable "w"',
      '"when"',
      '"x" (Placeholder)',
      'tf.where',
    );
    throwsTyped(t, refused(BY_STEP), 'UNIMPLEMENTED', 'variable "w"', '"when"', 'all-reduce');
  }
  t.notThrows(() => rewrittenFor(conditional(BY_LOSS, 'g'), 1, 0));
});

test('a round ends where branches meet again, whichever of them updates', (t) => {
  const behind = (last: string) => `finite = IsFinite(g)
    all = All(finite, zeros)
    pivot = Switch(all, all)
    no = Identity(pivot)
    yes = Identity(pivot:1)
    w/switch = Switch(w, all)
    g/switch = Switch(g, all)
    update = ResourceApplyGradientDescent(w/switch:1, zeros, g/switch:1)
    done = Identity(yes, ^update)
    both = Merge(no, done)
    ended = NoOp(^${last})`;
  const trained = (last: string) => {
    const training = trainingWith(behind(last));
    const trains = training.graph.get('train_op');
    training.graph.removeControlInput(trains, training.graph.get('update'));
    training.graph.addControlInput(trains, training.graph.get('ended'));
    return () => rewrittenFor(training, 2, 0, { strategy: 'ps' });
  };
  t.notThrows(trained('both'));
  throwsTyped(t, trained('done'), 'UNIMPLEMENTED', 'on the condition "all"');
});

test('where the gradient itself is computed on a condition, no task is in a round that others are not in', (t) => {
  for (const strategy of ['ps-lb', 'all-reduce']) {
    t.notThrows(() => rewrittenFor(conditional(BY_STEP, 'taken'), 2, 0, { strategy }));
    throwsTyped(
      t,
      () => rewrittenFor(conditional(BY_LOSS, 'taken'), 2, 0, { strategy }),
      'UNIMPLEMENTED',
      'Gradient of variable "w"',
      '"when"',
      '"x" (Placeholder)',
    );
  }
});

test('each task alone may update on a condition of its own', (t) => {
  const strategy = '{"builder": "ps-lb", "sync": false}';
  t.notThrows(() => rewrittenFor(conditional(BY_LOSS, 'taken'), 2, 0, { strategy }));
});

test('with staleness no condition decides whether an update runs; what it takes may depend on one', (t) => {
  for (const given of ['g', 'taken'] as const) {
    const refused = () => rewrittenFor(conditional(BY_STEP, given), 2, 0, { strategy: STALE });
    throwsTyped(t, refused, 'UNIMPLEMENTED', 'variable "w"', '"when"', 'set "staleness" to 0');
    t.notThrows(() => rewrittenFor(conditional(BY_STEP, given), 1, 0, { strategy: STALE }));
  }
  const chosen = trainingWith(`when = ${BY_STEP}
    steps/switch = Switch(steps, when)
    less = Neg(steps/switch:1)
    rate = Merge(steps/switch, less)
    update = ResourceApplyGradientDescent(w, rate, g)`);
  t.notThrows(() => rewrittenFor(chosen, 2, 0, { strategy: STALE }));
});

test('a loop before an update is no condition', (t) => {
  const behind = `enter = Enter(steps)
    merge = Merge(enter, back)
    less = Less(merge, zeros)
    cond = LoopCond(less)
    switch = Switch(merge, cond)
    next = Neg(switch:1)
    back = NextIteration(next)
    rate = Exit(switch)
    update = ResourceApplyGradientDescent(w, rate, g)`;
  for (const strategy of ['ps-lb', STALE, 'all-reduce']) {
    t.notThrows(() => rewrittenFor(trainingWith(behind), 2, 0, { strategy }));
  }
});
