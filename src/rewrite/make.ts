/** Makers of the operations that passes add: each with its attributes complete, a full device and an origin. */
import { type Attributes, type AttrValue, attr, attributes } from '../graph/attributes.js';
import type { DType } from '../graph/dtype.js';
import type { Graph } from '../graph/graph.js';
import { joinName } from '../graph/name.js';
import type { Operation, Tensor } from '../graph/operation.js';

/** The scope of all operations that a rewriting adds. */
export const SCOPE = 'gradsync';

/** Where and for whom a pass makes operations. */
export interface Site {
  readonly graph: Graph;
  readonly device: string;
  readonly pass: string;
  /** Name of the variable or operation they are made for; may be empty. */
  readonly source: string;
}

/** A free name `gradsync/<source>/<parts>`. */
export function newName({ graph, source }: Site, ...parts: readonly string[]): string {
  return graph.uniqueName(joinName(SCOPE, source, ...parts));
}

export interface NewNode {
  readonly type: string;
  readonly inputs?: readonly Tensor[];
  readonly after?: readonly Operation[];
  readonly attributes?: Attributes;
}

export function operation(site: Site, name: string, { type, inputs, after, attributes }: NewNode): Operation {
  return site.graph.add({
    name,
    type,
    inputs: inputs ?? [],
    controlInputs: after ?? [],
    device: site.device,
    ...(attributes === undefined ? {} : { attributes }),
    origin: { source: site.source, pass: site.pass },
  });
}

export function identity(site: Site, name: string, input: Tensor, dtype: DType): Tensor {
  const node = { type: 'Identity', inputs: [input], attributes: attributes({ T: attr.type(dtype) }) };
  return operation(site, name, node).output();
}

/** A NoOp that waits for all of `after`. */
export function group(site: Site, name: string, after: readonly Operation[]): Operation {
  return operation(site, name, { type: 'NoOp', after });
}

export function cast(site: Site, name: string, input: Tensor, from: DType, to: DType): Tensor {
  if (from === to) return input;
  const types = { SrcT: attr.type(from), DstT: attr.type(to), Truncate: attr.bool(false) };
  return operation(site, name, { type: 'Cast', inputs: [input], attributes: attributes(types) }).output();
}

/** Tensors one behind the other along axis 0; one alone is itself. */
export function concatenate(site: Site, name: string, parts: readonly Tensor[], dtype: DType): Tensor {
  if (parts.length === 1) return parts[0]!;
  const axis = constant(site, newName(site, name, 'axis'), 'int32', [0]);
  return operation(site, newName(site, name), {
    type: 'ConcatV2',
    inputs: [...parts, axis],
    attributes: attributes({ N: attr.int(parts.length), T: attr.type(dtype), Tidx: attr.type('int32') }),
  }).output();
}

export function reshape(
  site: Site,
  name: string,
  tensor: Tensor,
  shape: readonly number[],
  dtype: DType,
): Tensor {
  const wanted = constant(site, newName(site, name, 'shape'), 'int32', shape, [shape.length]);
  return operation(site, newName(site, name), {
    type: 'Reshape',
    inputs: [tensor, wanted],
    attributes: attributes({ T: attr.type(dtype), Tshape: attr.type('int32') }),
  }).output();
}

/** Rows along axis 0, in the order of `indices`. */
export function rowsAt(
  site: Site,
  name: string,
  [rows, indices]: readonly [rows: Tensor, indices: Tensor],
  dtype: DType,
  indexType: DType = 'int32',
): Tensor {
  const axis = constant(site, newName(site, name, 'axis'), 'int32', [0]);
  return operation(site, newName(site, name), {
    type: 'GatherV2',
    inputs: [rows, indices, axis],
    attributes: attributes({
      Tparams: attr.type(dtype),
      Tindices: attr.type(indexType),
      Taxis: attr.type('int32'),
      batch_dims: attr.int(0),
    }),
  }).output();
}

