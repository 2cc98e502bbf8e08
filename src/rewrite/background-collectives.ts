/**
 * Collectives beside the steps, where the steps also use parameter servers. TensorFlow gives all sessions' runs of the same collectives one
 * and the same number, under which tensors between tasks are sent, and cleared away, too: such a run may do nothing on other tasks. So each
 * task hands its tensors to a run of its own, which is repeated in the background, and takes from it what all tasks' have become. Queues on
 * the task hold one element each: a step begins no exchange before the one before it is over.
 */
import type { DType } from '../graph/dtype.js';
import type { Operation, Tensor } from '../graph/operation.js';
import type { Collected } from './collective-operations.js';
import { group, newName, type Site } from './make.js';
import type { RewriteContext } from './pass.js';
import { dequeue, enqueue, fifoQueue } from './queues.js';
import { collectiveQueueName } from './shared-objects.js';

/** The exchange of one update group. */
export interface BackgroundExchange {
  /** What the task runs in a loop. */
  readonly run: Operation;
  /** Operations that only that run may run. */
  readonly alone: readonly Operation[];
  /** Operations of a step that hand over and take back. */
  readonly steps: readonly Operation[];
  readonly queues: readonly Tensor[];
}

type Typed = readonly [Tensor, DType];

export class BackgroundCollectives {
  readonly #context: RewriteContext;
  #count = 0;
  #ends: Operation[] = [];
  #alone: Operation[] = [];
  #steps: Operation[] = [];
  #queues: Tensor[] = [];

  constructor(context: RewriteContext) {
    this.#context = context;
  }

  /** Hands `given` to the run, in which `make` makes of them one tensor of the first one's type, and gives that to the step. */
  run(
    site: Site,
    name: string,
    given: readonly Typed[],
    make: (taken: readonly Tensor[]) => Operation,
  ): Collected {
    const number = this.#count++;
    const own = { ...site, device: this.#context.devices.cpu };
    const passage = (way: 'given' | 'made', dtypes: readonly DType[]): Passage =>
      new Passage(own, [name, way], dtypes, {
        container: this.#context.digest,
        name: collectiveQueueName(number, way),
      });
    const dtypes = given.map(([, dtype]) => dtype);
    const [there, back] = [passage('given', dtypes), passage('made', dtypes.slice(0, 1))];
    const give = there.put(given.map(([tensor]) => tensor));
    const take = there.take([]);
    const made = make(given.map((_, i) => take.output(i)));
    const end = back.put([made.output()]);
    const result = back.take([give]);
    this.#ends.push(end);
    this.#alone.push(take, made, end);
    this.#steps.push(give, result);
    this.#queues.push(there.queue, back.queue);
    return { tensor: result.output(), operation: made };
  }

  /** The exchange of all that was handed over since the last one; undefined if that is nothing. */
  end(site: Site): BackgroundExchange | undefined {
    if (this.#ends.length === 0) return undefined;
    const own = { ...site, device: this.#context.devices.cpu };
    const run = group(own, newName(own, 'exchange'), this.#ends);
    const [alone, steps, queues] = [[...this.#alone, run], this.#steps, this.#queues];
    [this.#ends, this.#alone, this.#steps, this.#queues] = [[], [], [], []];
    return { run, alone, steps, queues };
  }
}

/** A queue of one element between a step and the run. */
class Passage {
  readonly queue: Tensor;
  readonly #site: Site;
  readonly #name: readonly string[];

  constructor(
    site: Site,
    name: readonly string[],
    types: readonly DType[],
    shared: { readonly container: string; readonly name: string },
  ) {
    this.#site = site;
    this.#name = name;
    const { container, name: sharedName } = shared;
    this.queue = fifoQueue(site, [...name, 'queue'], { types, capacity: 1, container, sharedName });
  }

  put(tensors: readonly Tensor[]): Operation {
    return enqueue(this.#site, [...this.#name, 'put'], this.queue, tensors);
  }

  take(after: readonly Operation[]): Operation {
    return dequeue(this.#site, [...this.#name, 'take'], this.queue, after);
  }
}
