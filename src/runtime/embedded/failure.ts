/** Failures: how what went wrong in a task thread becomes one error that names task, operation and step, and for a missed deadline who is missing. */
import { type ErrorDetails, errorMessage, GradsyncError } from '../../errors.js';
import type { Operation } from '../../graph/operation.js';
import { explainAbort } from './backend.js';
import type { Activity } from './board.js';
import { WaitError } from './kernels/wait.js';
import { encodeError, errorCode, type PortableError, withMessage } from './messages.js';
import { OperationFailure } from './step.js';

/** What a task thread reports when it cannot go on. */
export interface FailureReport {
  readonly error: PortableError;
  /** Key of the accumulator or queue whose wait failed. */
  readonly waitedFor?: string;
}

export function reportFailure(thrown: unknown, where: Omit<Place, 'operation'>): FailureReport {
  const operation = thrown instanceof OperationFailure ? thrown.operation : undefined;
  const inner = thrown instanceof OperationFailure ? thrown.cause : thrown;
  const cause = explainAbort(inner instanceof WaitError ? inner.cause : inner);
  const place = { ...where, operation };
  const details = cause instanceof GradsyncError ? cause.details : {};
  const error = withMessage(errorCode(cause), `${printPlace(place)}: ${errorMessage(cause)}`, {
    ...details,
    ...placeDetails(place),
  });
  if (cause instanceof Error && cause.stack !== undefined) error.stack = cause.stack;
  const report = { error: encodeError(error) };
  return inner instanceof WaitError ? { ...report, waitedFor: inner.key } : report;
}

interface Place {
  readonly task: number;
  /** Training steps begun. */
  readonly step: number;
  readonly activity: Activity;
  /** Whether these are no steps of the task's, but rounds it runs in the background. */
  readonly inBackground: boolean;
  readonly operation: Pick<Operation, 'name' | 'type'> | undefined;
}

/** `Task 1, step 3, operation "W/take" (AccumulatorTakeGradient)`. */
export function printPlace({ task, step, activity, inBackground, operation }: Place): string {
  const when = inBackground ? `round ${step} in the background` : printMoment(step, activity);
  const where = operation === undefined ? '' : `, operation "${operation.name}" (${operation.type})`;
  return `Task ${task}, ${when}${where}`;
}

/** `step 3`, `after step 3`. */
export function printMoment(step: number, activity: Activity): string {
  if (activity === 'step') return `step ${step}`;
  return step === 0 ? 'before the first step' : `after step ${step}`;
}

export function placeDetails({ task, step, operation }: Place): ErrorDetails {
  return { task, step, ...(operation === undefined ? {} : { operation: operation.name }) };
}

/** What a task says of an accumulator or queue; undefined if it did not answer. */
export interface Arrival {
  readonly given: number;
  readonly taken: number;
  /** What the task gave to all of them together. */
  readonly gifts: number;
}

export interface TaskState {
  readonly task: number;
  /** Where the task is, in words: `idle after step 3`, `in step 4 at "x" (MatMul)`. */
  readonly whereabouts: string;
  readonly arrival: Arrival | undefined;
}

/**
 * The error of a wait that nobody ended, naming who is missing: of an accumulator, the tasks that gave less often than the waiting one
 * has to take; of a queue (`waiter` only takes or only gives), everyone else, with where they are; of rounds in the background, the tasks that
 * gave least.
 */
export function missingError(
  error: GradsyncError,
  waiter: number,
  states: readonly TaskState[],
  inBackground: boolean,
): GradsyncError {
  const missing = inBackground ? behind(waiter, states) : absent(waiter, states);
  const list = missing.map(({ task, whereabouts }) => `task ${task} (${whereabouts})`).join(', ');
  const message = `${error.message}; missing: ${list === '' ? 'nobody, the waiting task itself' : list}`;
  return withMessage(error.code, message, error.details, error);
}

function behind(waiter: number, states: readonly TaskState[]): readonly TaskState[] {
  const others = states.filter(({ task }) => task !== waiter);
  const gifts = ({ arrival }: TaskState): number => arrival?.gifts ?? 0;
  const least = Math.min(...others.map(gifts));
  return others.filter((state) => gifts(state) === least);
}

function absent(waiter: number, states: readonly TaskState[]): readonly TaskState[] {
  const taken = states.find(({ task }) => task === waiter)?.arrival?.taken ?? 0;
  const gave = states.some(({ arrival }) => (arrival?.given ?? 0) > 0);
  const others = states.filter(({ task }) => task !== waiter);
  const late = states.filter(({ arrival }) => arrival === undefined || arrival.given <= taken);
  return gave && late.length > 0 && late.length < states.length ? late : others;
}
