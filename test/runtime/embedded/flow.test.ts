/** Loops and branches in graphs made by hand: values, what is left out, lifetimes, and what is refused. */
import test from 'ava';
import { GradsyncError } from '../../../src/errors.js';
import { type AttrValue, attr, attributes } from '../../../src/graph/attributes.js';
import { Graph } from '../../../src/graph/graph.js';
import type { Operation, Tensor } from '../../../src/graph/operation.js';
import { Binder } from '../../../src/runtime/embedded/binding.js';
import type { KernelTable, TaskRuntime } from '../../../src/runtime/embedded/kernel.js';
import { COMPUTE_KERNELS } from '../../../src/runtime/embedded/kernels/index.js';
import { compile, type PlanRequest } from '../../../src/runtime/embedded/plan.js';
import type { TaskResources } from '../../../src/runtime/embedded/resources.js';
import { runStep } from '../../../src/runtime/embedded/step.js';
import type { Value } from '../../../src/runtime/embedded/value.js';

/** Values here are scalars in host memory: neither resources nor wasm are touched. */
const NO_RESOURCES = {} as TaskResources;
const NO_RUNTIME = { awaitSettlement: () => undefined } as unknown as TaskRuntime;

/** Operations whose results are new: those of others may be a constant's, which stays. */
const MAKE = new Set(['AddV2', 'Less', 'StackV2']);

class World {
  readonly graph = new Graph();
  /** Names of the operations that ran, and the values that were made on the way. */
  readonly log: string[] = [];
  readonly made: Value[] = [];
  readonly #binder: Binder;

  constructor() {
    const watched = Object.entries(COMPUTE_KERNELS).map(([type, bind]) => {
      const watch: KernelTable[string] = (operation) => {
        const kernel = bind(operation);
        return (inputs, runtime) => {
          const values = kernel(inputs, runtime) as readonly Value[];
          this.log.push(operation.name);
          if (MAKE.has(type)) this.made.push(...values);
          return values;
        };
      };
      return [type, watch];
    });
    this.#binder = new Binder(NO_RESOURCES, Object.fromEntries(watched), {});
  }

  add(
    type: string,
    name: string,
    inputs: readonly Tensor[] = [],
    controlInputs: readonly Operation[] = [],
    more: Readonly<Record<string, AttrValue>> = {},
  ): Operation {
    const values = attributes({ T: attr.type('float32'), ...more });
    return this.graph.add({ type, name, inputs, controlInputs, attributes: values });
  }

  number(name: string, value: number, controls: readonly Operation[] = []): Tensor {
    const bytes = new Uint8Array(Float32Array.of(value).buffer);
    const constant = attr.tensor({ dtype: 'float32', shape: [], bytes });
    return this.add('Const', name, [], controls, { value: constant, dtype: attr.type('float32') }).output();
  }

  /** `for (value = first; value < limit; value = body(value))`; gives what comes out. */
  loop(
    name: string,
    first: Tensor,
    limit: Tensor,
    body: (value: Tensor, pivot: Operation) => Tensor,
  ): Tensor {
    const enter = (suffix: string, input: Tensor, constant: boolean): Tensor => {
      const more = { frame_name: attr.string(name), is_constant: attr.bool(constant) };
      return this.add('Enter', `${name}/${suffix}`, [input], [], more).output();
    };
    const begin = enter('enter', first, false);
    const merge = this.add('Merge', `${name}/merge`, [begin, begin]);
    const less = this.add('Less', `${name}/less`, [merge.output(), enter('limit', limit, true)]);
    const goesOn = this.add('LoopCond', `${name}/cond`, [less.output()]).output();
    const side = this.add('Switch', `${name}/switch`, [merge.output(), goesOn]);
    const pivot = this.add('Identity', `${name}/pivot`, [side.output(1)]);
    const next = this.add('NextIteration', `${name}/next`, [body(pivot.output(), pivot)]);
    this.graph.setInput(merge, 1, next.output());
    return this.add('Exit', `${name}/exit`, [side.output(0)]).output();
  }

  /** `first < second ? yes : no`, each of which may take a value that only its branch has. */
  choose(
    name: string,
    [first, second]: readonly [Tensor, Tensor],
    yes: (value: Tensor, pivot: Operation) => Tensor,
    no: (value: Tensor, pivot: Operation) => Tensor,
  ): Tensor {
    const less = this.add('Less', `${name}/less`, [first, second]).output();
    const side = this.add('Switch', `${name}/switch`, [first, less]);
    const pivots = [0, 1].map((i) => this.add('Identity', `${name}/pivot_${i}`, [side.output(i)]));
    const results = [no(side.output(0), pivots[0]!), yes(side.output(1), pivots[1]!)];
    return this.add('Merge', `${name}/merge`, results).output();
  }

