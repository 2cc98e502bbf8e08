/**
 * Shape rules: the shape of an operation's output 0 from those of its inputs, and the errors of inputs that do not fit, as its kernel has
 * them. Operations that are not listed give shapes that nobody knows before they run.
 */
import type { Operation } from '../../graph/operation.js';
import { elementCount, printShape } from '../../graph/shape.js';
import { boolAttr, intAttr, invalid, requireChannelsLast, typeAttr } from './kernels/attributes.js';
import { sameShape } from './kernels/broadcast.js';
import { checkFilter } from './kernels/convolution.js';
import { batchShape } from './kernels/matmul.js';
import { normalizeAxis, requireBroadcast, resolveShape } from './kernels/shape.js';
import { planStridedSlice, readMasks } from './kernels/slice.js';
import { planAxes, readSliding, spatial } from './kernels/window.js';

/** What is known of a tensor before the step: its shape, and its elements where it is a small one of integers. */
export interface Known {
  readonly shape: readonly number[];
  readonly elements?: readonly number[] | undefined;
}

type Inputs = readonly (Known | undefined)[];
type Rule = (operation: Operation, inputs: Inputs) => Known | undefined;
type ShapeOf = (operation: Operation, ...inputs: Known[]) => readonly number[] | undefined;

/** A rule for when all of the first `count` inputs are known. */
function of(count: number, shapeOf: ShapeOf): Rule {
  return (operation, inputs) => {
    const first = inputs.slice(0, count);
    if (first.length < count || first.some((input) => input === undefined)) return undefined;
    const shape = shapeOf(operation, ...(first as Known[]));
    return shape && { shape };
  };
}

const integers = (elements: readonly number[]): Known => ({ shape: [elements.length], elements });
const number = (value: number): Known => ({ shape: [], elements: [value] });

const same: Rule = (_, [input]) => input;
const unary = of(1, (_, { shape }) => shape);
const broadcast = of(2, (operation, a, b) => requireBroadcast(operation, a.shape, b.shape));

/** Integers from here on are no sizes, and may be too large for their type. */
const MOST = 2 ** 31;

export function isSmall(elements: readonly number[]): boolean {
  return elements.every((element) => Math.abs(element) < MOST);
}

/** Arithmetic on shapes: of small integers the results too. */
function arithmetic(compute: (a: number, b: number) => number): Rule {
  return (operation, inputs) => {
    const found = broadcast(operation, inputs);
    const [a, b] = inputs.map((input) => input?.elements);
    if (found === undefined || a === undefined || b === undefined) return found;
    if (found.shape.length > 1 || a.length === 0 || b.length === 0) return found;
    const length = Math.max(a.length, b.length);
    const elements = Array.from({ length }, (_, i) => compute(a[i % a.length]!, b[i % b.length]!));
    return isSmall(elements) ? { shape: found.shape, elements } : found;
  };
}

const cast: Rule = (operation, [input]) => {
  const dtype = typeAttr(operation, 'DstT');
  return dtype === 'int32' || dtype === 'int64' ? input : input && { shape: input.shape };
};

const slice: Rule = (_, [input, begin, size]) => {
  if (input === undefined || begin?.elements === undefined || size?.elements === undefined) return undefined;
  const shape = size.elements.map((count, i) => (count < 0 ? input.shape[i]! - begin.elements![i]! : count));
  if (input.shape.length !== 1) return { shape };
  const [start] = begin.elements as [number];
  return { shape, elements: input.elements?.slice(start, start + shape[0]!) };
};

/** Inputs that must have one shape; those that are not known are passed over. */
const alike: Rule = (operation, inputs) => {
  const [first, ...others] = inputs.filter((input) => input !== undefined);
  const other = others.find(({ shape }) => !sameShape(shape, first!.shape));
  if (other !== undefined)
    throw invalid(operation, 'equal shapes', `${printShape(first!.shape)} and ${printShape(other.shape)}`);
  return first && { shape: first.shape };
};

const matMul = of(2, (operation, a, b) => {
  if (a.shape.length !== 2 || b.shape.length !== 2)
    throw invalid(operation, 'two matrices', `${printShape(a.shape)} and ${printShape(b.shape)}`);
  const transposed = {
    transposeA: boolAttr(operation, 'transpose_a'),
    transposeB: boolAttr(operation, 'transpose_b'),
  };
  return batchShape(operation, a.shape, b.shape, transposed);
});

const batchMatMul = of(2, (operation, a, b) => {
  const transposed = { transposeA: boolAttr(operation, 'adj_x'), transposeB: boolAttr(operation, 'adj_y') };
  return batchShape(operation, a.shape, b.shape, transposed);
});

const biasAdd = of(2, (operation, { shape }, bias) => {
  requireChannelsLast(operation);
  if (!sameShape(bias.shape, [shape.at(-1) ?? -1]))
    throw invalid(operation, `a bias of [${shape.at(-1)}]`, printShape(bias.shape));
  return shape;
});