/** Sums rows of equal id, ids being of `idType` from 0 to `count`, an int32 scalar. In the order of rows on a CPU; a GPU adds in any order. */
export function segmentSum(
  site: Site,
  name: string,
  [rows, ids, count]: readonly [rows: Tensor, ids: Tensor, count: Tensor],
  dtype: DType,
  idType: DType = 'int32',
): Tensor {
  return operation(site, name, {
    type: 'UnsortedSegmentSum',
    inputs: [rows, ids, count],
    attributes: attributes({
      T: attr.type(dtype),
      Tindices: attr.type(idType),
      Tnumsegments: attr.type('int32'),
    }),
  }).output();
}

/** Zeros that are no constant, which would take their room in the graph. */
export function zeros(site: Site, name: string, shape: readonly number[], dtype: DType): Tensor {
  const dims = constant(site, newName(site, name, 'shape'), 'int32', shape, [shape.length]);
  const zero = constant(site, newName(site, name, 'zero'), dtype as NumberType, [0]);
  return operation(site, newName(site, name, 'zeros'), {
    type: 'Fill',
    inputs: [dims, zero],
    attributes: attributes({ T: attr.type(dtype), index_type: attr.type('int32') }),
  }).output();
}

/** A constant of numbers, in row-major order; a scalar if `shape` is left out. */
export function constant(
  site: Site,
  name: string,
  dtype: NumberType,
  values: readonly (number | bigint)[],
  shape: readonly number[] = [],
): Tensor {
  return constantOf(site, name, dtype, shape, { bytes: encodeNumbers(dtype, values) });
}

/** A scalar string. */
export function text(site: Site, name: string, value: string): Tensor {
  const attrs = attributes({ dtype: attr.type('string'), value: textValue(value) });
  return operation(site, name, { type: 'Const', attributes: attrs }).output();
}

/** What a constant of a scalar string holds. */
export function textValue(value: string): AttrValue {
  const strings = [new TextEncoder().encode(value)];
  return attr.tensor({ dtype: 'string', shape: [], bytes: new Uint8Array(), strings });
}

/** A vector of strings. */
export function texts(site: Site, name: string, values: readonly string[]): Tensor {
  const utf8 = new TextEncoder();
  const strings = values.map((value) => utf8.encode(value));
  return constantOf(site, name, 'string', [values.length], { bytes: new Uint8Array(), strings });
}

function constantOf(
  site: Site,
  name: string,
  dtype: DType,
  shape: readonly number[],
  data: { readonly bytes: Uint8Array; readonly strings?: readonly Uint8Array[] },
): Tensor {
  const value = attr.tensor({ dtype, shape, ...data });
  const node = { type: 'Const', attributes: attributes({ dtype: attr.type(dtype), value }) };
  return operation(site, name, node).output();
}

/** Element types a constant can be made of. */
export type NumberType = 'float16' | 'float32' | 'float64' | 'int32' | 'int64';

const WRITERS: Readonly<
  Record<NumberType, readonly [number, (view: DataView, at: number, value: number | bigint) => void]>
> = {
  float16: [2, (view, at, value) => view.setUint16(at, smallFloat16(Number(value)), true)],
  float32: [4, (view, at, value) => view.setFloat32(at, Number(value), true)],
  float64: [8, (view, at, value) => view.setFloat64(at, Number(value), true)],
  int32: [4, (view, at, value) => view.setInt32(at, Number(value), true)],
  int64: [8, (view, at, value) => view.setBigInt64(at, BigInt(value), true)],
};

function encodeNumbers(dtype: NumberType, values: readonly (number | bigint)[]): Uint8Array {
  const [size, write] = WRITERS[dtype];
  const view = new DataView(new ArrayBuffer(values.length * size));
  for (const [i, value] of values.entries()) write(view, i * size, value);
  return new Uint8Array(view.buffer);
}

/** Bits as float16 of a whole number from 0 to 2048, which it holds exactly, or of infinity. */
function smallFloat16(value: number): number {
  if (value === 0) return 0;
  if (value === Number.POSITIVE_INFINITY) return 0x7c00;
  const exponent = Math.floor(Math.log2(value));
  return ((exponent + 15) << 10) | ((value / 2 ** exponent - 1) * 1024);
}
