/** Makers of the queues by which tasks, and runs of one task, hand tensors to each other, and of what puts into them and takes out. */
import { type AttrValue, attr, attributes } from '../graph/attributes.js';
import type { DType } from '../graph/dtype.js';
import type { Operation, Tensor } from '../graph/operation.js';
import { newName, operation, type Site } from './make.js';

export interface QueueSpec {
  /** Of the parts of an element. */
  readonly types: readonly DType[];
  /** Whether every part is known to be a scalar; else nothing is said of shapes. */
  readonly ofScalars?: boolean;
  readonly capacity: number;
  /** Container and name under which all who share it find it. */
  readonly container: string;
  readonly sharedName: string;
}

type Name = readonly string[];

export function fifoQueue(site: Site, name: Name, spec: QueueSpec): Tensor {
  const { types, ofScalars = false, capacity, container, sharedName } = spec;
  return operation(site, newName(site, ...name), {
    type: 'FIFOQueueV2',
    attributes: attributes({
      component_types: attr.list(types.map((type) => attr.type(type))),
      shapes: attr.list(ofScalars ? types.map(() => attr.shape([])) : []),
      capacity: attr.int(capacity),
      container: attr.string(container),
      shared_name: attr.string(sharedName),
    }),
  }).output();
}

/** Puts an element into a queue: its parts. */
export function enqueue(
  site: Site,
  name: Name,
  queue: Tensor,
  parts: readonly Tensor[],
  after: readonly Operation[] = [],
): Operation {
  return operation(site, newName(site, ...name), {
    type: 'QueueEnqueueV2',
    inputs: [queue, ...parts],
    after,
    attributes: attributes({ Tcomponents: typesOf(queue), timeout_ms: attr.int(-1) }),
  });
}

/** Puts an element into a queue for each of what the first axis of `elements` counts, also none. */
export function enqueueMany(site: Site, name: Name, queue: Tensor, elements: Tensor): Operation {
  return operation(site, newName(site, ...name), {
    type: 'QueueEnqueueManyV2',
    inputs: [queue, elements],
    attributes: attributes({ Tcomponents: typesOf(queue), timeout_ms: attr.int(-1) }),
  });
}

/** Takes an element out of a queue: its parts are the outputs. */
export function dequeue(site: Site, name: Name, queue: Tensor, after: readonly Operation[] = []): Operation {
  return operation(site, newName(site, ...name), {
    type: 'QueueDequeueV2',
    inputs: [queue],
    after,
    attributes: attributes({ component_types: typesOf(queue), timeout_ms: attr.int(-1) }),
  });
}

function typesOf({ operation: { attributes: own } }: Tensor): AttrValue {
  return own.get('component_types')!;
}
