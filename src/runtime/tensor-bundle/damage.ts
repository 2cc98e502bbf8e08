/** The error of a checkpoint that does not hold together. */
import { GradsyncError } from '../../errors.js';

/** DATA_LOSS naming the file and, where it is about one, the tensor. */
export function damaged(
  file: string,
  expected: string,
  received: string,
  tensor?: string,
  cause?: unknown,
): GradsyncError {
  const subject = `Checkpoint ${file}`;
  return new GradsyncError(
    'DATA_LOSS',
    tensor === undefined ? subject : `${subject}, tensor "${tensor}"`,
    {
      expected,
      received,
      remedy: 'use a checkpoint that was written and copied completely',
      file,
      ...(tensor !== undefined && { variable: tensor }),
    },
    { cause },
  );
}

/** A checksum, for a message. */
export function printCrc(crc: number): string {
  return `crc32c 0x${crc.toString(16).padStart(8, '0')}`;
}
