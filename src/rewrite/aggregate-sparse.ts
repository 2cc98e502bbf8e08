/**
 * Sparse gradients, in one of two forms. Combined: an accumulator sums the rows of all tasks, and the sum is divided by their number.
 * (Its own mean would divide each row by the number of tasks that touched it.) Concatenated: a queue per task, and the slices of all tasks
 * one after the other in the order of the tasks, divided by their number.
 */
import { attr, attributes } from '../graph/attributes.js';
import type { DType } from '../graph/dtype.js';
import type { Operation, Tensor } from '../graph/operation.js';
import type { Gradient, GradientPair } from '../graph/training-graph.js';
import type { Handover } from './aggregate-dense.js';
import { combineRows, type SliceTensors } from './combine-rows.js';
import { dtypeOf } from './dtype-of.js';
import { IN_STEP, queueGradients } from './gradient-queues.js';
import { cast, concatenate, constant, type NumberType, newName, operation, type Site } from './make.js';
import type { RewriteContext } from './pass.js';
import { accumulatorName, MAX_INT64 } from './shared-objects.js';

type Slices = Extract<Gradient, { kind: 'sparse' }>;

/** The edges to rewire, noted before the gradient gets the consumer that hands it over. */
interface Edges {
  readonly slices: Slices;
  readonly indexType: DType;
  readonly indices: readonly Operation[];
  readonly values: readonly Operation[];
}

function edgesOf({ gradient }: GradientPair): Edges {
  if (gradient.kind !== 'sparse') throw new Error('unreachable: the caller knows the kind');
  return {
    slices: gradient,
    indexType: dtypeOf(gradient.indices),
    indices: [...gradient.indices.consumers],
    values: [...gradient.values.consumers],
  };
}

/** What a task hands over; `distinct`: every row once. */
function givenBy(
  site: Site,
  { devices }: RewriteContext,
  { slices, indexType }: Edges,
  dtype: DType,
  distinct: boolean,
): SliceTensors {
  return distinct ? combineRows({ ...site, device: devices.cpu }, slices, indexType, dtype) : slices;
}

export function aggregateCombined(
  site: Site,
  context: RewriteContext,
  pair: GradientPair,
  distinct: boolean,
): Handover {
  const { variable } = pair;
  const edges = edgesOf(pair);
  const given = givenBy(site, context, edges, variable.dtype, distinct);
  const types = { dtype: attr.type(variable.dtype) };
  const handle = operation(site, newName(site, 'grad_accum'), {
    type: 'SparseConditionalAccumulator',
    attributes: attributes({
      ...types,
      shape: attr.shape(variable.shape),
      container: attr.string(context.digest),
      shared_name: attr.string(accumulatorName(variable)),
      reduction_type: attr.string('SUM'),
    }),
  }).output();
  const apply = operation(site, newName(site, 'apply_gradient'), {
    type: 'SparseAccumulatorApplyGradient',
    inputs: [
      handle,
      constant(site, newName(site, 'local_step'), 'int64', [MAX_INT64]),
      cast(site, newName(site, 'apply_indices'), given.indices, edges.indexType, 'int64'),
      given.values,
      constant(site, newName(site, 'no_shape'), 'int64', [], [0]),
    ],
    attributes: attributes({ ...types, has_known_shape: attr.bool(false) }),
  });
  const take = operation(site, newName(site, 'take_gradient'), {
    type: 'SparseAccumulatorTakeGradient',
    inputs: [handle, context.contributors.count(site, 'required', 'tasks', 'int32')],
    after: context.isChief ? [apply] : [],
    attributes: attributes(types),
  });
  const taken = { indices: take.output(0), values: take.output(1), indexType: 'int64' } as const;
  const { mean, delivered } = deliver(site, context, pair, edges, taken);
  return { apply, takes: [take], mean, chiefOnly: [take, ...delivered] };
}

export function aggregateConcatenated(
  site: Site,
  context: RewriteContext,
  pair: GradientPair,
  distinct: boolean,
  queueing = IN_STEP,
): Handover {
  const edges = edgesOf(pair);
  const { indexType } = edges;
  const { dtype } = pair.variable;
  const given = givenBy(site, context, edges, dtype, distinct);
  const parts = [
    [given.indices, indexType],
    [given.values, dtype],
  ] as const;
  const { apply, takes, queues } = queueGradients(site, context, pair, parts, queueing);
  const indices = concatenate(
    site,
    'all_indices',
    takes.map((take) => take.output(0)),
    indexType,
  );
  const values = concatenate(
    site,
    'all_values',
    takes.map((take) => take.output(1)),
    dtype,
  );
  const joined = [indices, values].map((tensor) => tensor.operation).filter((each) => !takes.includes(each));
  const { mean, delivered } = deliver(site, context, pair, edges, { indices, values, indexType });
  return { apply, takes, mean, chiefOnly: [...takes, ...joined, ...delivered], queues };
}

interface Taken {
  readonly indices: Tensor;
  readonly values: Tensor;
  readonly indexType: DType;
}

/** Divides the taken values by the number of tasks, gives the indices their own type, and hands both to whom the gradient fed. */
function deliver(
  site: Site,
  { contributors }: RewriteContext,
  { variable }: GradientPair,
  edges: Edges,
  taken: Taken,
): { readonly mean: Operation; readonly delivered: readonly Operation[] } {
  const count = contributors.count(site, 'count', 'tasks', variable.dtype as NumberType);
  const mean = operation(site, newName(site, 'mean_values'), {
    type: 'RealDiv',
    inputs: [taken.values, count],
    attributes: attributes({ T: attr.type(variable.dtype) }),
  }).output();
  const indices = cast(site, newName(site, 'mean_indices'), taken.indices, taken.indexType, edges.indexType);
  site.graph.replaceInput(edges.slices.values, mean, edges.values);
  site.graph.replaceInput(edges.slices.indices, indices, edges.indices);
  const own = mean.operation;
  return { mean: own, delivered: indices === taken.indices ? [own] : [own, indices.operation] };
}
