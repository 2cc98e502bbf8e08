/**
 * Feeds that gradients were found on the condition of: all tasks must be fed the same in one round of training. A task may be asked for its
 * rounds before the others are, so what is fed is kept until every task has begun the round.
 */
import { GradsyncError } from '../errors.js';
import { printShape } from '../graph/shape.js';
import type { PreparedProgram, TensorData } from './executor.js';
import type { RunPlan } from './request.js';

/** A request of a task, and the program it was compiled to. */
export interface AskedRun {
  readonly task: number;
  readonly feeds: Readonly<Record<string, TensorData>>;
  readonly program: PreparedProgram;
}

/** What a task feeds; undefined stands for the placeholder's own default. */
interface Given {
  readonly task: number;
  readonly value: TensorData | undefined;
}

/** By name, what the first task fed that begins the round. */
type Round = Map<string, Given>;

export class AlikeFeeds {
  /** Names of the user's, with the tensors they stand for, for each task. */
  readonly #tensors: readonly (readonly (readonly [name: string, tensors: readonly string[]])[])[];
  /** Rounds of training that each task has begun. */
  readonly #begun: number[];
  readonly #rounds = new Map<number, Round>();

  constructor(plans: readonly RunPlan[]) {
    this.#begun = plans.map(() => 0);
    this.#tensors = plans.map(({ feeds }) =>
      Object.entries(feeds).flatMap(([name, { alike, tensors }]) =>
        alike === true ? [[name, tensors] as const] : [],
      ),
    );
  }

  /**
   * Gives back what counts the rounds that these runs begin.
   *
   * @throws GradsyncError INVALID_ARGUMENT if one is fed otherwise than another task in the same round.
   */
  check(runs: readonly AskedRun[]): () => void {
    const training = runs.filter(({ program }) => program.meetings.length > 0);
    const rounds = new Map<number, Round>();
    for (const run of training) {
      const number = this.#begun[run.task]!;
      const round = rounds.get(number) ?? new Map(this.#rounds.get(number));
      this.#check(run, round);
      rounds.set(number, round);
    }
    return () => this.#begin(training, rounds);
  }

  #begin(training: readonly AskedRun[], rounds: ReadonlyMap<number, Round>): void {
    for (const [number, round] of rounds) this.#rounds.set(number, round);
    for (const { task } of training) this.#begun[task]!++;
    const first = Math.min(...this.#begun);
    for (const number of this.#rounds.keys()) if (number < first) this.#rounds.delete(number);
  }

  #check({ task, feeds, program }: AskedRun, round: Round): void {
    for (const [name, tensors] of this.#tensors[task]!) {
      const value = Object.hasOwn(feeds, name) ? feeds[name] : undefined;
      // A task whose step does not need it has no say.
      if (value === undefined && !tensors.some((tensor) => program.defaults.includes(tensor))) continue;
      const first = round.get(name);
      // Kept beyond the run, which takes the array over.
      if (first === undefined) round.set(name, { task, value: value && copyOf(value) });
      else if (!isSame(first.value, value)) throw unlike(name, first, { task, value });
    }
  }
}

function copyOf(value: TensorData): TensorData {
  return { ...value, data: value.data.slice() as TensorData['data'] };
}

function isSame(a: TensorData | undefined, b: TensorData | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  if (printShape(a.shape) !== printShape(b.shape) || a.data.length !== b.data.length) return false;
  return a.data.every((element: unknown, i: number) => Object.is(element, b.data[i]));
}

function unlike(name: string, first: Given, second: Given): GradsyncError {
  return new GradsyncError('INVALID_ARGUMENT', `Feed "${name}"`, {
    expected: 'the same value in all tasks of one step, as gradients are averaged on that condition',
    received: `${printGiven(first)} in task ${first.task} and ${printGiven(second)} in task ${second.task}`,
    remedy:
      'feed it alike; if it holds examples, say so: with its shape in the graph, or as a feed that is split (--feed)',
    task: second.task,
  });
}

/** Elements that are shown of a value. */
const SHOWN = 4;

function printGiven({ value }: Given): string {
  if (value === undefined) return 'its default';
  const { dtype, shape, data } = value;
  const elements = Array.from({ length: Math.min(SHOWN, data.length) }, (_, i) => String(data[i]));
  const rest = data.length > SHOWN ? ', ...' : '';
  return `${dtype} ${printShape(shape)} (${elements.join(', ')}${rest})`;
}