const conv2d = of(2, (operation, image, { shape: filter }) => {
  checkFilter(operation, image.shape, filter);
  const [height, width] = planAxes(operation, image.shape, [filter[0]!, filter[1]!], readSliding(operation));
  return [image.shape[0]!, height.output, width.output, filter[3]!];
});

const pool = of(1, (operation, { shape }) => {
  const sliding = { ...readSliding(operation), dilations: [1, 1] as const };
  const [height, width] = planAxes(operation, shape, spatial(operation, 'ksize'), sliding);
  return [shape[0]!, height.output, width.output, shape[3]!];
});

const crossEntropy = of(2, (operation, logits, labels) => {
  const shape = requireBroadcast(operation, logits.shape, labels.shape);
  if (shape.length !== 2) throw invalid(operation, 'logits of rank 2', printShape(shape));
  return [shape[0]!];
});

const sparseCrossEntropy = of(2, (operation, { shape }, labels) => {
  if (shape.length === 2 && sameShape(labels.shape, [shape[0]!])) return labels.shape;
  const received = `${printShape(shape)} and ${printShape(labels.shape)}`;
  throw invalid(operation, 'logits [batch, classes] and labels [batch]', received);
});

/** Dimensions that are all told need no input of a known shape. */
const reshape: Rule = (operation, [input, dims]) => {
  const elements = dims?.elements;
  if (elements === undefined) return undefined;
  if (input !== undefined) return { shape: resolveShape(operation, elementCount(input.shape), elements) };
  return elements.every((dim) => dim >= 0) ? { shape: elements } : undefined;
};

const expandDims = of(
  2,
  (operation, { shape }, { elements }) =>
    elements && shape.toSpliced(normalizeAxis(operation, elements[0]!, shape.length + 1), 0, 1),
);

const transpose = of(2, (_, { shape }, { elements }) => elements?.map((axis) => shape[axis] ?? -1));

const gather = of(3, (operation, { shape }, indices, { elements }) => {
  if (elements === undefined) return undefined;
  const axis = normalizeAxis(operation, elements[0]!, shape.length);
  return [...shape.slice(0, axis), ...indices.shape, ...shape.slice(axis + 1)];
});

const gatherRows = of(2, (_, { shape }, indices) => [...indices.shape, ...shape.slice(1)]);

const oneHot = of(
  2,
  (operation, { shape }, { elements }) =>
    elements &&
    shape.toSpliced(
      normalizeAxis(operation, intAttr(operation, 'axis', -1), shape.length + 1),
      0,
      elements[0]!,
    ),
);

const reduction = of(2, (operation, { shape }, { elements }) => {
  if (elements === undefined) return undefined;
  const axes = new Set(elements.map((axis) => normalizeAxis(operation, axis, shape.length)));
  return boolAttr(operation, 'keep_dims')
    ? shape.map((dim, i) => (axes.has(i) ? 1 : dim))
    : shape.filter((_, i) => !axes.has(i));
});

const argBest = of(
  2,
  (operation, { shape }, { elements }) =>
    elements && shape.toSpliced(normalizeAxis(operation, elements[0]!, shape.length), 1),
);

const topK: Rule = (_, [input, k]) =>
  input?.shape.length && k?.elements ? { shape: [...input.shape.slice(0, -1), k.elements[0]!] } : undefined;

const inTopK = of(2, (operation, { shape }, targets) => {
  if (!sameShape(targets.shape, [shape[0] ?? -1]))
    throw invalid(operation, `${shape[0]} targets`, printShape(targets.shape));
  return targets.shape;
});

const concat: Rule = (operation, inputs) => {
  const parts = inputs.slice(0, -1);
  const [axisOf] = inputs.at(-1)?.elements ?? [];
  const first = parts[0];
  if (first === undefined || axisOf === undefined || parts.includes(undefined)) return undefined;
  const axis = normalizeAxis(operation, axisOf, first.shape.length);
  const sizes = parts.map((part) => part!.shape[axis] ?? 0);
  const misfit = parts.find((part, i) => !sameShape(part!.shape, first.shape.with(axis, sizes[i]!)));
  if (misfit !== undefined)
    throw invalid(
      operation,
      `shapes that differ along axis ${axis} only`,
      `${printShape(first.shape)} and ${printShape(misfit.shape)}`,
    );
  const elements = parts.every((part) => part!.elements !== undefined)
    ? parts.flatMap((part) => part!.elements!)
    : undefined;
  return {
    shape: first.shape.with(
      axis,
      sizes.reduce((sum, size) => sum + size),
    ),
    elements,
  };
};

const pack: Rule = (operation, inputs) => {
  const first = alike(operation, inputs);
  if (first === undefined || inputs.includes(undefined)) return undefined;
  const axis = normalizeAxis(operation, intAttr(operation, 'axis', 0), first.shape.length + 1);
  const scalars = first.shape.length === 0 && inputs.every((input) => input!.elements !== undefined);
  const elements = scalars ? inputs.map((input) => input!.elements![0]!) : undefined;
  return { shape: first.shape.toSpliced(axis, 0, inputs.length), elements };
};

