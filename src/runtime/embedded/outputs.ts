/** Outputs of operations, as requests name them: how many there are, and what the graph says about the type and shape of one. */
import { GradsyncError } from '../../errors.js';
import type { AttrValue } from '../../graph/attributes.js';
import type { DType } from '../../graph/dtype.js';
import { givesBool, outputCountAttribute } from '../../graph/op-catalog.js';
import type { Operation, Tensor } from '../../graph/operation.js';
import { outputsOf } from '../../graph/outputs.js';
import type { Shape } from '../../graph/shape.js';
import type { FeedSpec } from '../executor.js';
import { handleOf, resourceKind } from './handles.js';

/** The output of that number. Operations of the embedded runtime that the catalog does not list have one. */
export function outputAt(operation: Operation, index: number, name: string): Tensor {
  const count = outputsOf(operation) ?? 1;
  if (index < count) return operation.output(index);
  throw noSuchOutput(operation, count, name);
}

function noSuchOutput(operation: Operation, count: number, name: string): GradsyncError {
  return new GradsyncError('NOT_FOUND', `Feed or fetch "${name}"`, {
    expected: count === 0 ? 'an operation with outputs' : `an output from 0 to ${count - 1}`,
    received: `one of "${operation.name}" (${operation.type}), which has ${count}`,
    remedy: count === 0 ? `fetch "${operation.name}", without a number` : 'check the number after the colon',
    operation: operation.name,
  });
}

/** Refuses one tensor fed twice, e.g. as `x` and as `x:0`. */
export function refuseRepeated(feeds: readonly Tensor[], names: readonly string[]): void {
  const at = feeds.findIndex((tensor, i) => feeds.indexOf(tensor) !== i);
  const repeated = feeds[at];
  if (repeated === undefined) return;
  throw new GradsyncError('INVALID_ARGUMENT', `Feed "${names[at]}"`, {
    expected: 'one value for each tensor',
    received: `another one for it under "${names[feeds.indexOf(repeated)]}"`,
    remedy: 'feed it under one name',
    operation: repeated.operation.name,
  });
}

/** What may be fed in place of a tensor, as far as the graph says it. */
export function feedSpec(tensor: Tensor): FeedSpec {
  return { tensor: tensor.name, dtype: dtypeOf(tensor), shape: shapeOf(tensor.operation) };
}

/** The attribute that types output 0, with the type it has where the attribute is absent; for all others it is `T`. */
const TYPED_BY: Readonly<Record<string, readonly [attribute: string, absent?: DType]>> = {
  Const: ['dtype'],
  Placeholder: ['dtype'],
  PlaceholderWithDefault: ['dtype'],
  ReadVariableOp: ['dtype'],
  ResourceGather: ['dtype'],
  VariableV2: ['dtype'],
  Variable: ['dtype'],
  AccumulatorTakeGradient: ['dtype'],
  ResourceAccumulatorTakeGradient: ['dtype'],
  RandomUniform: ['dtype'],
  RandomStandardNormal: ['dtype'],
  TruncatedNormal: ['dtype'],
  RandomUniformInt: ['Tout'],
  Cast: ['DstT'],
  Range: ['Tidx', 'int32'],
  Gather: ['Tparams'],
  GatherV2: ['Tparams'],
  Shape: ['out_type', 'int32'],
  ShapeN: ['out_type', 'int32'],
  Size: ['out_type', 'int32'],
  VariableShape: ['out_type', 'int32'],
  ArgMax: ['output_type', 'int64'],
  ArgMin: ['output_type', 'int64'],
};

/** Operations whose `T` is the type of something else. */
const NOT_T = new Set(['Where', 'IdentityN', 'Rank', 'Assert']);

function dtypeOf({ operation, index }: Tensor): DType | null {
  const kind = resourceKind(operation);
  if (
    kind !== undefined &&
    handleOf(operation.output(0)) === operation &&
    !operation.type.startsWith('Variable')
  )
    return 'resource';
  if (givesBool(operation.type)) return 'bool';
  // Outputs of several have types of their own, but for those that are all alike.
  const alike = operation.type === 'ShapeN' || outputCountAttribute(operation.type) === 'num_split';
  if ((index > 0 && !alike) || NOT_T.has(operation.type)) return null;
  const [name, absent] = TYPED_BY[operation.type] ?? ['T'];
  return attribute(operation, name, 'type')?.value ?? absent ?? null;
}

function shapeOf(operation: Operation): Shape {
  switch (operation.type) {
    case 'Placeholder':
    case 'PlaceholderWithDefault':
    case 'VariableV2':
    case 'Variable':
      return attribute(operation, 'shape', 'shape')?.value ?? null;
    case 'Const':
      return attribute(operation, 'value', 'tensor')?.value.shape ?? null;
    case 'ReadVariableOp': {
      const [handle] = operation.inputs;
      const variable = handle === undefined ? undefined : handleOf(handle);
      return (variable === undefined ? undefined : attribute(variable, 'shape', 'shape')?.value) ?? null;
    }
    default:
      return null;
  }
}

function attribute<K extends AttrValue['kind']>(
  { attributes }: Operation,
  name: string,
  kind: K,
): Extract<AttrValue, { kind: K }> | undefined {
  const value = attributes.get(name);
  return value?.kind === kind ? (value as Extract<AttrValue, { kind: K }>) : undefined;
}
