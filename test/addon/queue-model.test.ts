/** Random schedules of a token queue through JavaScript, against a model of TensorFlow's FIFOQueue. */
import test, { type ExecutionContext } from 'ava';
import type { NativeTensor, NativeTokenQueue } from '../../src/addon/index.js';
import { addon, PATIENT } from '../helpers/addon.js';
import { fc } from '../helpers/properties.js';
import { byId, type Outcome, Settling } from '../helpers/settling.js';

const EVENTS = ['enqueue', 'enqueueMany', 'dequeue', 'dequeueMany', 'close', 'closeNow', 'cancel'] as const;
type Event = readonly [(typeof EVENTS)[number], number];

type Producer =
  | { readonly kind: 'enqueue'; readonly id: number; items: readonly number[] }
  | { readonly kind: 'close'; readonly id: number };

interface Consumer {
  readonly id: number;
  readonly count: number;
  got: readonly number[];
}

class Model {
  readonly outcomes = new Map<number, Outcome>();
  elements: readonly number[] = [];
  producers: Producer[] = [];
  consumers: Consumer[] = [];
  isClosed = false;

  constructor(readonly capacity: number) {}

  /** Heads of both sides go on while any can. */
  settle(): void {
    let before: string;
    do {
      before = JSON.stringify([this.elements, this.producers, this.consumers]);
      this.#produce();
      this.#consume();
    } while (before !== JSON.stringify([this.elements, this.producers, this.consumers]));
  }

  #produce(): void {
    const head = this.producers[0];
    if (head === undefined) return;
    if (head.kind === 'close' || this.isClosed) {
      this.outcomes.set(head.id, this.isClosed ? { code: 'CANCELLED' } : { value: undefined });
      this.isClosed = true;
      this.producers.shift();
      return;
    }
    const room = Math.max(0, this.capacity - this.elements.length);
    this.elements = [...this.elements, ...head.items.slice(0, room)];
    head.items = head.items.slice(room);
    if (head.items.length > 0) return;
    this.outcomes.set(head.id, { value: undefined });
    this.producers.shift();
  }

  #consume(): void {
    const head = this.consumers[0];
    if (head === undefined) return;
    const missing = head.count - head.got.length;
    head.got = [...head.got, ...this.elements.slice(0, missing)];
    this.elements = this.elements.slice(missing);
    if (head.got.length === head.count) this.outcomes.set(head.id, { value: head.got });
    else if (this.isClosed && this.producers.length === 0) this.#fail(head, 'OUT_OF_RANGE');
    else return;
    this.consumers = this.consumers.filter((consumer) => consumer !== head);
  }

  #fail(consumer: Consumer, code: string): void {
    this.elements = [...consumer.got, ...this.elements];
    this.outcomes.set(consumer.id, { code });
  }

  closeNow(): void {
    this.isClosed = true;
    for (const { id } of this.producers) this.outcomes.set(id, { code: 'CANCELLED' });
    this.producers = [];
  }

  cancel(id: number): void {
    if (this.outcomes.has(id)) return;
    this.outcomes.set(id, { code: 'CANCELLED' });
    this.producers = this.producers.filter((producer) => producer.id !== id);
    const consumer = this.consumers.find((waiting) => waiting.id === id);
    if (consumer !== undefined) this.#fail(consumer, 'CANCELLED');
    this.consumers = this.consumers.filter((waiting) => waiting !== consumer);
  }
}

const batch = (items: readonly number[]): NativeTensor[] => [
  { dtype: 'int32', shape: [items.length], data: Int32Array.from(items) },
];
const single = (item: number): NativeTensor[] => [{ dtype: 'int32', shape: [], data: Int32Array.of(item) }];
const numbersOf = ([tensor]: readonly NativeTensor[]): number[] => [...(tensor!.data as Int32Array)];

class Pair {
  #token = 0;
  #ids: number[] = [];

  constructor(
    readonly queue: NativeTokenQueue,
    readonly model: Model,
    readonly settling: Settling,
  ) {}

  act([event, n]: Event): void {
    this[event](n);
    this.model.settle();
  }

  enqueue(): void {
    const item = this.#token++;
    const id = this.#watched(this.queue.enqueue(single(item), PATIENT), () => undefined);
    this.model.producers.push({ kind: 'enqueue', id, items: [item] });
  }

  enqueueMany(n: number): void {
    const items = Array.from({ length: n }, () => this.#token++);
    const id = this.#watched(this.queue.enqueueMany(batch(items), PATIENT), () => undefined);
    if (n === 0) this.model.outcomes.set(id, { value: undefined });
    else this.model.producers.push({ kind: 'enqueue', id, items });
  }

  dequeue(): void {
    const id = this.#watched(this.queue.dequeue(PATIENT), numbersOf);
    this.model.consumers.push({ id, count: 1, got: [] });
  }

  dequeueMany(n: number): void {
    const id = this.#watched(this.queue.dequeueMany(n, PATIENT), numbersOf);
    if (n === 0) this.model.outcomes.set(id, { value: [] });
    else this.model.consumers.push({ id, count: n, got: [] });
  }

  close(): void {
    const id = this.#watched(this.queue.close(false, PATIENT), () => undefined);
    this.model.producers.push({ kind: 'close', id });
  }

  closeNow(): void {
    const id = this.#watched(this.queue.close(true, PATIENT), () => undefined);
    this.model.outcomes.set(id, { value: undefined });
    this.model.closeNow();
  }

  cancel(n: number): void {
    const id = this.#ids[this.#ids.length - 1 - n];
    if (id === undefined) return;
    this.settling.cancel(id);
    this.model.cancel(id);
  }

  #watched<T>(
    pending: Parameters<Settling['watch']>[0] & { promise: Promise<T> },
    see: (value: T) => unknown,
  ) {
    const id = this.settling.watch(pending, see as (value: unknown) => unknown);
    this.#ids.push(id);
    return id;
  }
}

async function follows(t: ExecutionContext, capacity: number, schedule: readonly Event[]): Promise<void> {
  const session = addon.createSession({ name: 'model', threads: 1 });
  try {
    const queue = session.tokenQueue('q', { dtypes: ['int32'], shapes: [[]], capacity });
    const pair = new Pair(queue, new Model(capacity), new Settling(session));
    // In the end it is closed at once, and nobody may wait any more.
    for (const event of [...schedule, ['closeNow', 0] as const]) {
      pair.act(event);
      t.deepEqual(await pair.settling.outcomes(), byId(pair.model.outcomes), event.join(' '));
      t.is(queue.size, pair.model.elements.length);
      t.is(queue.isClosed, pair.model.isClosed);
    }
    t.deepEqual([pair.model.producers, pair.model.consumers], [[], []]);
  } finally {
    session.close('the schedule is over');
  }
}

test('a token queue follows the model of a FIFOQueue, whatever the schedule', async (t) => {
  // Closing is rare: most of a schedule should happen before.
  const event = fc.oneof(
    { weight: 12, arbitrary: fc.constantFrom(...EVENTS.slice(0, 4)) },
    { weight: 1, arbitrary: fc.constantFrom(...EVENTS.slice(4)) },
  );
  const schedule = fc.array(fc.tuple(event, fc.nat(4)), { minLength: 1, maxLength: 50 });
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 5 }), schedule, (capacity, events) =>
      follows(t, capacity, events),
    ),
    { numRuns: 300 },
  );
});
