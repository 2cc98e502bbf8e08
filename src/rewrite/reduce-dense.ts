/**
 * Dense gradients of variables of which every task has a copy: the sum over all tasks, divided by the number of all replicas. Those of one
 * group travel as one vector.
 */
import { attr, attributes } from '../graph/attributes.js';
import { DTYPES, type DType } from '../graph/dtype.js';
import type { Operation, Tensor } from '../graph/operation.js';
import { elementCount, isFullyKnown } from '../graph/shape.js';
import type { GradientPair, Variable } from '../graph/training-graph.js';
import type { Collectives } from './collective-operations.js';
import { compress, wireType } from './compress.js';
import { cast, concatenate, constant, type NumberType, newName, operation, type Site } from './make.js';
import type { RewriteContext } from './pass.js';

/** Gradients that travel together: of one type, with plans of one group. */
export interface Bundle {
  readonly pairs: readonly GradientPair[];
  readonly dtype: DType;
  /** The type in which they travel. */
  readonly wire: DType;
  readonly hint: string;
}

/** Bundles in the order of their first pairs. A gradient whose size is not known travels alone. */
export function bundle(pairs: readonly GradientPair[], context: RewriteContext): readonly Bundle[] {
  const bundles = new Map<string, Bundle & { readonly pairs: GradientPair[] }>();
  for (const pair of pairs) {
    const { name, dtype, shape } = pair.variable;
    const { algorithm, compressor, group } = context.collectives.get(name)!;
    const alone = isFullyKnown(shape) ? '' : name;
    const key = JSON.stringify([group, dtype, compressor, algorithm, alone]);
    const found = bundles.get(key);
    if (found === undefined) {
      bundles.set(key, { pairs: [pair], dtype, wire: wireType(compressor, dtype), hint: algorithm });
    } else found.pairs.push(pair);
  }
  return [...bundles.values()];
}

/** What a collective sends for one variable. */
export interface Sending {
  readonly operation: Operation;
  readonly variable: Variable;
  readonly size:
    | { readonly bytes: number }
    | { readonly bytesPerRow: number; readonly holds: 'indices' | 'values' };
}

export interface Reduction {
  readonly sent: readonly Sending[];
  /** Variables that the compression needs, and what changes them in a step. */
  readonly residuals: readonly Variable[];
  readonly keeps: readonly Operation[];
}

/** Gives those that take the gradients their means over all replicas. */
export function reduceBundle(
  site: Site,
  context: RewriteContext,
  { pairs, dtype, hint, wire }: Bundle,
  collectives: Collectives,
): Reduction {
  const edges = pairs.map(edgeOf);
  const sizes = pairs.map(({ variable }) => elementCount(variable.shape ?? []));
  const siteOf = (i: number): Site => ({ ...site, source: pairs[i]!.variable.name });
  const compressed = edges.map(({ tensor }, i) => compress(siteOf(i), context, pairs[i]!.variable, tensor));
  const joined = join(site, compressed, siteOf, wire);
  const sum = collectives.sum(site, 'all_reduce', joined, wire, hint);
  const mean = divideByReplicas(site, context, cast(site, newName(site, 'sum'), sum, wire, dtype), dtype);
  const keeps = compressed.flatMap((each) => each.keeps ?? []);
  for (const keep of keeps) site.graph.addControlInput(mean.operation, keep);
  const parts = split(site, mean, sizes, dtype);
  for (const [i, { tensor, consumers }] of edges.entries()) {
    const shape = pairs[i]!.variable.shape ?? [];
    const part = pairs.length === 1 ? mean : reshape(siteOf(i), 'mean_gradient', parts[i]!, shape, dtype);
    site.graph.replaceInput(tensor, part, consumers);
  }
  return {
    sent: pairs.map(({ variable }, i) => ({
      operation: sum.operation,
      variable,
      size: { bytes: sizes[i]! * DTYPES[wire].size },
    })),
    residuals: compressed.flatMap(({ residual }) => residual ?? []),
    keeps,
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
function join(
  site: Site,
  gradients: readonly { readonly tensor: Tensor }[],
  siteOf: (i: number) => Site,
  dtype: DType,
): Tensor {
  if (gradients.length === 1) return gradients[0]!.tensor;
  const flat = gradients.map(({ tensor }, i) => reshape(siteOf(i), 'flat', tensor, [-1], dtype));
  return concatenate(site, 'fused', flat, dtype);
}

function split(site: Site, fused: Tensor, sizes: readonly number[], dtype: DType): readonly Tensor[] {
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

function reshape(site: Site, name: string, tensor: Tensor, shape: readonly number[], dtype: DType): Tensor {
  const wanted = constant(site, newName(site, name, 'shape'), 'int32', shape, [shape.length]);
  return operation(site, newName(site, name), {
    type: 'Reshape',
    inputs: [tensor, wanted],
    attributes: attributes({ T: attr.type(dtype), Tshape: attr.type('int32') }),
  }).output();
}

/** The one place where a collective's sum becomes a mean. */
export function divideByReplicas(
  site: Site,
  { strategy }: RewriteContext,
  sum: Tensor,
  dtype: DType,
): Tensor {
  const count = constant(site, newName(site, 'replicas'), dtype as NumberType, [strategy.replicas.length]);
  return operation(site, newName(site, 'mean'), {
    type: 'RealDiv',
    inputs: [sum, count],
    attributes: attributes({ T: attr.type(dtype) }),
  }).output();
}
