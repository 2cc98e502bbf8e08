/**
 * Plans and steps on graphs made by hand, with kernels that count and wait under the test's control: order, waits, lifetimes, failures.
 */
import test from 'ava';
import { GradsyncError } from '../../../src/errors.js';
import { attr, attributes } from '../../../src/graph/attributes.js';
import { Graph } from '../../../src/graph/graph.js';
import type { Operation } from '../../../src/graph/operation.js';
import { Binder } from '../../../src/runtime/embedded/binding.js';
import type { ExecutionPlan } from '../../../src/runtime/embedded/execution-plan.js';
import type { KernelTable, TaskRuntime } from '../../../src/runtime/embedded/kernel.js';
import { compile, type PlanRequest } from '../../../src/runtime/embedded/plan.js';
import type { TaskResources } from '../../../src/runtime/embedded/resources.js';
import { OperationFailure, runStep } from '../../../src/runtime/embedded/step.js';
import { Value } from '../../../src/runtime/embedded/value.js';
import { throwsTyped } from '../../helpers/throws.js';

/** Graphs here have no resources and no wasm: neither is touched. */
const NO_RESOURCES = {} as TaskResources;
const NO_RUNTIME = { awaitSettlement: () => undefined } as unknown as TaskRuntime;

function number(value: Value): number {
  return Number((value.host() as Float32Array)[0]);
}

function scalar(value: number): Value {
  return Value.ofHost('float32', [], Float32Array.of(value));
}

/** A kernel that passes its input on and says that it ran. */
function pass(log: string[]): KernelTable[string] {
  return (operation) =>
    ([value]) => {
      log.push(operation.name);
      return [value!.retain()];
    };
}

/** Adds up inputs; `Wait` does so when the test says. */
function world() {
  const graph = new Graph();
  const log: string[] = [];
  const made: Value[] = [];
  const waiting = new Map<string, () => void>();
  const sum = (inputs: readonly Value[]): Value => {
    const value = scalar(inputs.reduce((total, input) => total + number(input), 0));
    made.push(value);
    return value;
  };
  const kernels: KernelTable = {
    Placeholder: () => () => [],
    One: (operation) => () => {
      log.push(operation.name);
      const one = scalar(1);
      made.push(one);
      return [one];
    },
    Sum: (operation) => (inputs) => {
      log.push(operation.name);
      return [sum(inputs)];
    },
    Fail: () => () => {
      throw new GradsyncError('INVALID_ARGUMENT', 'broken');
    },
    Identity: pass(log),
    ResourceAccumulatorApplyGradient: pass(log),
    CheckNumerics: () => () => {
      throw new GradsyncError('INVALID_ARGUMENT', 'not finite');
    },
    Draw: (operation) => {
      const draw = (inputs: readonly Value[]): readonly Value[] => {
        log.push(operation.name);
        return [sum(inputs)];
      };
      return Object.assign(draw, { generator: { state: [] } });
    },
    Wait: (operation) => async (inputs) => {
      log.push(operation.name);
      await new Promise<void>((resolve) => waiting.set(operation.name, resolve));
      return [sum(inputs)];
    },
  };
  const binder = new Binder(NO_RESOURCES, kernels, {});
  const add = (
    type: string,
    name: string,
    inputs: readonly Operation[] = [],
    controls: readonly Operation[] = [],
  ) => graph.add({ type, name, inputs: inputs.map((input) => input.output()), controlInputs: controls });
  const plan = (request: Partial<PlanRequest>): ExecutionPlan =>
    compile({ feeds: [], tensors: [], operations: [], ...request }, binder, NO_RESOURCES);
  const run = (request: Partial<PlanRequest>, feeds: readonly Value[] = []) =>
    runStep(plan(request), feeds, NO_RUNTIME, { enter: () => undefined, moves: () => undefined });
  return { graph, log, made, waiting, add, plan, run, binder };
}

/** Lets everything that can go on go on. */
function idle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function isReleased(value: Value): boolean {
  try {
    value.host();
    return false;
  } catch {
    return true;
  }
}

test('only what the fetches need is run, each operation once', async (t) => {
  const { add, log, run } = world();
  const one = add('One', 'one');
  const twice = add('Sum', 'twice', [one, one]);
  const four = add('Sum', 'four', [twice, twice]);
  add('Sum', 'unneeded', [four]);
  const [result] = await run({ tensors: [four.output()] });
  t.is(number(result!), 4);
  t.deepEqual(log, ['one', 'twice', 'four']);
});

