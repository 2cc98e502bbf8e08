/**
 * Derivatives of single operations, as differentiation writes them: what comes from behind the forward operation, times a value of that
 * operation. `MatMul(x, W)` leaves `MatMul(x, dy)`, `Square(v)` leaves `Mul(dy, Mul(2, v))`, `Relu(v)` leaves `ReluGrad(dy, relu)`. Asked
 * for such an operation and the forward one, these functions tell what `dy` would be. They match exactly one factor, as a program may
 * multiply a gradient once more with what backpropagation has multiplied it with.
 */
import {
  type ForwardFacts,
  type ForwardUse,
  givesDerivativeAlong,
  hasCustomGradient,
  isElementwise,
  MOST_FACTOR_TENSORS,
  unchanged,
} from './forward-uses.js';
import { isLinearIn, isQuotient } from './linear-operations.js';
import type { Operation, Tensor } from './operation.js';
import type { Varies } from './worker-dependence.js';

/** What is known of the whole graph. */
export interface GraphFacts extends ForwardFacts {
  /** Whether the first operation is computed from the second. */
  readonly needs: (target: Operation, source: Operation) => boolean;
}

/**
 * If `tensor` is the derivative of the forward operation for the input it takes: the varying tensors that must then be derivatives for its
 * outputs. Every way in which it can be; none if it cannot.
 */
export function incomingGradients(
  tensor: Tensor,
  use: ForwardUse,
  facts: GraphFacts,
): readonly (readonly Tensor[])[] {
  const { operation, index } = tensor;
  const { forward } = use;
  if (operation === forward) return givesDerivativeAlong(forward) && index === 1 ? [[]] : [];
  if (FUNCTION.test(forward.type)) return ofFunction(operation, forward, facts);
  if (CONTRACTION.test(forward.type))
    return CONTRACTION.test(operation.type) ? ofProduct(operation, use, facts) : [];
  if (GRADIENT_TYPE.test(operation.type)) return ofGradientOperation(operation, forward, facts);
  if (HAS_GRADIENT_OPERATION.test(forward.type)) return [];
  if (ELEMENTWISE_PRODUCT.test(forward.type))
    return ELEMENTWISE_PRODUCT.test(operation.type) ? ofProduct(operation, use, facts) : [];
  const rows = ROWS.find(([type]) => type.test(forward.type));
  if (rows?.[1].test(operation.type)) return ofProduct(operation, use, facts);
  const dropped = forward.type === 'UnsortedSegmentSum' ? ofSegments(operation, use, facts) : undefined;
  if (dropped !== undefined) return dropped;
  const isLinear = isLinearIn(forward, forward.inputs.indexOf(use.taken)) && !isQuotient(forward);
  return isLinear && !hasCustomGradient(forward) ? [] : ofScaling(operation, forward, facts);
}

const FUNCTION = /^(((Stateful|Stateless)?(PartitionedCall|While|If|Case))|RemoteCall)$/;
const CONTRACTION = /MatMul|^Einsum$|Conv/;
const ELEMENTWISE_PRODUCT = /^(Mul|MulNoNan)$/;
/** Operations that choose rows by an input, and what their derivatives choose by it. */
const ROWS: readonly (readonly [forward: RegExp, derivative: RegExp])[] = [
  [/^(Resource)?Gather(V2)?$/, /^UnsortedSegmentSum$/],
  [/^(Resource)?GatherNd$/, /^ScatterNd$/],
  [/^(Unsorted)?SegmentSum$/, /^Gather(V2)?$/],
  [/^(ScatterNd|TensorScatter(Add|Sub))$/, /^GatherNd$/],
  [/^(Parallel)?DynamicStitch$/, /^Gather(V2)?$/],
  [/^DynamicPartition$/, /^(Parallel)?DynamicStitch$/],
  [/^Select(V2)?$/, /^Select(V2)?$/],
];
const GRADIENT_TYPE =
  /Grad(V\d|Eager|N|Ext)?$|Backprop|^(SymbolicGradient|FakeQuant.*Gradient|QuantizeAndDequantizeV4Grad)$/;
