/** What the session's thread and the task threads say to each other, and how an error crosses between threads. */
import { ERROR_CODES, type ErrorCode, type ErrorDetails, errorMessage, GradsyncError } from '../../errors.js';
import type { PreparedProgram, ProgramRequest, TaskProgress, TensorData, VariableInfo } from '../executor.js';
import { withoutKeys } from './handles.js';

/** What a task thread is started with. */
export interface TaskOptions {
  readonly task: number;
  /** Its place on the board. */
  readonly row: number;
  /** The operation that the thread runs in a loop, in the background; null where it runs the task's steps. */
  readonly loop: string | null;
  /** A GraphDef. */
  readonly graph: Uint8Array;
  /** Id of the native session to attach to. */
  readonly session: string;
  /** Milliseconds one operation may wait; Infinity for no limit. */
  readonly deadlineMs: number;
  readonly board: SharedArrayBuffer;
  /** Where the thread counts what its steps move between so many tasks. */
  readonly traffic: SharedArrayBuffer;
  readonly taskCount: number;
  /** Where the thread writes what its time is spent on; null if it need not. */
  readonly record: SharedArrayBuffer | null;
}

export type ToTask =
  | { readonly kind: 'prepare'; readonly call: number; readonly request: ProgramRequest }
  | {
      readonly kind: 'run';
      readonly call: number;
      readonly program: number;
      readonly feeds: readonly TensorData[];
    }
  | {
      readonly kind: 'check';
      readonly call: number;
      readonly program: number;
      readonly shapes: readonly (readonly number[])[];
    }
  | { readonly kind: 'arrivals'; readonly call: number; readonly key: string }
  /** Runs the program again and again, until a queue it waits for is closed. There is no reply. */
  | { readonly kind: 'loop'; readonly program: number }
  /** Sets the task's progress first, where it is given. */
  | { readonly kind: 'progress'; readonly call: number; readonly progress?: TaskProgress };

export type FromTask =
  | {
      readonly kind: 'opened';
      readonly variables: readonly VariableInfo[];
      readonly meetings: readonly string[];
    }
  | { readonly kind: 'prepared'; readonly call: number; readonly program: PreparedProgram }
  /** A request that cannot be compiled; the session lives on. */
  | { readonly kind: 'refused'; readonly call: number; readonly error: PortableError }
  | { readonly kind: 'checked'; readonly call: number }
  | { readonly kind: 'done'; readonly call: number; readonly values: readonly TensorData[] }
  | { readonly kind: 'progress'; readonly call: number; readonly progress: TaskProgress }
  /**
   * How often this task put something into the accumulator or queue `key`, how often it took something out, and how often it put something
   * into any of them.
   */
  | {
      readonly kind: 'arrivals';
      readonly call: number;
      readonly given: number;
      readonly taken: number;
      readonly gifts: number;
    }
  /** A loop has run its program once more. */
  | { readonly kind: 'round' }
  /** The thread cannot go on. `waitedFor` is the key of the accumulator or queue whose deadline passed. */
  | { readonly kind: 'failed'; readonly error: PortableError; readonly waitedFor?: string };

/** An error as plain data. */
export interface PortableError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly details: ErrorDetails;
  readonly stack: string | undefined;
}

export function encodeError(error: unknown): PortableError {
  return {
    code: errorCode(error),
    message: withoutKeys(errorMessage(error)),
    details: error instanceof GradsyncError ? error.details : {},
    stack: error instanceof Error ? withoutKeys(error.stack ?? '') : undefined,
  };
}

export function decodeError({ code, message, details, stack }: PortableError): GradsyncError {
  const error = withMessage(code, message, details);
  if (stack !== undefined) error.stack = stack;
  return error;
}

/** An error whose message is complete as it stands. */
export function withMessage(
  code: ErrorCode,
  message: string,
  details: ErrorDetails,
  cause?: unknown,
): GradsyncError {
  const error = new GradsyncError(code, message, {}, cause === undefined ? undefined : { cause });
  return Object.assign(error, { details });
}

/** The code of anything thrown: native errors carry one too. */
export function errorCode(error: unknown): ErrorCode {
  const code = error instanceof Error ? (error as { code?: unknown }).code : undefined;
  return ERROR_CODES.find((known): known is ErrorCode => known !== 'OK' && known === code) ?? 'INTERNAL';
}
