/**
 * Dense gradients of variables of which every task has a copy: the sum over all tasks, divided by the number of all replicas. Those of one
 * group travel as one vector.
 */
import { attr, attributes } from '../graph/attributes.js';
import { DTYPES, type DType } from '../graph/dtype.js';
import type { Operation, Tensor } from '../graph/operation.js';
import { elementCount, isFullyKnown } from '../graph/shape.js';
import type { GradientPair } from '../graph/training-graph.js';
import { type CollectivePlan, TOP_K } from '../strategy/strategy.js';
import type { Collectives } from './collective-operations.js';
import { compress, wireType } from './compress.js';
import {
  cast,
  concatenate,
  constant,
  type NumberType,
  newName,
  operation,
  reshape,
  type Site,
} from './make.js';
import type { RewriteContext } from './pass.js';
import type { LocalGradient, LocalSum, Reduction } from './sending.js';
import { areCountable, compressorFor, sumLargest } from './top-k.js';

/** Gradients that travel together: of one type, with plans of one group. */
export interface Bundle {
  readonly pairs: readonly GradientPair[];
  readonly dtype: DType;
  readonly compressor: CollectivePlan['compressor'];
  readonly hint: string;
}

/** Bundles in the order of their first pairs. A gradient whose size is not known travels alone. */
export function bundle(pairs: readonly GradientPair[], context: RewriteContext): readonly Bundle[] {
  const bundles: Bundle[] = [];
  const open = new Map<string, GradientPair[]>();
  for (const pair of pairs) {
    const { name, dtype, shape } = pair.variable;
    const plan = context.collectives.get(name)!;
    const compressor = compressorFor(plan, pair.variable);
    const alone = isFullyKnown(shape) ? '' : name;
    const key = JSON.stringify([plan.group, dtype, compressor, plan.algorithm, alone]);
    const found = open.get(key);
    if (found !== undefined && (compressor !== TOP_K || areCountable([...found, pair]))) found.push(pair);
    else {
      const own = [pair];
      open.set(key, own);
      bundles.push({ pairs: own, dtype, compressor, hint: plan.algorithm });
    }
  }
  return bundles;
}

/** Gives those that take the gradients their means over all replicas. */
export function reduceBundle(
  site: Site,
  context: RewriteContext,
  { pairs, dtype, compressor, hint }: Bundle,
  collectives: Collectives,
): Reduction {
  const edges = pairs.map(edgeOf);
  const gradients = pairs.map(
    ({ variable }, i): LocalGradient => ({
      site: { ...site, source: variable.name },
      variable,
      tensor: edges[i]!.tensor,
    }),
  );
  const reduce = compressor === TOP_K ? sumLargest : sumWhole;
  const { sum, ...reduction } = reduce(site, context, gradients, collectives, hint);
  const mean = divideByReplicas(site, context, sum, dtype);
  for (const keep of reduction.keeps) site.graph.addControlInput(mean.operation, keep);
  const means = compressor === TOP_K || pairs.length > 1 ? split(site, gradients, mean, dtype) : [mean];
  for (const [i, { tensor, consumers }] of edges.entries()) {
    site.graph.replaceInput(tensor, means[i]!, consumers);
  }
  return reduction;
}

/** The sum of one gradient in its own shape, of several as one vector. */
function sumWhole(
  site: Site,
  context: RewriteContext,
  gradients: readonly LocalGradient[],
  collectives: Collectives,
  hint: string,
): LocalSum {
  const { variable } = gradients[0]!;
  const wire = wireType(context.collectives.get(variable.name)!.compressor, variable.dtype);
  const compressed = gradients.map((gradient) => compress(context, gradient));
  const joined = join(
    site,
    compressed.map(({ tensor }, i) => ({ ...gradients[i]!, tensor })),
    wire,
  );
  const sum = collectives.sum(site, 'all_reduce', { tensor: joined, dtype: wire, hint });
  return {
    sum: cast(site, newName(site, 'sum'), sum.tensor, wire, variable.dtype),
    sent: gradients.map(({ variable: { shape }, variable: own }) => ({
      operation: sum.operation,
      variable: own,
      size: { bytes: elementCount(shape ?? []) * DTYPES[wire].size },
    })),
    residuals: compressed.flatMap(({ residual }) => residual ?? []),
    keeps: compressed.flatMap(({ keeps }) => keeps ?? []),
    nothing: compressed.map(({ tensor }, i) => ({
      tensor,
      dtype: wire,
      shape: gradients[i]!.variable.shape,
    })),
  };
}

/** A gradient and who takes it, noted before the collective does. */
interface Edge {
  readonly tensor: Tensor;
  readonly consumers: readonly Operation[];
}

function edgeOf({ gradient }: GradientPair): Edge {
  if (gradient.kind !== 'dense') throw new Error('unreachable: the caller knows the kind');
  return { tensor: gradient.tensor, consumers: [...gradient.tensor.consumers] };
}

/** One vector of all; a gradient alone as it is. */
function join(site: Site, gradients: readonly LocalGradient[], dtype: DType): Tensor {
  if (gradients.length === 1) return gradients[0]!.tensor;
  const flat = gradients.map((each) => reshape(each.site, 'flat', each.tensor, [-1], dtype));
  return concatenate(site, 'fused', flat, dtype);
}

/** The parts of a vector of all, each in its variable's shape. */
function split(
  site: Site,
  gradients: readonly LocalGradient[],
  fused: Tensor,
  dtype: DType,
): readonly Tensor[] {
  const shapes = gradients.map(({ variable }) => variable.shape ?? []);
  return partsOf(site, fused, shapes.map(elementCount), dtype).map((part, i) =>
    reshape(gradients[i]!.site, 'mean_gradient', part, shapes[i]!, dtype),
  );
}

function partsOf(site: Site, fused: Tensor, sizes: readonly number[], dtype: DType): readonly Tensor[] {
  if (sizes.length === 1) return [fused];
  const given = constant(site, newName(site, 'sizes'), 'int32', sizes, [sizes.length]);
  return splitInto(site, 'parts', fused, given, sizes.length, dtype);
}

/** Pieces of a tensor along axis 0; `sizes` is a vector of as many. */
export function splitInto(
  site: Site,
  name: string,
  whole: Tensor,
  sizes: Tensor,
  count: number,
  dtype: DType,
): readonly Tensor[] {
  const axis = constant(site, newName(site, name, 'axis'), 'int32', [0]);
  const pieces = operation(site, newName(site, name), {
    type: 'SplitV',
    inputs: [whole, sizes, axis],
    attributes: attributes({
      num_split: attr.int(count),
      T: attr.type(dtype),
      Tlen: attr.type('int32'),
    }),
  });
  return Array.from({ length: count }, (_, i) => pieces.output(i));
}

/** The one place where a collective's sum becomes a mean. */
export function divideByReplicas(
  site: Site,
  { contributors }: RewriteContext,
  sum: Tensor,
  dtype: DType,
): Tensor {
  const count = contributors.count(site, 'replicas', 'replicas', dtype as NumberType);
  return operation(site, newName(site, 'mean'), {
    type: 'RealDiv',
    inputs: [sum, count],
    attributes: attributes({ T: attr.type(dtype) }),
  }).output();
}