test('control edges order operations', async (t) => {
  const { add, log, run } = world();
  const first = add('One', 'first');
  const last = add('Sum', 'last', [first]);
  const group = add('NoOp', 'group', [], [last]);
  const after = add('One', 'after', [], [group]);
  await run({ operations: [after, last] });
  t.deepEqual(log, ['first', 'last', 'after']);
});

test('what is needed for the order alone is not computed, nor what only that takes; draws and checks are made', async (t) => {
  const { add, log, run } = world();
  const shared = add('One', 'shared');
  const only = add('One', 'only');
  const unused = add('Sum', 'unused', [shared, only]);
  const drawn = add('Draw', 'drawn', [add('One', 'count')]);
  const group = add('NoOp', 'group', [], [unused, drawn]);
  const used = add('Sum', 'used', [shared], [group]);
  const [result] = await run({ tensors: [used.output()] });
  t.is(number(result!), 1);
  t.deepEqual(log, ['shared', 'count', 'drawn', 'used']);
  const check = add('CheckNumerics', 'check', [only]);
  await t.throwsAsync(run({ operations: [add('NoOp', 'checked', [], [check])] }), {
    instanceOf: OperationFailure,
  });
});

test('a gradient is given as soon as it is there', async (t) => {
  const { add, log, run } = world();
  const one = add('One', 'one');
  const late = add('Sum', 'late', [one]);
  const early = add('Sum', 'early', [late]);
  const first = add('ResourceAccumulatorApplyGradient', 'first', [add('Identity', 'to first', [early])]);
  const second = add('ResourceAccumulatorApplyGradient', 'second', [add('Identity', 'to second', [late])]);
  await run({ operations: [first, second] });
  t.deepEqual(log, ['one', 'late', 'to second', 'second', 'early', 'to first', 'first']);
});

test('while nothing can run, the thread waits for a settlement: of as many waits as are under way', async (t) => {
  const { add, waiting, plan } = world();
  const both = add('Sum', 'both', [add('Wait', 'a'), add('Wait', 'b')]);
  const asked: number[] = [];
  const awaitSettlement = (count: number): void => {
    asked.push(count);
    waiting.get(['a', 'b'][asked.length - 1]!)!();
  };
  const runtime = { ...NO_RUNTIME, awaitSettlement };
  await runStep(plan({ operations: [both] }), [], runtime, {
    enter: () => undefined,
    moves: () => undefined,
  });
  t.deepEqual(asked, [2, 1]);
});

test('operations that wait for nothing come first, so that reads see the state before the step', async (t) => {
  const { add, log, run } = world();
  const a = add('One', 'a');
  const chain = add('Sum', 'chain', [add('Sum', 'link', [a])]);
  const read = add('One', 'read');
  await run({ operations: [chain], tensors: [chain.output(), read.output()] });
  t.deepEqual(log, ['a', 'read', 'link', 'chain']);
});

test('work that does not depend on a wait goes on, and several waits are under way at once', async (t) => {
  const { add, log, waiting, run } = world();
  const one = add('One', 'one');
  const slow = add('Wait', 'slow', [one]);
  const slower = add('Wait', 'slower', [one]);
  const free = add('Sum', 'free', [one]);
  const joined = add('Sum', 'joined', [slow, slower, free]);
  const result = run({ tensors: [joined.output()] });
  await idle();
  t.deepEqual(log, ['one', 'slow', 'slower', 'free']);
  waiting.get('slower')!();
  await idle();
  t.is(log.length, 4);
  waiting.get('slow')!();
  t.is(number((await result)[0]!), 3);
});

for (const order of [
  ['w1', 'w2', 'w3'],
  ['w3', 'w2', 'w1'],
  ['w2', 'w3', 'w1'],
]) {
  test(`results do not depend on the order in which waits end: ${order.join(', ')}`, async (t) => {
    const { add, waiting, run } = world();
    const one = add('One', 'one');
    const waits = ['w1', 'w2', 'w3'].map((name) => add('Wait', name, [one]));
    const sums = waits.map((wait, i) => add('Sum', `s${i}`, [wait, one, ...waits.slice(0, i)]));
    const results = run({ tensors: sums.map((sum) => sum.output()) });
    await idle();
    for (const name of order) {
      waiting.get(name)!();
      await idle();
    }
    t.deepEqual((await results).map(number), [2, 3, 4]);
  });
}

