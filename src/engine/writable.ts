/** Finding out that a file can be written before the work that is to fill it begins. */
import { closeSync, openSync, rmSync } from 'node:fs';

/** Throws the file system's error for a file that cannot be written. What is there stays as it is, and no file is left where none was. */
export function tryWriting(file: string): void {
  if (isNew(file)) rmSync(file);
  else closeSync(openSync(file, 'a'));
}

/** Makes an empty file, unless there is something of that name. */
function isNew(file: string): boolean {
  try {
    closeSync(openSync(file, 'wx'));
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}
