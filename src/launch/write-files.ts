/** Writing several files of one folder so that a reader finds all of them complete or none: to temporary names first, then renamed. */
import { existsSync, mkdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileError } from '../errors.js';

/** Writes `files` (name to content) into `folder`, which is made if need be; a GradsyncError leaves no temporary file behind. */
export function writeFiles(folder: string, files: Readonly<Record<string, Uint8Array | string>>): void {
  const names = Object.keys(files);
  const temporary = (name: string): string => join(folder, `.${name}.${process.pid}.tmp`);
  try {
    makeFolder(folder);
    for (const name of names) writeFileSync(temporary(name), files[name]!);
    for (const name of names) refuseFolder(join(folder, name));
    for (const name of names) renameSync(temporary(name), join(folder, name));
  } catch (cause) {
    for (const name of names) discard(temporary(name));
    throw fileError('Writing into', folder, cause);
  }
}

/** Makes the folders that are missing one by one: where none can be made (/proc), Node's own recursion never ends. */
function makeFolder(folder: string): void {
  const missing: string[] = [];
  for (let at = resolve(folder); !existsSync(at) && at !== dirname(at); at = dirname(at)) missing.push(at);
  for (const path of missing.reverse()) {
    try {
      mkdirSync(path);
    } catch (error) {
      // Somebody else may have made it in between.
      if (statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) throw error;
    }
  }
  if (statSync(folder).isDirectory()) return;
  throw Object.assign(new Error(`${folder} is a file`), { code: 'EEXIST' });
}

/** A rename onto a folder fails; found out before the first rename, nothing is half done. */
function refuseFolder(path: string): void {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) return;
  throw Object.assign(new Error(`${path} is a folder`), { code: 'EISDIR' });
}

function discard(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {
    // The folder itself may be what is wrong; the first error says so.
  }
}
