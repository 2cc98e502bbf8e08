/**
 * Which inputs an operation's outputs are linear in (more exactly: affine, if other inputs add constants). Facts of TensorFlow's registry,
 * read by the search for gradients in both directions.
 */
import type { Operation, Tensor } from './operation.js';

/** Linear in input 0; the others are shapes, axes, indices, paddings. */
const IN_FIRST =
  /^(Identity|RefIdentity|Neg|Cast|Reshape|Transpose|ConjugateTranspose|Squeeze|ExpandDims|Slice|StridedSlice|SplitV|Pad|PadV2|MirrorPad|Tile|BroadcastTo|CheckNumerics(V2)?|StopGradient|PreventGradient|Snapshot|DeepCopy|Real|Imag|Conj|Reverse|ReverseV2|ReverseSequence|Roll|Gather|GatherV2|GatherNd|Cumsum|Unpack|Sum|Mean|SegmentSum|SegmentMean|UnsortedSegmentSum|MatrixDiag(V2|V3)?|MatrixDiagPart(V2|V3)?|MatrixBandPart|Diag|DiagPart|SpaceToBatchND|BatchToSpaceND|SpaceToDepth|DepthToSpace|ReadVariableOp|Print|Enter|RefEnter|Exit|RefExit|NextIteration|Switch|AvgPool(3D)?|BiasAddGrad|MirrorPadGrad|Resize(Bilinear|Bicubic|NearestNeighbor|NearestNeighborGrad)|TensorList(Stack|FromTensor|GetItem|Gather|Concat|ConcatV2|PopBack))$/;
/** Linear in the inputs at these positions. */
const IN_POSITIONS: ReadonlyMap<string, readonly number[]> = new Map([
  ['Split', [1]],
  ['Fill', [1]],
  ['ScatterNd', [1]],
  ['ResourceGather', [0]],
  ['ResourceGatherNd', [0]],
  ['Select', [1, 2]],
  ['SelectV2', [1, 2]],
  ['TensorScatterAdd', [0, 2]],
  ['TensorScatterSub', [0, 2]],
  ['TensorScatterUpdate', [0, 2]],
  ['AvgPoolGrad', [1]],
  ['AvgPool3DGrad', [1]],
  ['StridedSliceGrad', [4]],
  ['TensorListSetItem', [0, 2]],
  ['TensorListPushBack', [0, 1]],
  ['TensorArrayWriteV3', [2, 3]],
  ['TensorArrayScatterV3', [2, 3]],
  ['TensorArraySplitV3', [1, 3]],
  ['TensorArrayReadV3', [2]],
  ['TensorArrayGatherV3', [2]],
  ['TensorArrayConcatV3', [1]],
]);
/** Linear in all inputs together. */
const IN_ALL = /^(IdentityN|AddN|Add|AddV2|Sub|BiasAdd|AccumulateNV2|ConcatV2|Concat|Pack|Merge|Complex)$/;
/** Indices first, then as many inputs of data. */
const IN_SECOND_HALF = /^(ParallelDynamicStitch|DynamicStitch)$/;
/** Products: linear in each input while the others stay what they are. */
const PRODUCT =
  /^(Mul|MulNoNan|MatMul|BatchMatMul(V2|V3)?|SparseMatMul|SparseTensorDenseMatMul|Einsum|Conv2D|Conv3D|DepthwiseConv2dNative|Cross)$/;
/** Derivatives of convolutions are products of these two inputs; the third is a size. */
const CONVOLUTION_DERIVATIVE: readonly (readonly [RegExp, readonly number[]])[] = [
  [/Conv.*BackpropInput/, [1, 2]],
  [/Conv.*BackpropFilter/, [0, 2]],
];
const QUOTIENT = /^(RealDiv|Div|DivNoNan|Xdivy)$/;

export function isProduct({ type }: Operation): boolean {
  return PRODUCT.test(type) || /Conv.*Backprop/.test(type);
}

export function isQuotient({ type }: Operation): boolean {
  return QUOTIENT.test(type);
}

/** Whether an operation's outputs are linear in its input at `position`, the other inputs staying what they are. */
export function isLinearIn(operation: Operation, position: number): boolean {
  const { type, inputs } = operation;
  if (type === 'Cast' && !castsToReal(operation)) return false;
  if (IN_ALL.test(type) || PRODUCT.test(type)) return true;
  if (IN_FIRST.test(type) || QUOTIENT.test(type)) return position === 0;
  if (IN_SECOND_HALF.test(type)) return position >= inputs.length / 2;
  const positions =
    IN_POSITIONS.get(type) ?? CONVOLUTION_DERIVATIVE.find(([pattern]) => pattern.test(type))?.[1];
  return positions?.includes(position) ?? false;
}

/** The inputs here say how large a result is, and nothing of its values. */
const TAKES_SIZES = /^(Reshape|Sum|UnsortedSegmentSum|ScatterNd|.*Conv.*Backprop.*)$/;

/**
 * The inputs that an operation is linear in with coefficients that are the same for all workers: all inputs that `matter`, if they are such.
 * What matters but does not vary is the size of a worker's share.
 */
export function linearOperands(
  operation: Operation,
  matters: (tensor: Tensor) => boolean,
  varies: (tensor: Tensor) => boolean,
): readonly Tensor[] | undefined {
  if (!operation.inputs.some((_, position) => isLinearIn(operation, position))) return undefined;
  const varying: Tensor[] = [];
  for (const [position, input] of operation.inputs.entries()) {
    if (!matters(input) || isNoCoefficient(input) || isArrayBefore(input, operation)) continue;
    if (isLinearIn(operation, position)) varying.push(input);
    else if (varies(input) || !TAKES_SIZES.test(operation.type)) return undefined;
  }
  return varying.length > 1 && isProduct(operation) ? undefined : varying;
}

/** A loop's own condition decides how often it runs; the handle of an array says which one it is. */
function isNoCoefficient({ operation }: Tensor): boolean {
  const { type, inputs } = operation;
  if (/^(Enter|Identity)$/.test(type)) return /^TensorArrayGrad/.test(inputs[0]?.operation.type ?? '');
  return type === 'LoopCond' || /^TensorArrayGrad/.test(type);
}

/** What an array of gradients is written after is the array they are gradients of: its elements begin with zeros. */
function isArrayBefore({ operation }: Tensor, { type }: Operation): boolean {
  const [flow] = operation.inputs;
  if (!/^TensorArray(Write|Scatter|Split)V3$/.test(type) || operation.type !== 'Identity') return false;
  return flow !== undefined && [...flow.consumers].some((consumer) => /^TensorArrayGrad/.test(consumer.type));
}

/** A cast to integers rounds. */
function castsToReal({ attributes }: Operation): boolean {
  const to = attributes.get('DstT');
  return to?.kind !== 'type' || /float|complex/.test(to.value);
}
