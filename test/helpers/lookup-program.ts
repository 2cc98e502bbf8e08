/**
 * A program that looks rows of a table up by the ids that it is fed, and trains them towards zero: what it lacks of a model of texts is of no
 * weight beside the table. A dense kernel trains along.
 */
import { type AttrValue, attr, attributes } from '../../src/graph/attributes.js';
import { encodeGraphDef } from '../../src/graph/codec/graph-def.js';
import { Graph } from '../../src/graph/graph.js';
import type { Operation } from '../../src/graph/operation.js';

export interface LookupShape {
  /** Rows of the table, and floats in each. */
  readonly vocabulary: number;
  readonly width: number;
  readonly classes: number;
  /** Whether the program reads the whole table and picks rows of its value. */
  readonly readsWhole?: boolean;
}

export interface LookupProgram {
  readonly graph: Uint8Array;
  /** As of openSession. */
  readonly gradients: readonly string[];
}

/** Variables `table` and `kernel`, ids `ids:0` of rank 2, training operation `train_op`, looked up `rows:0`. */
export function lookupProgram({
  vocabulary,
  width,
  classes,
  readsWhole = false,
}: LookupShape): LookupProgram {
  const graph = new Graph();
  const [float, int] = [attr.type('float32'), attr.type('int32')];
  const add = (
    name: string,
    type: string,
    inputs: readonly Operation[],
    own: Readonly<Record<string, AttrValue>>,
  ) => graph.add({ name, type, inputs: inputs.map((each) => each.output()), attributes: attributes(own) });
  const constant = (name: string, data: Float32Array | Int32Array, shape: readonly number[]) => {
    const dtype = data instanceof Float32Array ? 'float32' : 'int32';
    const value = attr.tensor({ dtype, shape, bytes: new Uint8Array(data.buffer) });
    return add(name, 'Const', [], { dtype: attr.type(dtype), value });
  };
  const variable = (name: string, shape: readonly number[]) => {
    const own = { dtype: float, shape: attr.shape(shape), shared_name: attr.string(name) };
    const handle = add(name, 'VarHandleOp', [], own);
    const dims = constant(`${name}/dims`, Int32Array.from(shape), [shape.length]);
    const one = constant(`${name}/one`, Float32Array.of(1), []);
    const ones = add(`${name}/ones`, 'Fill', [dims, one], { T: float, index_type: int });
    add(`${name}/assign`, 'AssignVariableOp', [handle, ones], { dtype: float });
    return handle;
  };
  const [table, kernel] = [variable('table', [vocabulary, width]), variable('kernel', [width, classes])];
  const rate = constant('rate', Float32Array.of(0.125), []);
  const ids = add('ids', 'Placeholder', [], { dtype: int, shape: attr.shape([-1, -1]) });
  const picking = { Tparams: float, Tindices: int, Taxis: int };
  const rows = readsWhole
    ? add(
        'rows',
        'GatherV2',
        [
          add('table/read', 'ReadVariableOp', [table], { dtype: float }),
          ids,
          constant('axis', Int32Array.of(0), []),
        ],
        picking,
      )
    : add('rows', 'ResourceGather', [table, ids], { dtype: float, Tindices: int });
  const list = constant('list', Int32Array.of(-1), [1]);
  const lines = constant('lines', Int32Array.of(-1, width), [2]);
  const indices = add('indices', 'Reshape', [ids, list], { T: int, Tshape: int });
  const flat = add('flat', 'Reshape', [rows, lines], { T: float, Tshape: int });
  const values = add('values', 'Mul', [flat, rate], { T: float });
  const update = add('update_table', 'ResourceScatterSub', [table, indices, values], {
    dtype: float,
    Tindices: int,
  });
  const read = add('kernel/read', 'ReadVariableOp', [kernel], { dtype: float });
  const gradient = add('gradient', 'Mul', [read, rate], { T: float });
  const apply = add('update_kernel', 'ResourceApplyGradientDescent', [kernel, rate, gradient], { T: float });
  graph.add({ name: 'train_op', type: 'NoOp', controlInputs: [update, apply] });
  return { graph: encodeGraphDef(graph), gradients: ['table|indices;values', 'kernel|gradient'] };
}

/** Ids as words are in a text: the one of rank r is there in proportion to 1 / r. The same for the same seed. */
export function wordIds(seed: number, count: number, vocabulary: number): Int32Array {
  let state = Math.imul(seed + 1, 2_654_435_761) >>> 0;
  return Int32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor(vocabulary ** (state / 2 ** 32)) - 1;
  });
}
