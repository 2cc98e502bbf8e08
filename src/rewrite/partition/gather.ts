/** A gather of rows from a variable that is split: from every shard those it has, put together again. The whole is never read. */
import { type AttrValue, attr, attributes } from '../../graph/attributes.js';
import type { DType } from '../../graph/dtype.js';
import type { Operation, Tensor } from '../../graph/operation.js';
import { dtypeOf } from '../dtype-of.js';
import { gatherAxis, isBatched } from '../gathering.js';
import { concatenate, newName, operation } from '../make.js';
import { replaceOperation } from '../replace.js';
import { axisFromEnd } from './cut.js';
import type { Shards } from './shards.js';

/** Whether the shards can be gathered from one by one. */
export function canGather(gather: Operation, { cut }: Shards): boolean {
  if (isBatched(gather)) return false;
  const axis = gatherAxis(gather);
  if (axis === undefined || axis < 0) return false;
  return axis !== cut.axis || axis === 0;
}

/** `sources`: handles or values of the shards. The last operation gets the name of the gather. */
export function splitGather(
  shards: Shards,
  gather: Operation,
  sources: readonly Tensor[],
  dtype: DType,
): void {
  const { cut, graph } = shards;
  if (gatherAxis(gather) === cut.axis) {
    gatherRows(shards, gather, sources, dtype);
    return;
  }
  const parts = sources.map((source, shard) =>
    gatherFrom(shards, gather, shard, [source, gather.inputs[1]!]),
  );
  const axis = gatherAxis(gather)! > cut.axis ? cut.axis : axisFromEnd(cut);
  replaceOperation(graph, gather, parts[0]!, (name) => shards.whole(parts, name, dtype, axis));
}

function gatherRows(shards: Shards, gather: Operation, sources: readonly Tensor[], dtype: DType): void {
  const { cut, graph, pieces } = shards;
  const { site } = pieces;
  const make = (
    name: string,
    type: string,
    inputs: readonly Tensor[],
    values: Record<string, AttrValue>,
  ): Tensor =>
    operation(site, newName(site, name), { type, inputs, attributes: attributes(values) }).output();
  const int32 = attr.type('int32');
  const ids = gather.inputs[1]!;
  const idType = attr.type(dtypeOf(ids));
  const list = pieces.number('flat', [-1], 'int32', [1]);
  const flat = make('ids', 'Reshape', [ids, list], { T: idType, Tshape: int32 });
  const count = make('count', 'Size', [flat], { T: idType, out_type: int32 });
  const [first, step] = [pieces.number('first', [0], 'int32'), pieces.number('step', [1], 'int32')];
  const places = make('places', 'Range', [first, count, step], { Tidx: int32 });
  const own = pieces.ofIndices(flat);
  const order = pieces.dealt(places, 'int32', own.shards);
  const rows = sources.map((source, shard) => gatherFrom(shards, gather, shard, [source, own.parts[shard]!]));
  const types = { N: attr.int(rows.length), T: attr.type(dtype) };
  const joined = make('rows', 'ParallelDynamicStitch', [...order, ...rows], types);
  const outer = make('outer', 'Shape', [ids], { T: idType, out_type: int32 });
  const inner = cut.shape.slice(1);
  const dims = [outer, pieces.number('inner', inner, 'int32', [inner.length])];
  const shape = concatenate(site, 'shape', dims, 'int32');
  replaceOperation(graph, gather, joined, (name) =>
    operation(site, name, {
      type: 'Reshape',
      inputs: [joined, shape],
      attributes: attributes({ T: attr.type(dtype), Tshape: int32 }),
    }),
  );
}

/** The gather from one shard: as it was, with inputs of its own. */
function gatherFrom(
  shards: Shards,
  { type, inputs, controlInputs, attributes: values, device }: Operation,
  shard: number,
  own: readonly Tensor[],
): Tensor {
  const site = { ...shards.siteOf(shard), device };
  return operation(site, newName(site, 'rows'), {
    type,
    inputs: [...own, ...inputs.slice(2)],
    after: controlInputs,
    attributes: values.with({ _class: undefined, _output_shapes: undefined }),
  }).output();
}