test('a value lives until its last use, and all are released at the end but those fetched', async (t) => {
  const { add, made, run, log } = world();
  const a = add('One', 'a');
  const b = add('Sum', 'b', [a, a]);
  const c = add('Sum', 'c', [b]);
  const unused = add('Sum', 'unused', [c]);
  const [fetched, again] = await run({ tensors: [b.output(), b.output()], operations: [unused] });
  t.is(log.length, 4);
  t.deepEqual(made.map(isReleased), [true, false, true, true]);
  fetched!.release();
  t.is(number(again!), 2);
  again!.release();
  t.true(made.every(isReleased));
});

test('a feed takes the place of any tensor, and what made it is not run', async (t) => {
  const { add, log, run } = world();
  const one = add('One', 'one');
  const middle = add('Sum', 'middle', [one]);
  const end = add('Sum', 'end', [middle, middle]);
  const feed = scalar(21);
  const request = { feeds: [middle.output()], tensors: [end.output(), middle.output()] };
  const results = await run(request, [feed]);
  t.deepEqual(results.map(number), [42, 21]);
  t.deepEqual(log, ['end']);
});

test('a feed that nothing uses is released', async (t) => {
  const { add, run } = world();
  const one = add('One', 'one');
  const feed = scalar(1);
  await run({ feeds: [one.output()] }, [feed]);
  t.true(isReleased(feed));
});

test('a placeholder without a feed is refused with its dtype and shape', (t) => {
  const { graph, add, plan } = world();
  const x = graph.add({
    type: 'Placeholder',
    name: 'x',
    attributes: attributes({ dtype: attr.type('float32'), shape: attr.shape([-1, 3]) }),
  });
  const sum = add('Sum', 'sum', [x]);
  throwsTyped(t, () => plan({ tensors: [sum.output()] }), 'INVALID_ARGUMENT', '"x"', 'float32 [?,3]');
  t.notThrows(() => plan({ feeds: [x.output()], tensors: [sum.output()], operations: [x] }));
});

test('a failing operation is named, and nothing after it runs', async (t) => {
  const { add, run, log } = world();
  const bad = add('Fail', 'bad');
  const next = add('Sum', 'next', [bad]);
  const error = await t.throwsAsync(run({ tensors: [next.output()] }), { instanceOf: OperationFailure });
  t.is(error!.operation, bad);
  t.true(error!.cause instanceof GradsyncError);
  t.deepEqual(log, []);
});

test('an output that the operation does not have is NOT_FOUND', async (t) => {
  const { add, run } = world();
  const one = add('One', 'one');
  const error = await t.throwsAsync(run({ tensors: [one.output(3)] }), { instanceOf: OperationFailure });
  t.is((error!.cause as GradsyncError).code, 'NOT_FOUND');
});

test('a cycle is refused', (t) => {
  const { graph, add, plan } = world();
  const a = add('Sum', 'a');
  const b = add('Sum', 'b', [a]);
  graph.setInputs(a, [b.output()]);
  throwsTyped(t, () => plan({ tensors: [b.output()] }), 'UNIMPLEMENTED', 'cycle');
});

test('a chain of 100,000 operations is compiled and run', async (t) => {
  const { add, run } = world();
  let end = add('One', 'one');
  for (let i = 0; i < 100_000; i++) end = add('Sum', `n${i}`, [end]);
  t.is(number((await run({ tensors: [end.output()] }))[0]!), 1);
});

test('all unknown operation types of a graph are named at once, checkpoint operations are not', (t) => {
  const { graph, add, binder } = world();
  add('Mystery', 'scope/m1');
  add('Mystery', 'scope/m2');
  add('Arcane', 'a');
  add('SaveV2', 'save');
  add('One', 'one');
  throwsTyped(t, () => binder.checkGraph(graph), 'UNIMPLEMENTED', 'Arcane ("a"), Mystery ("scope/m1")');
  const error = t.throws(() => binder.checkGraph(graph));
  t.false(/SaveV2|One/.test(error?.message ?? ''));
});
