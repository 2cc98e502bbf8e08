/** Where the batches of one task come from, and the wait for those of several: who has the next one does not wait for ever for who has not. */
import { GradsyncError } from '../errors.js';
import type { TensorData } from './executor.js';

export type Feeds = Readonly<Record<string, TensorData>>;

/** The feeds of one task's steps, in order. */
export type Batches = Iterable<Feeds> | AsyncIterable<Feeds>;

export class BatchSource {
  readonly task: number;
  readonly #iterator: Iterator<Feeds> | AsyncIterator<Feeds>;
  #state: 'idle' | 'asked' | 'ended' = 'idle';

  constructor(batches: Batches, task: number) {
    this.task = task;
    this.#iterator =
      Symbol.asyncIterator in batches ? batches[Symbol.asyncIterator]() : batches[Symbol.iterator]();
  }

  /** Undefined when there are no more, and ever after. */
  async next(): Promise<Feeds | undefined> {
    if (this.#state === 'ended') return undefined;
    this.#state = 'asked';
    try {
      const { done, value } = await this.#iterator.next();
      this.#state = done === true ? 'ended' : 'idle';
      return done === true ? undefined : value;
    } catch (error) {
      this.#state = 'ended';
      throw error;
    }
  }

  /** Tells the iterable that nobody will ask any more. One that is asked and does not answer is not waited for. */
  async close(): Promise<void> {
    if (this.#state === 'ended') return;
    const isAsked = this.#state === 'asked';
    this.#state = 'ended';
    const returned = Promise.resolve(this.#iterator.return?.());
    if (isAsked) returned.catch(() => undefined);
    else await returned;
  }
}

/** setTimeout takes no more. */
const LONGEST_MS = 2 ** 31 - 1;

/** How long batches are waited for. */
export interface Patience {
  /** Milliseconds after the first has come. */
  readonly deadlineMs: number;
  /** Aborted, with an error as the reason, when nobody needs them any more. */
  readonly over: AbortSignal;
}

/**
 * The next batch of each, undefined of one that has ended.
 *
 * @throws GradsyncError DEADLINE_EXCEEDED naming the tasks whose batches did not come in time; the reason of an abort; what an iterable
 * throws.
 */
export function nextBatches(
  sources: readonly BatchSource[],
  step: number,
  { deadlineMs, over }: Patience,
): Promise<readonly (Feeds | undefined)[]> {
  const missing = new Set(sources.map(({ task }) => task));
  let timer: NodeJS.Timeout | undefined;
  let stop = (): void => undefined;
  return new Promise<readonly (Feeds | undefined)[]>((resolve, reject) => {
    stop = () => reject(over.reason);
    if (over.aborted) stop();
    over.addEventListener('abort', stop);
    const arrived = async (source: BatchSource): Promise<Feeds | undefined> => {
      const batch = await source.next();
      missing.delete(source.task);
      if (batch !== undefined && Number.isFinite(deadlineMs)) {
        timer ??= setTimeout(() => reject(late(missing, step, deadlineMs)), Math.min(deadlineMs, LONGEST_MS));
      }
      return batch;
    };
    Promise.all(sources.map(arrived)).then(resolve, reject);
  }).finally(() => {
    clearTimeout(timer);
    over.removeEventListener('abort', stop);
  });
}

function late(missing: ReadonlySet<number>, step: number, deadlineMs: number): GradsyncError {
  const [task] = missing;
  return new GradsyncError('DEADLINE_EXCEEDED', 'Training', {
    expected: `the batches of step ${step} within ${deadlineMs} ms of each other`,
    received: `none for task ${[...missing].join(', ')}`,
    remedy: 'let an iterable end that has no more batches, or raise deadlineMs',
    step,
    ...(task === undefined ? {} : { task }),
  });
}