/** Of what a slice takes of a small vector of integers, the elements too. */
const stridedSlice: Rule = (operation, [input, ...bounds]) => {
  const [begin, end, step] = bounds.map((bound) => bound?.elements);
  if (input === undefined || begin === undefined || end === undefined || step === undefined) return undefined;
  const { region, shape } = planStridedSlice(
    operation,
    input.shape,
    [[...begin], [...end], [...step]],
    readMasks(operation),
  );
  if (input.elements === undefined || input.shape.length !== 1) return { shape };
  const taken = Array.from(
    { length: region.shape[0]! },
    (_, i) => input.elements![region.offset + i * region.strides[0]!]!,
  );
  return { shape, elements: taken };
};

const shapeOf: Rule = (_, [input]) => input && integers(input.shape);
const sizeOf: Rule = (_, [input]) => input && number(elementCount(input.shape));
const rankOf: Rule = (_, [input]) => input && number(input.shape.length);
const fill: Rule = (_, [dims]) => dims?.elements && { shape: dims.elements };

function table(rule: Rule, ...types: readonly string[]): Record<string, Rule> {
  return Object.fromEntries(types.map((type) => [type, rule]));
}

export const SHAPE_RULES: Readonly<Record<string, Rule>> = {
  ...table(same, 'Identity', 'StopGradient', 'PreventGradient', 'CheckNumerics'),
  ...table(
    unary,
    'Neg',
    'Abs',
    'Sign',
    'Square',
    'Sqrt',
    'Rsqrt',
    'Exp',
    'Expm1',
    'Log',
    'Log1p',
    'Reciprocal',
  ),
  ...table(
    unary,
    'Inv',
    'Sin',
    'Cos',
    'Floor',
    'Ceil',
    'Rint',
    'Round',
    'Sigmoid',
    'Tanh',
    'Softplus',
    'Relu',
  ),
  ...table(
    unary,
    'Relu6',
    'LeakyRelu',
    'Elu',
    'Selu',
    'Softsign',
    'IsFinite',
    'IsNan',
    'IsInf',
    'LogicalNot',
  ),
  ...table(unary, 'Softmax', 'LogSoftmax', 'ZerosLike', 'OnesLike', 'ClipByValue', 'TensorScatterUpdate'),
  ...table(broadcast, 'RealDiv', 'Div', 'TruncateDiv', 'TruncateMod', 'Mod', 'DivNoNan'),
  ...table(broadcast, 'MulNoNan', 'Xdivy', 'Xlogy', 'FloorDiv', 'FloorMod', 'Maximum', 'Minimum', 'Pow'),
  ...table(
    broadcast,
    'SquaredDifference',
    'Equal',
    'NotEqual',
    'Less',
    'LessEqual',
    'Greater',
    'GreaterEqual',
  ),
  ...table(broadcast, 'LogicalAnd', 'LogicalOr'),
  ...table(alike, 'AddN', 'ReluGrad', 'Relu6Grad', 'LeakyReluGrad', 'EluGrad', 'SeluGrad', 'SoftsignGrad'),
  ...table(
    alike,
    'SigmoidGrad',
    'TanhGrad',
    'SoftplusGrad',
    'SqrtGrad',
    'RsqrtGrad',
    'ReciprocalGrad',
    'InvGrad',
  ),
  ...table(reduction, 'Sum', 'Mean', 'Prod', 'Max', 'Min', 'All', 'Any'),
  ...table(batchMatMul, 'BatchMatMul', 'BatchMatMulV2', 'BatchMatMulV3'),
  ...table(biasAdd, 'BiasAdd', 'BiasAddV1'),
  ...table(pool, 'MaxPool', 'AvgPool'),
  ...table(argBest, 'ArgMax', 'ArgMin'),
  ...table(inTopK, 'InTopK', 'InTopKV2'),
  ...table(
    arithmetic((a, b) => a + b),
    'Add',
    'AddV2',
  ),
  TopKV2: topK,
  Sub: arithmetic((a, b) => a - b),
  Mul: arithmetic((a, b) => a * b),
  Cast: cast,
  Slice: slice,
  MatMul: matMul,
  Conv2D: conv2d,
  SoftmaxCrossEntropyWithLogits: crossEntropy,
  SparseSoftmaxCrossEntropyWithLogits: sparseCrossEntropy,
  Reshape: reshape,
  ExpandDims: expandDims,
  Transpose: transpose,
  GatherV2: gather,
  Gather: gatherRows,
  ResourceGather: gatherRows,
  OneHot: oneHot,
  ConcatV2: concat,
  Pack: pack,
  StridedSlice: stridedSlice,
  Shape: shapeOf,
  Size: sizeOf,
  Rank: rankOf,
  Fill: fill,
};