/** Their derivatives are operations of a type of their own, never products. */
const HAS_GRADIENT_OPERATION =
  /^(Relu.*|Elu|Selu|LeakyRelu|Tanh|Sigmoid|Softplus|Softsign|Sqrt|Rsqrt|Reciprocal|Inv|FusedBatchNorm.*|.*Pool.*|LRN)$/;

/** The derivative of a function takes what the function kept for it, that of a condition also the same predicate. */
function ofFunction(derivative: Operation, forward: Operation, { varies, needs }: GraphFacts): Tensor[][] {
  if (!FUNCTION.test(derivative.type)) return [];
  const isPredicate = (input: Tensor): boolean => /If|Case/.test(forward.type) && input === forward.inputs[0];
  if (!derivative.inputs.some((input) => input.operation === forward || isPredicate(input))) return [];
  return [derivative.inputs.filter((input) => varies(input) && !needs(forward, input.operation))];
}

/** A product (or choice of rows) with another input of the forward operation. */
function ofProduct(
  derivative: Operation,
  { forward, taken }: ForwardUse,
  { varies }: GraphFacts,
): Tensor[][] {
  const others = forward.inputs.filter((input) => input !== taken);
  const partners = new Set((others.length > 0 ? others : [taken]).map(unchanged));
  return choices(derivative, (input) => varies(input) && partners.has(unchanged(input)), varies);
}

/** Rows of negative segments go into no sum: `Select(ids >= 0, Gather(dy, Maximum(ids, 0)), 0)`. */
function ofSegments(
  { type, inputs }: Operation,
  { forward }: ForwardUse,
  { varies }: GraphFacts,
): Tensor[][] | undefined {
  const [isKept, gathered] = inputs;
  const [incoming, rows] = /^Select(V2)?$/.test(type) ? (gathered?.operation.inputs ?? []) : [];
  const ids = new Set(forward.inputs.slice(1, 2).map(unchanged));
  const isIt =
    /^Gather(V2)?$/.test(gathered?.operation.type ?? '') &&
    rows?.operation.type === 'Maximum' &&
    rows.operation.inputs.some((input) => ids.has(unchanged(input))) &&
    isComputedFrom(isKept as Tensor, ids, varies);
  return isIt ? [[incoming as Tensor].filter(varies)] : undefined;
}

/** For each input that can be the forward factor: the others that vary. */
function choices(
  { inputs }: Operation,
  isFactor: (input: Tensor, position: number) => boolean,
  varies: Varies,
): Tensor[][] {
  const found: Tensor[][] = [];
  for (const [factor, input] of inputs.entries()) {
    if (isFactor(input, factor))
      found.push(inputs.filter((other, position) => position !== factor && varies(other)));
  }
  return found;
}

/** Where an operation that only differentiation writes takes what comes from behind. */
const INCOMING: readonly (readonly [type: RegExp, position: number])[] = [
  [/^(Relu6?|LeakyRelu|Elu|Selu|Softplus|Softsign|LRN)Grad$|^FusedBatchNormGrad|^Resize|^SparseSegment/, 0],
  [/^(Tanh|Sigmoid|Sqrt|Rsqrt|Inv|Reciprocal|MaxPoolGradWithArgmax)(Grad)?$/, 1],
  [/^MaxPool(3D)?Grad(V2)?$|^Dilation2D/, 2],
];

