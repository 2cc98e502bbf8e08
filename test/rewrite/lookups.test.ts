/** Lookups on another task take every row once, whatever the ids, and are the program's to whoever fetches or feeds them. */
import test from 'ava';
import { openSession } from '../../src/engine.js';
import { attr, attributes } from '../../src/graph/attributes.js';
import { Graph } from '../../src/graph/graph.js';
import { decodeGraphFile } from '../../src/graph/index.js';
import type { Operation, Tensor } from '../../src/graph/operation.js';
import { readTrainingGraph } from '../../src/graph/read-training-graph.js';
import type { TrainingGraph } from '../../src/graph/training-graph.js';
import type { Closure } from '../../src/rewrite/closure.js';
import type { Rewritten } from '../../src/rewrite/index.js';
import { findLookups } from '../../src/rewrite/lookups.js';
import { stepTransfers } from '../../src/rewrite/transfers.js';
import { findVariableUses } from '../../src/rewrite/variable-uses.js';
import { Marks } from '../../src/rewrite/walk.js';
import { nodesOf } from '../helpers/layouts.js';
import { lookupProgram } from '../helpers/lookup-program.js';
import { PATIENT_MS } from '../helpers/patience.js';
import { inputNames, rewrittenFor } from '../helpers/rewritten.js';

const SHAPE = { vocabulary: 50, width: 4, classes: 2 };
const on = (task: number): string => `/job:worker/task:${task}/device:CPU:0`;

function rewritten(task: number, changes: { readsWhole?: boolean; uneven?: 'join' } = {}): Rewritten {
  const { readsWhole = false, uneven } = changes;
  const { graph, gradients } = lookupProgram({ ...SHAPE, readsWhole });
  const training = readTrainingGraph(decodeGraphFile(graph), { gradients });
  return rewrittenFor(training, 2, task, { strategy: 'ps', uneven });
}

const ofType = ({ graph }: Rewritten, type: string): readonly Operation[] =>
  [...graph.operations()].filter((operation) => operation.type === type);

test('a task sends each index once and gets each row once; the server looks up as it did', (t) => {
  const { graph } = rewritten(1);
  const there = graph.get('gradsync/table/lookup_rows');
  t.deepEqual([there.type, there.device], ['ResourceGather', on(0)]);
  t.deepEqual(inputNames(there), ['gradsync/table/lookup_indices', 'table']);
  t.is(graph.get('gradsync/table/lookup_indices').type, 'Unique');
  const rows = graph.get('rows');
  t.deepEqual([rows.type, rows.device], ['Reshape', on(1)]);
  t.true(inputNames(graph.get('flat')).includes('rows'));
  const server = rewritten(0).graph;
  t.is(server.get('rows').type, 'ResourceGather');
  t.is(server.find('gradsync/table/lookup_rows'), undefined);
});

test('indices that a gradient has too are found distinct, and sent, once', (t) => {
  const own = rewritten(1);
  t.deepEqual(
    ofType(own, 'Unique').map(({ name }) => name),
    ['gradsync/table/lookup_indices'],
  );
  const ofTable = stepTransfers(own).filter(({ variable, from }) => variable === 'table' && from === 1);
  t.deepEqual(ofTable.map(({ way, size }) => [way, size]).sort(), [
    ['gradient', { bytesPerRow: 4 * SHAPE.width, holds: 'values' }],
    ['read', { bytesPerRow: 4, holds: 'indices' }],
  ]);
});

test('where a task may run out of data, its gradient does not depend on what it looks up', (t) => {
  const names = ofType(rewritten(1, { uneven: 'join' }), 'Unique').map(({ name }) => name);
  t.deepEqual([...names].sort(), ['gradsync/table/distinct_indices', 'gradsync/table/lookup_indices']);
});

