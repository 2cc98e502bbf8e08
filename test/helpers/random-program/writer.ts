/** Writes operations of TensorFlow into a graph, with the attributes that its registry wants, and names as it would give them. */
import {
  type AttrValue,
  attr,
  attributes,
  DTYPES,
  type DType,
  Graph,
  type Operation,
  printColocation,
  type Tensor,
} from '../../../src/graph/index.js';

/** Attributes in short: a dtype's name is a type, whole numbers are ints. */
export type ShortAttributes = Readonly<Record<string, string | number | boolean | AttrValue>>;

export interface Settings {
  readonly attributes?: ShortAttributes;
  readonly control?: readonly Operation[];
  /** Beside this operation. */
  readonly beside?: string;
  /** In place of the scope's name and the type. */
  readonly name?: string;
}

type Numbers = Float32Array | Int32Array | BigInt64Array;

export class GraphWriter {
  readonly graph = new Graph();
  readonly #taken = new Map<string, number>();
  #scope = '';

  /** All that `write` adds without a name of its own is called `<scope>/<type>`. */
  within<T>(scope: string, write: () => T): T {
    const before = this.#scope;
    this.#scope = `${scope}/`;
    try {
      return write();
    } finally {
      this.#scope = before;
    }
  }

  /** An operation whose attribute T is float32 where nothing else is said. */
  add(type: string, inputs: readonly Tensor[], settings: Settings = {}): Operation {
    const { attributes: short = { T: 'float32' }, control = [], beside, name } = settings;
    const colocated =
      beside === undefined ? {} : { _class: attr.list([attr.string(printColocation(beside))]) };
    return this.graph.add({
      name: name ?? this.#free(`${this.#scope}${type}`),
      type,
      inputs,
      controlInputs: control,
      attributes: attributes({ ...longOf(short), ...colocated }),
    });
  }

  /** The first output of such an operation. */
  out(type: string, inputs: readonly Tensor[], attributes?: ShortAttributes): Tensor {
    return this.add(type, inputs, attributes === undefined ? {} : { attributes }).output();
  }

  /** A float32 constant. */
  float(value: number | Float32Array, shape: readonly number[] = [], name?: string): Tensor {
    return this.#constant('float32', typeof value === 'number' ? Float32Array.of(value) : value, shape, name);
  }

  /** An int32 constant: a scalar, or a vector. */
  int(value: number | readonly number[]): Tensor {
    if (typeof value === 'number') return this.#constant('int32', Int32Array.of(value), []);
    return this.#constant('int32', Int32Array.from(value), [value.length]);
  }

  long(value: bigint): Tensor {
    return this.#constant('int64', BigInt64Array.of(value), []);
  }

  placeholder(name: string, dtype: DType, shape: readonly number[]): Tensor {
    return this.add('Placeholder', [], { name, attributes: { dtype, shape: attr.shape(shape) } }).output();
  }

  #constant(dtype: DType, data: Numbers, shape: readonly number[], name?: string): Tensor {
    const value = attr.tensor({ dtype, shape, bytes: new Uint8Array(data.buffer) });
    const given = name === undefined ? {} : { name };
    return this.add('Const', [], { attributes: { dtype, value }, ...given }).output();
  }

  #free(wanted: string): string {
    const count = this.#taken.get(wanted) ?? 0;
    this.#taken.set(wanted, count + 1);
    return count === 0 ? wanted : `${wanted}_${count}`;
  }
}

function longOf(short: ShortAttributes): Record<string, AttrValue> {
  return Object.fromEntries(Object.entries(short).map(([name, value]) => [name, longValue(value)]));
}

function longValue(value: ShortAttributes[string]): AttrValue {
  if (typeof value === 'boolean') return attr.bool(value);
  if (typeof value === 'number') return attr.int(value);
  if (typeof value !== 'string') return value;
  return value in DTYPES ? attr.type(value as DType) : attr.string(value);
}
