/**
 * Tokens: one queue per worker and update group, on the chief. The chief puts a token into each once the group's round is over; a worker
 * takes one of its own after it has handed over its gradients. So no worker begins the next step before the update is done or, where the
 * queues begin with tokens in them, runs ahead by more rounds than these. Such queues hold one token more than they begin with.
 */
import { attr, attributes } from '../graph/attributes.js';
import type { Graph } from '../graph/graph.js';
import type { Operation, Tensor } from '../graph/operation.js';
import { constant, newName, operation, type Site } from './make.js';
import type { RewriteContext } from './pass.js';
import { dequeue, enqueue, enqueueMany, fifoQueue } from './queues.js';
import { tokenQueueName } from './shared-objects.js';

/** The token queues of an update group. */
export interface TokenQueues {
  readonly group: number;
  /** Tokens each begins with. */
  readonly first: number;
}

/** Gives every one of `workers` a token, after `after`. */
export function giveTokens(
  site: Site,
  context: RewriteContext,
  queues: TokenQueues,
  workers: readonly number[],
  after: Operation,
): readonly Operation[] {
  const token = constant(site, newName(site, 'token'), 'int32', [0]);
  return workers.map((worker) =>
    enqueue(
      site,
      ['give_token', String(worker)],
      tokenQueue(site, context, queues, worker),
      [token],
      [after],
    ),
  );
}

/** Takes a worker's token, after `after`. The queue is that of no worker until `ownTokenQueue` says whose. */
export function takeToken(
  site: Site,
  context: RewriteContext,
  queues: TokenQueues,
  worker: number | undefined,
  after: readonly Operation[],
): Operation {
  return dequeue(site, ['take_token'], tokenQueue(site, context, queues, worker), after);
}

/** Makes an operation that takes a token take it from the queue of a worker. */
export function ownTokenQueue(graph: Graph, takesToken: Operation, group: number, worker: number): void {
  const queue = takesToken.inputs[0]!.operation;
  graph.setAttributes(queue, { shared_name: attr.string(tokenQueueName(group, worker)) });
}

/** Gives a worker's queue the tokens it begins with, but for those that are in it. */
export function fillTokenQueue(
  site: Site,
  context: RewriteContext,
  queues: TokenQueues,
  worker: number,
): Operation {
  const name = (what: string): string => newName(site, what, String(worker));
  const int32 = attr.type('int32');
  const queue = tokenQueue(site, context, queues, worker);
  const make = (what: string, type: string, inputs: readonly Tensor[], values: Values): Tensor =>
    operation(site, name(what), { type, inputs, attributes: attributes(values) }).output();
  const size = make('tokens_there', 'QueueSizeV2', [queue], {});
  const first = constant(site, name('first_tokens'), 'int32', [queues.first]);
  const missing = make('missing_tokens', 'Sub', [first, size], { T: int32 });
  const vector = constant(site, name('vector'), 'int32', [1], [1]);
  const dims = make('missing_shape', 'Reshape', [missing, vector], { T: int32, Tshape: int32 });
  const token = constant(site, name('token'), 'int32', [0]);
  const tokens = make('tokens', 'Fill', [dims, token], { T: int32, index_type: int32 });
  return enqueueMany(site, ['fill_tokens', String(worker)], queue, tokens);
}

type Values = Parameters<typeof attributes>[0];

/** The queues of all workers. */
export function tokenQueues(site: Site, context: RewriteContext, queues: TokenQueues): readonly Tensor[] {
  return Array.from({ length: context.taskCount }, (_, worker) => tokenQueue(site, context, queues, worker));
}

function tokenQueue(
  site: Site,
  { digest }: RewriteContext,
  { group, first }: TokenQueues,
  worker: number | undefined,
): Tensor {
  return fifoQueue(site, ['token_queue', String(worker ?? '')], {
    types: ['int32'],
    ofScalars: true,
    capacity: first + 1,
    container: digest,
    sharedName: worker === undefined ? '' : tokenQueueName(group, worker),
  });
}
