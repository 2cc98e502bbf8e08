/** What a step moves between tasks, counted on graphs made by hand: once for each device that takes it, and nothing for what carries no data. */
import test from 'ava';
import { attr, attributes } from '../../../src/graph/attributes.js';
import { Graph } from '../../../src/graph/graph.js';
import type { Operation, Tensor } from '../../../src/graph/operation.js';
import { bytesAroundRing } from '../../../src/graph/ring.js';
import { Binder } from '../../../src/runtime/embedded/binding.js';
import type { Transfer } from '../../../src/runtime/embedded/execution-plan.js';
import type { KernelTable, TaskRuntime } from '../../../src/runtime/embedded/kernel.js';
import { ElementList } from '../../../src/runtime/embedded/kernels/element-list.js';
import { compile } from '../../../src/runtime/embedded/plan.js';
import type { TaskResources } from '../../../src/runtime/embedded/resources.js';
import { runStep } from '../../../src/runtime/embedded/step.js';
import { bytesMoved } from '../../../src/runtime/embedded/transfers.js';
import { Value } from '../../../src/runtime/embedded/value.js';

const NO_RUNTIME = {} as TaskRuntime;
/** The task whose graph it is. */
const OWN = 1;

function vector(length: number): Value {
  return Value.ofHost('float32', [length], new Float32Array(length));
}

const KERNELS: KernelTable = {
  Three: () => () => [vector(3)],
  Both: () => () => [vector(3), vector(5)],
  Sum: () => () => [vector(1)],
  CollectiveReduce: () => () => [vector(3)],
  CollectiveGatherV2: () => () => [vector(3)],
  Const: () => () => [Value.ofHost('int32', [], Int32Array.of(0))],
};

function world() {
  const graph = new Graph();
  const binder = new Binder({} as TaskResources, KERNELS, {});
  const add = (
    type: string,
    name: string,
    inputs: readonly Tensor[],
    device = '',
    own: Parameters<typeof attributes>[0] = {},
    controls: readonly Operation[] = [],
  ): Operation =>
    graph.add({ type, name, inputs, device, attributes: attributes(own), controlInputs: controls });
  const run = async (operations: readonly Operation[]): Promise<readonly (readonly number[])[]> => {
    const resources = { task: OWN } as TaskResources;
    const plan = compile({ feeds: [], tensors: [], operations }, binder, resources);
    const moved: (readonly number[])[] = [];
    const moves = (transfer: Transfer, value: Value): void => {
      moved.push([transfer.from, transfer.to, bytesMoved(transfer, value)]);
    };
    await runStep(plan, [], NO_RUNTIME, { enter: () => undefined, moves });
    return moved;
  };
  return { add, run };
}

const on = (task: number, index = 0): string => `/job:worker/replica:0/task:${task}/device:CPU:${index}`;

test('a tensor is moved once to each device of another task that takes it', async (t) => {
  const { add, run } = world();
  const three = add('Three', 'three', [], on(0)).output();
  const twice = add('Sum', 'twice', [three, three], on(1));
  const again = add('Sum', 'again', [three], on(1));
  const beside = add('Sum', 'beside', [three], on(1, 1));
  const there = add('Sum', 'there', [three], on(0));
  const back = add('Sum', 'back', [twice.output()], on(0));
  t.deepEqual(await run([again, beside, there, back]), [
    [0, 1, 12],
    [0, 1, 12],
    [1, 0, 4],
  ]);
});

test('an operation whose device says nothing is on the task whose graph it is', async (t) => {
  const { add, run } = world();
  const three = add('Three', 'three', [], on(OWN)).output();
  const other = add('Three', 'other', [], on(2)).output();
  t.deepEqual(await run([add('Sum', 'sum', [three, other])]), [[2, OWN, 12]]);
});

test('every output counts by itself, and what is only waited for does not', async (t) => {
  const { add, run } = world();
  const both = add('Both', 'both', [], on(0));
  const large = add('Sum', 'large', [both.output(1)], on(1));
  const waits = add('Sum', 'waits', [], on(1), {}, [both]);
  t.deepEqual(await run([large, waits]), [[0, 1, 20]]);
});

test('a collective sends to the next task, as often as the ring goes around', async (t) => {
  const { add, run } = world();
  const three = add('Three', 'three', []).output();
  const keys = { group_size: attr.int(3), group_key: attr.int(1), instance_key: attr.int(1) };
  const reduced = add('CollectiveReduce', 'reduced', [three], '', keys);
  const number = (name: string, value: number): Tensor =>
    add('Const', name, [], '', {
      value: attr.tensor({ dtype: 'int32', shape: [], bytes: new Uint8Array(Int32Array.of(value).buffer) }),
    }).output();
  const inputs = [three, number('size', 3), number('group', 1), number('instance', 2)];
  const gathered = add('CollectiveGatherV2', 'gathered', inputs);
  t.deepEqual(await run([reduced]), [[1, 2, 16]]);
  t.deepEqual(await run([gathered]), [[1, 2, 24]]);
});

test('what a ring of n moves: 2(n-1)/n of a reduction, rounded up, and n-1 times what is gathered', (t) => {
  for (const members of [1, 2, 3, 5, 64]) {
    t.is(bytesAroundRing('CollectiveReduce', 7 * members, members), 14 * (members - 1));
    t.is(bytesAroundRing('CollectiveReduceV2', 1, members), members === 1 ? 0 : members === 2 ? 1 : 2);
    t.is(bytesAroundRing('CollectiveGather', 7, members), 7 * (members - 1));
  }
});

test('half types, strings and lists have the bytes of their elements, and handles none', (t) => {
  const transfer = { input: 0, from: 0, to: 1 };
  const bytes = (value: Value): number => bytesMoved(transfer, value);
  t.is(bytes(Value.ofHost('bfloat16', [2, 3], new Uint16Array(6))), 12);
  t.is(bytes(Value.ofHost('int64', [], BigInt64Array.of(1n))), 8);
  t.is(bytes(Value.ofHost('string', [2], [new Uint8Array(3), new Uint8Array(4)])), 7);
  const elements = [vector(2), undefined, vector(3)];
  t.is(bytes(Value.ofHeld('variant', new ElementList('float32', null, elements))), 20);
  t.is(bytes(Value.ofHeld('resource', new ElementList('float32', null, [vector(2)]))), 0);
});
