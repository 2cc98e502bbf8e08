/** The element type of a tensor, where the graph says it: at the operation that makes it, or at one that takes it. */
import { GradsyncError } from '../errors.js';
import type { DType } from '../graph/dtype.js';
import { givesBool } from '../graph/op-catalog.js';
import type { Operation, Tensor } from '../graph/operation.js';

/** Attribute that types output 0 of operations where it is not `T`. */
const OUTPUT_ATTRIBUTE: Readonly<Record<string, string>> = {
  Const: 'dtype',
  Placeholder: 'dtype',
  PlaceholderWithDefault: 'dtype',
  ReadVariableOp: 'dtype',
  VariableV2: 'dtype',
  Cast: 'DstT',
  GatherV2: 'Tparams',
  Gather: 'Tparams',
  Shape: 'out_type',
  Size: 'out_type',
  VariableShape: 'out_type',
  ArgMax: 'output_type',
  ArgMin: 'output_type',
  QueueDequeueV2: '',
};

/** Attribute that types row indices at operations that take them. */
const INDEX_ATTRIBUTE = 'Tindices';

/** The dtype of a tensor of indices or values. */
export function dtypeOf(tensor: Tensor): DType {
  const found = producedType(tensor) ?? consumedType(tensor);
  if (found !== undefined) return found;
  throw new GradsyncError('UNIMPLEMENTED', `Tensor "${tensor.name}"`, {
    expected: 'an operation whose output type is known',
    received: `a ${tensor.operation.type}`,
    remedy: 'put tf.identity on this tensor and give that as the gradient',
    operation: tensor.operation.name,
  });
}

/** The dtype that the operation which makes a tensor tells of it, if it does. */
export function producedType({ operation, index }: Tensor): DType | undefined {
  if (index !== 0) return undefined;
  if (givesBool(operation.type)) return 'bool';
  return typeAttribute(operation, OUTPUT_ATTRIBUTE[operation.type] ?? 'T');
}

function consumedType(tensor: Tensor): DType | undefined {
  for (const consumer of tensor.consumers) {
    const position = consumer.inputs.indexOf(tensor);
    const name =
      consumer.type.includes('Scatter') || consumer.type.includes('SparseApply') ? INDEX_ATTRIBUTE : 'T';
    const dtype = position === 0 || name === INDEX_ATTRIBUTE ? typeAttribute(consumer, name) : undefined;
    if (dtype !== undefined) return dtype;
  }
  return undefined;
}

function typeAttribute({ attributes }: Operation, name: string): DType | undefined {
  const value = attributes.get(name);
  return value?.kind === 'type' ? value.value : undefined;
}
