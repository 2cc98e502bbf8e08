/** Errors of the command line itself, told from errors of the work by their class: they end the process with another exit code. */
import { GradsyncError } from '../errors.js';

export class UsageError extends GradsyncError {
  constructor(subject: string, expected: string, received: string, options?: { cause?: unknown }) {
    super('INVALID_ARGUMENT', subject, { expected, received, remedy: 'see gradsync --help' }, options);
  }
}
