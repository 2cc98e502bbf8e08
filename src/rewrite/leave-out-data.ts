/** The graph of a task without data: what it runs on TensorFlow in a step for which others have some (see without-data.ts). */
import { attr, attributes } from '../graph/attributes.js';
import type { DType } from '../graph/dtype.js';
import type { Graph } from '../graph/graph.js';
import { parseTensorName } from '../graph/name.js';
import type { Tensor } from '../graph/operation.js';
import { findGrouped, pruneColocation } from './colocation.js';
import { findPlaceholders } from './feeds.js';
import { cast, newName, operation, type Site, zeros } from './make.js';
import type { Plan, WithoutData } from './plan.js';
import { descendants } from './walk.js';

/**
 * Takes out of a task's rewritten graph what its data would decide; what waited for that waits no more. Zeros, or no rows, stand for what the
 * task would give.
 */
export function leaveOutData(graph: Graph, { withoutData }: Plan): void {
  if (withoutData === undefined) return;
  const fed = new Set([...withoutData.settings, ...countsOf(withoutData)]);
  const withheld = findPlaceholders(graph).filter(({ name }) => !fed.has(name));
  for (const each of withoutData.nothing) giveNothing(graph, each);
  const out = descendants(graph, [...withheld, ...withoutData.leftOut.map((name) => graph.get(name))]);
  for (const operation of out) {
    for (const waiting of [...operation.controlConsumers]) graph.removeControlInput(waiting, operation);
    graph.setInputs(operation, []);
  }
  for (const operation of out) graph.remove(operation);
  pruneColocation(graph, findGrouped(graph));
}

/** The placeholders that are fed how many have data. */
function countsOf({ counts }: WithoutData): readonly string[] {
  return Object.values(counts).flatMap((tensor: string | null) =>
    tensor === null ? [] : [parseTensorName(tensor).operation],
  );
}

/** A default that nobody replaces is computed in every step, so TensorFlow folds nothing behind it: as many collectives run as with data. */
function giveNothing(graph: Graph, { tensor: name, dtype, shape }: WithoutData['nothing'][number]): void {
  const tensor = graph.getTensor(name);
  const site = { graph, device: tensor.operation.device, pass: 'without-data', source: '' };
  const consumers = [...tensor.consumers];
  const nothing = operation(site, newName(site, 'nothing'), {
    type: 'PlaceholderWithDefault',
    inputs: [zerosOf(site, shape, dtype)],
    attributes: attributes({ dtype: attr.type(dtype), shape: attr.shape(shape) }),
  });
  graph.replaceInput(tensor, nothing.output(), consumers);
}

function zerosOf(site: Site, shape: readonly number[], dtype: DType): Tensor {
  if (dtype !== 'bfloat16') return zeros(site, 'nothing', shape, dtype);
  return cast(
    site,
    newName(site, 'nothing', 'as_bfloat16'),
    zeros(site, 'nothing', shape, 'float32'),
    'float32',
    dtype,
  );
}
