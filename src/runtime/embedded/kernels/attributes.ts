/** Reads an operation's attributes when its kernel is bound, with a typed error for what is missing or not supported. */
import { GradsyncError } from '../../../errors.js';
import type { AttrValue, TensorValue } from '../../../graph/attributes.js';
import type { DType } from '../../../graph/dtype.js';
import type { Operation } from '../../../graph/operation.js';
import type { Shape } from '../../../graph/shape.js';

type Kind = AttrValue['kind'];
type OfKind<K extends Kind> = Extract<AttrValue, { kind: K }>;

const utf8 = new TextDecoder();

/** The error of an attribute or combination that no kernel here computes. */
export function unsupported(operation: Operation, expected: string, received: string): GradsyncError {
  return new GradsyncError('UNIMPLEMENTED', `${operation.type} "${operation.name}"`, {
    expected,
    received,
    remedy: 'change the model, or run the graph on TensorFlow',
    operation: operation.name,
  });
}

/** The error of inputs that the operation cannot take. */
export function invalid(operation: Operation, expected: string, received: string): GradsyncError {
  return new GradsyncError('INVALID_ARGUMENT', `${operation.type} "${operation.name}"`, {
    expected,
    received,
    remedy: 'check what is fed and what feeds this operation',
    operation: operation.name,
  });
}

function find<K extends Kind>(operation: Operation, name: string, kind: K): OfKind<K> | undefined {
  const value = operation.attributes.get(name);
  if (value === undefined) return undefined;
  if (value.kind !== kind) throw unsupported(operation, `attribute ${name} of kind ${kind}`, value.kind);
  return value as OfKind<K>;
}

function required<T>(operation: Operation, name: string, value: T | undefined): T {
  if (value === undefined) throw invalid(operation, `an attribute ${name}`, 'none');
  return value;
}

export function intAttr(operation: Operation, name: string, fallback?: number): number {
  const value = find(operation, name, 'int')?.value;
  return value === undefined ? required(operation, name, fallback) : Number(value);
}

export function bigintAttr(operation: Operation, name: string): bigint {
  return find(operation, name, 'int')?.value ?? 0n;
}

export function floatAttr(operation: Operation, name: string, fallback?: number): number {
  return required(operation, name, find(operation, name, 'float')?.value ?? fallback);
}

export function boolAttr(operation: Operation, name: string, fallback = false): boolean {
  return find(operation, name, 'bool')?.value ?? fallback;
}

export function stringAttr(operation: Operation, name: string, fallback = ''): string {
  const value = find(operation, name, 'string')?.value;
  return value === undefined ? fallback : utf8.decode(value);
}

export function shapeAttr(operation: Operation, name: string): Shape {
  return required(operation, name, find(operation, name, 'shape')).value;
}

/** Null (unknown rank) where it is absent. */
export function shapeOrNullAttr(operation: Operation, name: string): Shape {
  return find(operation, name, 'shape')?.value ?? null;
}

export function tensorAttr(operation: Operation, name: string): TensorValue {
  return required(operation, name, find(operation, name, 'tensor')).value;
}

export function intsAttr(
  operation: Operation,
  name: string,
  fallback: readonly number[] = [],
): readonly number[] {
  return items(operation, name, 'int')?.map(({ value }) => Number(value)) ?? fallback;
}

/** None where the list is absent. */
export function typesAttr(operation: Operation, name: string): readonly DType[] {
  return items(operation, name, 'type')?.map(({ value }) => value) ?? [];
}

/** None where the list is absent. */
export function shapesAttr(operation: Operation, name: string): readonly Shape[] {
  return items(operation, name, 'shape')?.map(({ value }) => value) ?? [];
}

function items<K extends Kind>(operation: Operation, name: string, kind: K): OfKind<K>[] | undefined {
  return find(operation, name, 'list')?.items.map((item) => {
    if (item.kind !== kind) throw unsupported(operation, `a list ${name} of kind ${kind}`, item.kind);
    return item as OfKind<K>;
  });
}

/** A type attribute; with `allowed`, one of these. */
export function typeAttr(
  operation: Operation,
  name: string,
  options: { readonly allowed?: readonly DType[]; readonly fallback?: DType } = {},
): DType {
  const value = find(operation, name, 'type')?.value ?? options.fallback;
  const dtype = required(operation, name, value);
  if (options.allowed !== undefined && !options.allowed.includes(dtype)) {
    throw unsupported(operation, `${name} one of ${options.allowed.join(', ')}`, dtype);
  }
  return dtype;
}

/** Reads `data_format` and refuses all but channels last. */
export function requireChannelsLast(operation: Operation): void {
  const format = stringAttr(operation, 'data_format', 'NHWC');
  if (format !== 'NHWC') throw unsupported(operation, 'data_format NHWC', format);
}
