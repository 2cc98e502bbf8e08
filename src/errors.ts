/**
 * The one error class of gradsync, with a closed set of codes: TensorFlow's canonical status codes (absl::StatusCode), so that an error
 * raised in C++, in TensorFlow and here means the same.
 */

/** Status codes, in the numbering of TensorFlow's `TF_Code` (index = number; 0 is OK and never an error). */
export const ERROR_CODES = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
] as const;

export type ErrorCode = Exclude<(typeof ERROR_CODES)[number], 'OK'>;

/** What an error is about, machine readable. All fields are optional; texts are the names a user knows. */
export interface ErrorDetails {
  /** What was wanted, e.g. `one of ps, ps-lb`. */
  readonly expected?: string;
  /** What came instead. */
  readonly received?: string;
  /** What to do about it. */
  readonly remedy?: string;
  readonly operation?: string;
  readonly variable?: string;
  readonly task?: number;
  /** The training step, from 1; of what failed between steps, the last one begun (0 before the first). */
  readonly step?: number;
  readonly file?: string;
}

/**
 * An error whose message reads *expected X for Y but received Z; do W*.
 *
 * @example
 * ```ts
 * throw new GradsyncError('INVALID_ARGUMENT', 'Strategy', {
 *   expected: 'one of ps, ps-lb', received: '"pss"', remedy: 'pass a known name to --strategy',
 * });
 * // message: "Strategy: expected one of ps, ps-lb but received "pss"; pass a known name to --strategy"
 * ```
 */
export class GradsyncError extends Error {
  readonly code: ErrorCode;
  /** What the error is about; the message begins with it. */
  readonly subject: string;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, subject: string, details: ErrorDetails = {}, options?: { cause?: unknown }) {
    super(messageOf(subject, details), options);
    this.name = 'GradsyncError';
    this.code = code;
    this.subject = subject;
    this.details = details;
  }
}

function messageOf(subject: string, { expected, received, remedy }: ErrorDetails): string {
  const difference = expected === undefined ? undefined : `expected ${expected}`;
  const got = received === undefined ? undefined : `received ${received}`;
  const body = [difference, got].filter((part) => part !== undefined).join(' but ');
  return [body === '' ? subject : `${subject}: ${body}`, remedy]
    .filter((part) => part !== undefined)
    .join('; ');
}

/** The message of anything thrown. */
export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

const LONGEST_EXCERPT = 80;

/** Text that came from outside, for a message: at most 80 characters, with a dot for each that cannot be printed. */
export function excerpt(text: string): string {
  const shown = text.slice(0, LONGEST_EXCERPT + 1).replace(/[^\p{L}\p{M}\p{N}\p{P}\p{S} ]|\uFFFD/gu, '.');
  return shown.length > LONGEST_EXCERPT ? `${shown.slice(0, LONGEST_EXCERPT - 3)}...` : shown;
}

const FILE_CODES: Readonly<Record<string, readonly [code: ErrorCode, remedy: string]>> = {
  ENOENT: ['NOT_FOUND', 'check the path'],
  EACCES: ['PERMISSION_DENIED', 'choose another path, or change the permissions'],
  EPERM: ['PERMISSION_DENIED', 'choose another path, or change the permissions'],
  EROFS: ['PERMISSION_DENIED', 'choose a path that can be written'],
  ENOTDIR: ['FAILED_PRECONDITION', 'choose a path whose parents are folders'],
  EISDIR: ['FAILED_PRECONDITION', 'choose a file, not a folder'],
  EEXIST: ['FAILED_PRECONDITION', 'choose a folder, or a path that is free'],
  ERR_INVALID_ARG_VALUE: ['INVALID_ARGUMENT', 'choose a path without null bytes'],
  ENAMETOOLONG: ['INVALID_ARGUMENT', 'choose a shorter path'],
  ELOOP: ['FAILED_PRECONDITION', 'choose a path without links that lead in a circle'],
  ENOSPC: ['RESOURCE_EXHAUSTED', 'make room, or choose another disk'],
};

/** A failure of the file system as a typed error: `subject` says what was being done with `file`. */
export function fileError(subject: string, file: string, cause: unknown): GradsyncError {
  const system = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  const [code, remedy] = FILE_CODES[system] ?? ['UNKNOWN', 'check the path'];
  const details = { received: errorMessage(cause), remedy, file };
  return new GradsyncError(code, `${subject} ${JSON.stringify(file)}`, details, { cause });
}
