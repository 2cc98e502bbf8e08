/**
 * Published values: what a task's own part of an update takes from the part that only the chief runs (of a norm over all gradients, the part
 * of those on servers). The chief puts them into one queue of capacity 1 per worker in every round; each worker takes its own.
 */
import { type AttrValue, attr } from '../graph/attributes.js';
import type { Graph } from '../graph/graph.js';
import type { Operation, Tensor } from '../graph/operation.js';
import { type Division, dropWaits } from './divide.js';
import { dtypeOf } from './dtype-of.js';
import type { Finish } from './finish.js';
import type { Site } from './make.js';
import type { Draft, RewriteContext } from './pass.js';
import { dequeue, enqueue, fifoQueue } from './queues.js';
import { shapeOf } from './replica-fetches.js';
import { publicationQueueName } from './shared-objects.js';

/** The operations that exchange the values of one group; on a worker the one that takes them. */
export interface Publication {
  readonly number: number;
  readonly operations: readonly Operation[];
}

export interface PublishInput {
  readonly division: Division;
  readonly finishes: readonly Finish[];
}

/** With one task there is nobody to tell. */
export function publish(
  { graph }: Draft,
  context: RewriteContext,
  { division, finishes }: PublishInput,
): readonly Publication[] {
  if (context.taskCount === 1) return [];
  if (!context.isChief) dropWaits(graph, division);
  return division.published.flatMap(({ group, tensors }, number) => {
    if (tensors.length === 0) return [];
    const site = { graph, device: context.devices.chiefCpu, pass: 'publish', source: '' };
    if (!context.isChief) return [{ number, operations: [take(site, context, number, tensors, division)] }];
    const operations = give(site, context, number, tensors);
    const finish = finishes.find((each) => each.group.pairs === group.pairs)!;
    for (const operation of operations) graph.addControlInput(finish.operation, operation);
    return [{ number, operations }];
  });
}

function give(
  site: Site,
  context: RewriteContext,
  number: number,
  tensors: readonly Tensor[],
): readonly Operation[] {
  const workers = Array.from({ length: context.taskCount - 1 }, (_, i) => i + 1);
  return workers.map((worker) => {
    const into = queue(site, context, number, tensors, worker);
    return enqueue(site, ['publish', String(number), String(worker)], into, tensors);
  });
}

function take(
  site: Site,
  context: RewriteContext,
  number: number,
  tensors: readonly Tensor[],
  { replicated }: Division,
): Operation {
  const from = queue(site, context, number, tensors, undefined);
  const taken = dequeue(site, ['published', String(number)], from);
  site.graph.setAttributes(taken, shapesOf(tensors));
  const own = new Set(replicated.flatMap(({ members }) => members));
  for (const [i, tensor] of tensors.entries()) {
    const consumers = [...tensor.consumers].filter((consumer) => own.has(consumer));
    site.graph.replaceInput(tensor, taken.output(i), consumers);
  }
  return taken;
}

/** Makes a worker's take that of the worker. */
export function ownPublication(graph: Graph, { number, operations }: Publication, worker: number): void {
  const handle = operations[0]!.inputs[0]!.operation;
  graph.setAttributes(handle, { shared_name: attr.string(publicationQueueName(number, worker)) });
}

/** For whoever asks how much is sent, where the program tells it. */
function shapesOf(tensors: readonly Tensor[]): Readonly<Record<string, AttrValue>> {
  const shapes = tensors.map(shapeOf);
  if (shapes.includes(undefined)) return {};
  return { _output_shapes: attr.list(shapes.map((shape) => attr.shape(shape ?? null))) };
}

function queue(
  site: Site,
  { digest }: RewriteContext,
  number: number,
  tensors: readonly Tensor[],
  worker: number | undefined,
): Tensor {
  return fifoQueue(site, ['publication', String(number), String(worker ?? '')], {
    types: tensors.map(dtypeOf),
    capacity: 1,
    container: digest,
    sharedName: worker === undefined ? '' : publicationQueueName(number, worker),
  });
}
