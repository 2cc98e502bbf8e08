/** When a taker of a reference variable's Identity has to read the variable again: behind a change, as in TensorFlow. */
import test from 'ava';
import { Graph } from '../../../src/graph/graph.js';
import type { Operation, Tensor } from '../../../src/graph/operation.js';
import { ReferenceReads } from '../../../src/runtime/embedded/reference-reads.js';

/** A variable that is updated, and an average that is taken from it, ordered by what `after` says. */
function model(after: (update: Operation, token: Operation) => Operation | undefined) {
  const graph = new Graph();
  const add = (name: string, type: string, inputs: readonly Tensor[] = [], controls: Operation[] = []) =>
    graph.add({ name, type, inputs, controlInputs: controls });
  const variable = add('v', 'VariableV2');
  const rate = add('rate', 'Const').output();
  const read = add('v/read', 'Identity', [variable.output()]).output();
  const again = add('again', 'Identity', [read]).output();
  const forward = add('forward', 'Mul', [read, rate]);
  const update = add('update', 'ApplyGradientDescent', [variable.output(), rate, forward.output()]);
  const queue = add('queue', 'FIFOQueueV2').output();
  const token = add('token', 'QueueDequeueV2', [queue]);
  const wait = after(update, token);
  const factor = add('factor', 'Const', [], wait === undefined ? [] : [wait]).output();
  const average = add('average', 'Mul', [again, factor]);
  const reads = new ReferenceReads(graph.operations(), new Set());
  return { variable, read, again, forward, update, average, reads };
}

test('what waits for the update, be it through a constant, reads the new value; the forward computation does not', (t) => {
  const { variable, read, again, forward, average, reads } = model((update) => update);
  t.is(reads.readAgain(average, again), variable);
  t.is(reads.readAgain(forward, read), undefined);
});

test("a token that is taken stands for another task's update", (t) => {
  const { variable, again, average, reads } = model((_, token) => token);
  t.is(reads.readAgain(average, again), variable);
});

test('without an order the value of the step stays', (t) => {
  const { again, average, reads } = model(() => undefined);
  t.is(reads.readAgain(average, again), undefined);
});

test('data alone is no order, and a fed read stays what was fed', (t) => {
  const { read, update, reads } = model((op) => op);
  t.is(reads.readAgain(update, read), undefined);
  const fed = model((op) => op);
  const operations = [fed.variable, fed.update, fed.average];
  t.is(new ReferenceReads(operations, new Set([fed.again])).readAgain(fed.average, fed.again), undefined);
});