  async run(request: Partial<PlanRequest>): Promise<number[]> {
    this.log.length = 0;
    const plan = compile({ feeds: [], tensors: [], operations: [], ...request }, this.#binder, NO_RESOURCES);
    const values = await runStep(plan, [], NO_RUNTIME, { enter: () => undefined, moves: () => undefined });
    return values.map((value) => {
      const [result] = value.host() as Float32Array;
      value.release();
      return result!;
    });
  }

  /** How many of the values that operations made are still held. */
  get held(): number {
    return this.made.filter(isHeld).length;
  }
}

function isHeld(value: Value): boolean {
  try {
    return value.held !== undefined || value.host() !== undefined;
  } catch {
    return false;
  }
}

test('a loop runs its body as often as its condition holds, and holds nothing afterwards', async (t) => {
  const world = new World();
  const one = world.number('one', 1);
  for (const [first, limit, expected] of [
    [1, 8, 8],
    [3, 20, 24],
    [9, 2, 9],
  ] as const) {
    const name = `from_${first}`;
    const out = world.loop(
      name,
      world.number(`${name}/first`, first),
      world.number(`${name}/end`, limit),
      (value) => world.add('AddV2', `${name}/body`, [value, value]).output(),
    );
    const sum = world.add('AddV2', `${name}/after`, [out, one]).output();
    t.deepEqual(await world.run({ tensors: [sum] }), [expected + 1]);
    const turns = Math.log2(expected / first);
    t.is(world.log.filter((each) => each === `${name}/body`).length, turns);
  }
  t.is(world.held, 0);
});

test('a loop in a loop', async (t) => {
  const world = new World();
  const limit = world.number('limit', 40);
  const out = world.loop('outer', world.number('first', 1), limit, (value, pivot) => {
    const inner = world.loop('inner', value, world.number('small', 4, [pivot]), (each) =>
      world.add('AddV2', 'twice', [each, each]).output(),
    );
    return world.add('AddV2', 'more', [inner, world.number('ten', 10, [pivot])]).output();
  });
  // 1 -> 4 + 10 -> 14 + 10 -> 34 -> 44
  t.deepEqual(await world.run({ tensors: [out] }), [44]);
  t.is(world.held, 0);
});

test('a branch runs one side, whatever its operations take, and holds nothing of the other', async (t) => {
  const world = new World();
  const [one, two] = [world.number('one', 1), world.number('two', 2)];
  for (const [name, pair, expected] of [
    ['yes', [one, two], 6],
    ['no', [two, one], 100],
  ] as const) {
    const out = world.choose(
      name,
      pair,
      (value, pivot) =>
        world.add('AddV2', `${name}/sum`, [value, world.number(`${name}/five`, 5, [pivot])]).output(),
      (_, pivot) => world.number(`${name}/hundred`, 100, [pivot]),
    );
    t.deepEqual(await world.run({ tensors: [out] }), [expected]);
    t.is(world.log.includes(`${name}/sum`), name === 'yes');
    t.is(world.log.includes(`${name}/hundred`), name === 'no');
  }
  t.is(world.held, 0);
});

test('a branch in a loop, and a loop in a branch that is not taken', async (t) => {
  const world = new World();
  const limit = world.number('limit', 10);
  const out = world.loop('loop', world.number('first', 1), limit, (value, pivot) =>
    world.choose(
      'choice',
      [value, world.number('four', 4, [pivot])],
      (each) => world.add('AddV2', 'twice', [each, each]).output(),
      (each, side) => world.add('AddV2', 'plus', [each, world.number('three', 3, [side])]).output(),
    ),
  );
  // 1 -> 2 -> 4 -> 7 -> 10
  t.deepEqual(await world.run({ tensors: [out] }), [10]);
  const never = world.choose(
    'outside',
    [limit, out],
    (value) =>
      world.loop('never', value, world.number('hundred', 100), (each) =>
        world.add('AddV2', 'never/body', [each, each]).output(),
      ),
    (value) => value,
  );
  t.deepEqual(await world.run({ tensors: [never] }), [10]);
  t.false(world.log.includes('never/body'));
  t.is(world.held, 0);
});

test('stacks keep what a loop pushes for the loop that pops it', async (t) => {
  const world = new World();
  const [first, limit] = [world.number('first', 1), world.number('limit', 8)];
  const stack = world.add('StackV2', 'stack', [limit], [], { elem_type: attr.type('float32') }).output();
  const handle = (frame: string): Tensor => {
    const more = { T: attr.type('resource'), frame_name: attr.string(frame), is_constant: attr.bool(true) };
    return world.add('Enter', `${frame}/stack`, [stack], [], more).output();
  };
  const there = world.loop('there', first, limit, (value) => {
    const pushed = world.add('StackPushV2', 'push', [handle('there'), value]).output();
    return world.add('AddV2', 'twice', [pushed, value]).output();
  });
  // Pops 4, 2 and 1: 8 -> 12 -> 14 -> 15.
  const back = world.loop('back', there, world.number('end', 15), (value, pivot) => {
    const popped = world.add('StackPopV2', 'pop', [handle('back')], [pivot]).output();
    return world.add('AddV2', 'sum', [value, popped]).output();
  });
  t.deepEqual(await world.run({ tensors: [back] }), [15]);
  t.is(world.held, 0);
});

test('what is inside a loop, or in a branch that was not taken, cannot be fetched', async (t) => {
  const world = new World();
  const [one, two] = [world.number('one', 1), world.number('two', 2)];
  const body: Tensor[] = [];
  const out = world.loop('loop', one, two, (value) => {
    body.push(world.add('AddV2', 'body', [value, value]).output());
    return body[0]!;
  });
  const inside = await t.throwsAsync(world.run({ tensors: [body[0]!, out] }), { instanceOf: GradsyncError });
  t.regex(inside.message, /body.*outside of loops/);
  const less = world.add('Less', 'less', [one, two]).output();
  const side = world.add('Switch', 'switch', [one, less]);
  const taken = await world.run({ tensors: [side.output(1)] });
  t.deepEqual(taken, [1]);
  const dead = await t.throwsAsync(world.run({ tensors: [side.output(1), side.output(0)] }), {
    instanceOf: GradsyncError,
  });
  t.regex(dead.message, /branch that was not taken/);
  t.is(world.held, 0);
});