test('rows of a variable that is read whole are picked where it lives', (t) => {
  const own = rewritten(1, { readsWhole: true });
  const there = own.graph.get('gradsync/table/lookup_rows');
  t.deepEqual([there.type, there.device], ['GatherV2', on(0)]);
  t.deepEqual(inputNames(there), [
    'gradsync/table/lookup_indices',
    'gradsync/table/lookup_rows/axis',
    'table/read',
  ]);
  const read = stepTransfers(own).filter(({ variable, to }) => variable === 'table' && to === 1);
  t.deepEqual(
    read.map(({ size }) => size),
    [{ bytesPerRow: 4 * SHAPE.width, holds: 'values' }],
  );
});

test('what stands in a branch, or picks along another axis, is as it was', (t) => {
  const graph = new Graph();
  const [float, int] = [attr.type('float32'), attr.type('int32')];
  const add = (name: string, type: string, inputs: readonly Tensor[], own = {}): Operation =>
    graph.add({ name, type, inputs, attributes: attributes(own) });
  const handle = add('table', 'VarHandleOp', [], { dtype: float, shape: attr.shape([5, 2]) });
  const ids = add('ids', 'Placeholder', [], { dtype: int }).output();
  const isTaken = add('is_taken', 'Placeholder', [], { dtype: attr.type('bool') }).output();
  const side = add('side', 'Switch', [ids, isTaken], { T: int });
  const axis = (name: string, value: number): Tensor => {
    const bytes = new Uint8Array(Int32Array.of(value).buffer);
    return add(name, 'Const', [], { value: attr.tensor({ dtype: 'int32', shape: [], bytes }) }).output();
  };
  const read = add('read', 'ReadVariableOp', [handle.output()], { dtype: float }).output();
  add('plain', 'ResourceGather', [handle.output(), ids]);
  add('along_0', 'GatherV2', [read, ids, axis('zero', 0)]);
  add('along_1', 'GatherV2', [read, ids, axis('one', 1)]);
  add('in_branch', 'ResourceGather', [handle.output(), side.output(1)]);
  add('batched', 'ResourceGather', [handle.output(), ids], { batch_dims: attr.int(1) });
  const variable = {
    ...{ name: 'table', handle, kind: 'resource' as const, dtype: 'float32' as const, shape: [5, 2] },
    ...{ trainable: true, initialValue: undefined, initializer: undefined, reads: [] },
  };
  const uses = findVariableUses({ variables: [variable] } as unknown as TrainingGraph);
  const closure = { members: new Marks(graph) } as unknown as Closure;
  const found = findLookups(graph, { servers: new Map([[variable, on(0)]]), closure, uses });
  t.deepEqual(
    found.map(({ gather }) => gather.name),
    ['plain', 'along_0'],
  );
});

test.serial(
  'what is looked up is what the program says: ids in any order and shape, repeated, one, none',
  async (t) => {
    for (const readsWhole of [false, true]) {
      const session = await openSession({
        ...lookupProgram({ ...SHAPE, readsWhole }),
        resources: { nodes: nodesOf([1, 1]) },
        strategy: 'ps',
        deadlineMs: PATIENT_MS,
      });
      await session.initialize();
      const step = (ids: readonly number[], shape: readonly number[]) => ({
        feeds: { 'ids:0': { dtype: 'int32' as const, shape, data: Int32Array.from(ids) } },
        fetches: ['rows:0'],
      });
      const trained = { ...step([3, 9, 3], [1, 3]), fetches: ['train_op'] };
      await session.run([trained, trained]);
      const table = (await session.readVariables()).get('table')!.data as Float32Array;
      t.not(table[3 * SHAPE.width], table[0]);
      for (const [ids, shape] of [
        [
          [9, 3, 3, 0, 9, 49],
          [2, 3],
        ],
        [[3], [1, 1]],
        [[], [2, 0]],
      ] as const) {
        const results = await Promise.all([0, 1].map((task) => session.runTask(task, step(ids, shape))));
        const rows = ids.flatMap((id) => [...table.subarray(id * SHAPE.width, (id + 1) * SHAPE.width)]);
        for (const result of results) {
          t.deepEqual(result['rows:0'], {
            dtype: 'float32',
            shape: [...shape, SHAPE.width],
            data: Float32Array.from(rows),
          });
        }
      }
      await session.close();
    }
  },
);
