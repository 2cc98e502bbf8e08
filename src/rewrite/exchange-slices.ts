/**
 * Sparse gradients of variables of which every task has a copy: what takes the slices takes those of all tasks instead, values divided by the
 * number of all replicas. Rows are gathered or, where that is fewer bytes, summed as a dense gradient: a branch on what all tasks know, so all
 * take the same, and the collectives of the other one are not run.
 */
import { attr, attributes } from '../graph/attributes.js';
import type { DType } from '../graph/dtype.js';
import type { Tensor } from '../graph/operation.js';
import type { GradientPair } from '../graph/training-graph.js';
import type { Collectives } from './collective-operations.js';
import { combineRows, type SliceTensors } from './combine-rows.js';
import { dtypeOf } from './dtype-of.js';
import { type ExchangedSlices, gatherSlices, RowCounts, type SliceInput } from './gather-slices.js';
import { newName, operation, type Site } from './make.js';
import type { RewriteContext } from './pass.js';
import { divideByReplicas } from './reduce-dense.js';
import type { Sending } from './sending.js';
import type { SparseForm } from './sparse-form.js';
import { sumRows } from './sum-rows.js';

/** Gives those that take the slices those of all tasks. What is sent is that of gathered rows, where a step chooses. */
export function exchangeSlices(
  site: Site,
  context: RewriteContext,
  { gradient, variable }: GradientPair,
  collectives: Collectives,
  form: SparseForm,
): readonly Sending[] {
  if (gradient.kind !== 'sparse') throw new Error('unreachable: the caller knows the kind');
  const { indices, values } = gradient;
  const indexType = dtypeOf(indices);
  const consumers = { indices: [...indices.consumers], values: [...values.consumers] };
  const { algorithm: hint } = context.collectives.get(variable.name)!;
  const cpu = { ...site, device: context.devices.cpu };
  const own = form.distinct ? combineRows(cpu, gradient, indexType, variable.dtype) : gradient;
  const input = { own, indexType, variable, hint };
  const exchanged = exchange(site, context, collectives, input, form.denseFrom?.rows);
  const mean = divideByReplicas(site, context, exchanged.values, variable.dtype);
  site.graph.replaceInput(indices, exchanged.indices, consumers.indices);
  site.graph.replaceInput(values, mean, consumers.values);
  return exchanged.sent;
}

/** `denseFrom`: of how many rows of a task on they are summed as a dense gradient; always if it is 0, never if it is undefined. */
function exchange(
  site: Site,
  context: RewriteContext,
  collectives: Collectives,
  input: SliceInput,
  denseFrom: number | undefined,
): ExchangedSlices {
  if (denseFrom === 0) return sumRows(site, collectives, input);
  const { own, indexType, variable } = input;
  const counts = new RowCounts(site, context, collectives, input);
  if (denseFrom === undefined) return gatherSlices(site, collectives, counts, input);
  const isMany = counts.hold(denseFrom);
  const types = { indices: indexType, values: variable.dtype };
  const [few, many] = choose(site, own, types, isMany);
  const gathered = gatherSlices(site, collectives, counts, { ...input, own: few });
  const summed = sumRows(site, collectives, { ...input, own: many });
  return { ...merge(site, [gathered, summed], types), sent: gathered.sent };
}

type SliceTypes = Readonly<Record<keyof SliceTensors, DType>>;

/** The slices on the one of two ways that a step takes. */
function choose(
  site: Site,
  own: SliceTensors,
  types: SliceTypes,
  isMany: Tensor,
): readonly [few: SliceTensors, many: SliceTensors] {
  const branch = (what: keyof SliceTensors): readonly [Tensor, Tensor] => {
    const made = operation(site, newName(site, `chosen_${what}`), {
      type: 'Switch',
      inputs: [own[what], isMany],
      attributes: attributes({ T: attr.type(types[what]) }),
    });
    return [made.output(0), made.output(1)];
  };
  const [indices, values] = [branch('indices'), branch('values')];
  return [
    { indices: indices[0], values: values[0] },
    { indices: indices[1], values: values[1] },
  ];
}

/** The slices of the way that was taken. */
function merge(site: Site, ways: readonly SliceTensors[], types: SliceTypes): SliceTensors {
  const join = (what: keyof SliceTensors): Tensor =>
    operation(site, newName(site, `exchanged_${what}`), {
      type: 'Merge',
      inputs: ways.map((way) => way[what]),
      attributes: attributes({ N: attr.int(ways.length), T: attr.type(types[what]) }),
    }).output();
  return { indices: join('indices'), values: join('values') };
}