/** `ReluGrad(dy, relu)`, `MaxPoolGrad(input, output, dy)`: all but dy are values of the forward operation. */
function ofGradientOperation(
  derivative: Operation,
  forward: Operation,
  { varies, endsOf }: GraphFacts,
): Tensor[][] {
  const stem = derivative.type.replace(/Grad.*$|Backprop.*$/, '').replace(/^Reciprocal$/, 'Inv');
  if (stem !== 'Symbolic' && !forward.type.replace(/^Reciprocal/, 'Inv').startsWith(stem)) return [];
  const values = endsOf(forward);
  const isValue = (input: Tensor): boolean => values.has(unchanged(input));
  if (!derivative.inputs.some(isValue)) return [];
  const position = INCOMING.find(([type]) => type.test(derivative.type))?.[1];
  if (position === undefined) return [derivative.inputs.filter((input) => varies(input) && !isValue(input))];
  const rest = derivative.inputs.filter((input, i) => i !== position && varies(input));
  return rest.every(isValue) ? [derivative.inputs.slice(position, position + 1).filter(varies)] : [];
}

/** A product with, a quotient by, or a choice on a factor that is computed from values of the forward operation. */
function ofScaling(derivative: Operation, forward: Operation, { varies, endsOf }: GraphFacts): Tensor[][] {
  const ends = givesDerivativeAlong(forward) ? new Set([forward.output(1)]) : endsOf(forward);
  const isFactor = (input: Tensor): boolean => varies(input) && isComputedFrom(input, ends, varies);
  const position = scalePosition(derivative.type);
  if (position === undefined) return [];
  const found = choices(
    derivative,
    (input, i) => (position === 'any' || i === position) && isFactor(input),
    varies,
  );
  if (forward.type === 'Softmax') return found.flatMap((each) => [each, softmaxSum(each, ends)]);
  // The derivative of a derivative multiplies by each input of that, and so does that of a power by its exponent.
  if (!/Grad$|^Pow$/.test(forward.type)) return found;
  return found.flatMap((each) => [each, ...onceMore(each, derivative, ends, varies)]);
}

/** Where an operation that scales takes the factor. */
function scalePosition(type: string): number | 'any' | undefined {
  if (ELEMENTWISE_PRODUCT.test(type)) return 'any';
  if (/^(RealDiv|Div|DivNoNan|Xdivy)$/.test(type)) return 1;
  return /^Select(V2)?$/.test(type) ? 0 : undefined;
}

/** The derivative of a softmax `s` is `(dy - Sum(dy * s)) * s`: dy. */
function softmaxSum([difference]: readonly Tensor[], ends: ReadonlySet<Tensor>): Tensor[] {
  const [incoming, sum] = difference?.operation.type === 'Sub' ? difference.operation.inputs : [];
  const product = sum?.operation.type === 'Sum' ? sum.operation.inputs[0]?.operation : undefined;
  const isIt =
    product?.type === 'Mul' &&
    product.inputs.includes(incoming as Tensor) &&
    product.inputs.some((input) => input !== incoming && ends.has(unchanged(input)));
  return isIt && incoming !== undefined ? [incoming] : difference === undefined ? [] : [difference];
}

/** The same, with another input of the forward operation as a second factor. */
function onceMore(
  incoming: readonly Tensor[],
  first: Operation,
  ends: ReadonlySet<Tensor>,
  varies: Varies,
): Tensor[][] {
  let product = incoming[0]?.operation;
  // A constant may stand between the two.
  for (let i = 0; i < 3 && product !== undefined && product.inputs.filter(varies).length === 1; i++)
    product = product.inputs.find(varies)?.operation;
  if (incoming.length !== 1 || product === undefined || !ELEMENTWISE_PRODUCT.test(product.type)) return [];
  const used = new Set(first.inputs.map(unchanged));
  return choices(product, (input) => ends.has(unchanged(input)) && !used.has(unchanged(input)), varies);
}

/** Whether a factor is computed from these ends and from what does not vary, by a few elementwise operations and sums. */
function isComputedFrom(factor: Tensor, ends: ReadonlySet<Tensor>, varies: Varies): boolean {
  const seen = new Set([unchanged(factor)]);
  for (const tensor of seen) {
    if (ends.has(tensor) || !varies(tensor)) continue;
    if (!isElementwise(tensor.operation) || seen.size > MOST_FACTOR_TENSORS) return false;
    for (const input of tensor.operation.inputs) seen.add(unchanged(input));
  }
  return true;
}
