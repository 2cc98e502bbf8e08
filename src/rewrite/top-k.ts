/**
 * The compressor top-k: of each gradient the elements of largest magnitude travel, as many on every task, with where they belong; the rest is
 * kept back. All tasks add what came from all in the order of the tasks, so the sum has the same bits everywhere, and whatever travels together.
 */
import { GradsyncError } from '../errors.js';
import { type Attributes, attr, attributes } from '../graph/attributes.js';
import { DTYPES, type DType } from '../graph/dtype.js';
import type { Operation, Tensor } from '../graph/operation.js';
import { elementCount, isFullyKnown } from '../graph/shape.js';
import type { GradientPair, Variable } from '../graph/training-graph.js';
import { type CollectivePlan, DEFAULT_K, TOP_K } from '../strategy/strategy.js';
import type { Collected, Collectives } from './collective-operations.js';
import { addFeedback } from './keep-back.js';
import {
  concatenate,
  constant,
  type NumberType,
  newName,
  operation,
  reshape,
  rowsAt,
  type Site,
  segmentSum,
  zeros,
} from './make.js';
import type { Nothing } from './nothing.js';
import type { RewriteContext } from './pass.js';
import type { LocalGradient, LocalSum, Residual, Sending } from './sending.js';

/** Positions are int32, and go on from one gradient to the next of those that travel together. */
const MOST_ELEMENTS = 2 ** 31 - 1;

export function areCountable(pairs: readonly Pick<GradientPair, 'variable'>[]): boolean {
  return pairs.reduce((sum, { variable }) => sum + elementCount(variable.shape ?? []), 0) <= MOST_ELEMENTS;
}

/** How many elements of a gradient a top-k plan sends. */
export function sentCount({ k = DEFAULT_K }: CollectivePlan, { shape }: Variable): number {
  const size = elementCount(shape ?? []);
  return Math.min(size, k < 1 ? Math.max(1, Math.round(k * size)) : k);
}

/** The compressor that a plan comes to: where top-k would leave nothing out, gradients travel as they are. */
export function compressorFor(plan: CollectivePlan, variable: Variable): CollectivePlan['compressor'] {
  const { shape } = variable;
  const isWhole = isFullyKnown(shape) && sentCount(plan, variable) === elementCount(shape);
  return plan.compressor === TOP_K && isWhole ? 'none' : plan.compressor;
}

/** The sum over all tasks of the largest elements of each gradient, all of one dtype, as one vector of all elements. */
export function sumLargest(
  site: Site,
  context: RewriteContext,
  gradients: readonly LocalGradient[],
  collectives: Collectives,
  hint: string,
): LocalSum {
  let size = 0;
  const chosen = gradients.map((each) => {
    const start = size;
    size += elementCount(each.variable.shape ?? []);
    return choose(each, context, start);
  });
  const { dtype } = gradients[0]!.variable;
  const count = chosen.reduce((sum, each) => sum + each.count, 0);
  const join = (name: string, parts: readonly Tensor[], type: DType): Collected => {
    const tensor = concatenate(site, `fused_${name}`, parts, type);
    return collectives.gather(site, name, { tensor, dtype: type, hint }, [count]);
  };
  const indices = join(
    'all_indices',
    chosen.map((each) => each.indices),
    'int32',
  );
  const values = join(
    'all_values',
    chosen.map((each) => each.values),
    dtype,
  );
  // For the order of the sums.
  const cpu = { ...site, device: context.devices.cpu };
  const total = constant(cpu, newName(cpu, 'size'), 'int32', [size]);
  const sum = segmentSum(cpu, newName(cpu, 'sum'), [values.tensor, indices.tensor, total], dtype);
  const sent = chosen.flatMap(({ count }, i): readonly Sending[] => {
    const { variable } = gradients[i]!;
    return [
      { operation: indices.operation, variable, size: { bytes: count * DTYPES.int32.size } },
      { operation: values.operation, variable, size: { bytes: count * DTYPES[dtype].size } },
    ];
  });
  const residuals = chosen.map(({ residual }) => residual);
  const nothing = chosen.flatMap(({ count, ...each }): readonly Nothing[] => [
    { tensor: each.indices, dtype: 'int32', shape: [count] },
    { tensor: each.values, dtype, shape: [count] },
  ]);
  return { sum, sent, residuals, nothing, keeps: chosen.map(({ keeps }) => keeps) };
}

interface Chosen {
  readonly count: number;
  readonly values: Tensor;
  readonly indices: Tensor;
  readonly residual: Residual;
  readonly keeps: Operation;
}

/** The elements of one gradient that travel. `start`: where its own begin among all. */
function choose({ site, variable, tensor }: LocalGradient, context: RewriteContext, start: number): Chosen {
  const { dtype, shape, name } = variable;
  if (!areCountable([{ variable }])) throw tooLarge(variable);
  const count = sentCount(context.collectives.get(name)!, variable);
  const add = (part: string, type: string, inputs: readonly Tensor[], own: Attributes): Tensor =>
    operation(site, newName(site, part), { type, inputs, attributes: own }).output();
  const { corrected, residual, keep } = addFeedback(site, context, variable, tensor);
  const flat = reshape(site, 'flat', corrected, [-1], dtype);
  const largest = operation(site, newName(site, 'largest'), {
    type: 'TopKV2',
    inputs: [magnitudes(site, flat, dtype), constant(site, newName(site, 'k'), 'int32', [count])],
    attributes: attributes({ T: attr.type(dtype), sorted: attr.bool(false) }),
  });
  const indices = largest.output(1);
  const values = rowsAt(site, 'values', [flat, indices], dtype);
  const rows = reshape(site, 'rows', indices, [count, 1], 'int32');
  const types = attributes({ T: attr.type(dtype), Tindices: attr.type('int32') });
  const rest = add('rest', 'TensorScatterUpdate', [flat, rows, zeros(site, 'sent', [count], dtype)], types);
  const keeps = keep(reshape(site, 'kept', rest, shape!, dtype));
  return { count, values, indices: moved(site, indices, start), residual, keeps };
}

/** Indices among the elements of all gradients that travel together. */
function moved(site: Site, indices: Tensor, start: number): Tensor {
  if (start === 0) return indices;
  return operation(site, newName(site, 'indices'), {
    type: 'AddV2',
    inputs: [indices, constant(site, newName(site, 'start'), 'int32', [start])],
    attributes: attributes({ T: attr.type('int32') }),
  }).output();
}

/** What is no number counts as the largest, so that it shows in the variable at once and is not kept for ever. */
function magnitudes(site: Site, flat: Tensor, dtype: DType): Tensor {
  const types = attributes({ T: attr.type(dtype) });
  const add = (name: string, type: string, inputs: readonly Tensor[]): Tensor =>
    operation(site, newName(site, name), { type, inputs, attributes: types }).output();
  const infinity = constant(site, newName(site, 'infinity'), dtype as NumberType, [Number.POSITIVE_INFINITY]);
  return add('magnitudes', 'SelectV2', [add('is_nan', 'IsNan', [flat]), infinity, add('abs', 'Abs', [flat])]);
}

function tooLarge({ name, shape }: Variable): GradsyncError {
  return new GradsyncError('UNIMPLEMENTED', `Variable "${name}"`, {
    expected: `at most ${MOST_ELEMENTS} elements, as their positions are sent as int32`,
    received: `the shape [${shape}]`,
    remedy: 'take another compressor, or split the variable (partitioned-all-reduce)',
    variable: name,
  });
}
