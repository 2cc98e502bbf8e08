/** Attribute values of an operation, and the container that holds them. Values are immutable and shared between copies of a graph. */
import type { DType } from './dtype.js';
import type { Shape } from './shape.js';

/** A tensor value as it stands in an attribute: element bytes in row-major order, or strings. */
export interface TensorValue {
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Little-endian element bytes, not necessarily aligned; empty when dtype is `string`. */
  readonly bytes: Uint8Array;
  readonly strings?: readonly Uint8Array[];
}

export type AttrValue =
  | { readonly kind: 'string'; readonly value: Uint8Array }
  | { readonly kind: 'int'; readonly value: bigint }
  | { readonly kind: 'float'; readonly value: number }
  | { readonly kind: 'bool'; readonly value: boolean }
  | { readonly kind: 'type'; readonly value: DType; readonly reference?: boolean }
  | { readonly kind: 'shape'; readonly value: Shape }
  | { readonly kind: 'tensor'; readonly value: TensorValue }
  | { readonly kind: 'func'; readonly name: string; readonly attributes: Attributes }
  | { readonly kind: 'placeholder'; readonly value: string }
  | { readonly kind: 'list'; readonly items: readonly AttrValue[] }
  /** Something this version does not know; written back as it was read. */
  | { readonly kind: 'unknown'; readonly bytes: Uint8Array };

export type AttributeChanges = Readonly<Record<string, AttrValue | undefined>>;

/** An immutable, ordered map of attributes. The codec has a form of it that decodes on demand. */
export interface Attributes {
  get(name: string): AttrValue | undefined;
  names(): Iterable<string>;
  /** A copy with these set; those given as undefined are taken out. */
  with(changes: AttributeChanges): Attributes;
}

export class PlainAttributes implements Attributes {
  readonly #values: ReadonlyMap<string, AttrValue>;

  constructor(values: ReadonlyMap<string, AttrValue>) {
    this.#values = values;
  }

  get(name: string): AttrValue | undefined {
    return this.#values.get(name);
  }

  names(): Iterable<string> {
    return this.#values.keys();
  }

  with(changes: AttributeChanges): Attributes {
    const values = new Map(this.#values);
    for (const [name, value] of Object.entries(changes)) {
      if (value === undefined) values.delete(name);
      else values.set(name, value);
    }
    return new PlainAttributes(values);
  }
}

export const NO_ATTRIBUTES: Attributes = new PlainAttributes(new Map());

/** Attributes from a record, in its order. */
export function attributes(values: Readonly<Record<string, AttrValue>>): Attributes {
  return new PlainAttributes(new Map(Object.entries(values)));
}

const utf8 = new TextEncoder();

/** Makers of attribute values, for passes. */
export const attr = {
  string: (value: string): AttrValue => ({ kind: 'string', value: utf8.encode(value) }),
  int: (value: number | bigint): AttrValue => ({ kind: 'int', value: BigInt(value) }),
  float: (value: number): AttrValue => ({ kind: 'float', value }),
  bool: (value: boolean): AttrValue => ({ kind: 'bool', value }),
  type: (value: DType): AttrValue => ({ kind: 'type', value }),
  shape: (value: Shape): AttrValue => ({ kind: 'shape', value }),
  tensor: (value: TensorValue): AttrValue => ({ kind: 'tensor', value }),
  list: (items: readonly AttrValue[]): AttrValue => ({ kind: 'list', items }),
} as const;
