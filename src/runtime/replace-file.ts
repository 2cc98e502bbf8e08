/**
 * Files that take their place in one move: written to a file beside the target, so that a crash leaves the old one. Through a symbolic link,
 * its target is written; nothing but a regular file is ever replaced.
 */
import { randomUUID } from 'node:crypto';
import { lstat, open, readlink, rename, rm } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { errorMessage, fileError, GradsyncError } from '../errors.js';

/** Links that lead to links, as many as Linux follows. */
const MOST_LINKS = 40;

/** A file and what it is to hold, in pieces. */
export interface NewFile {
  readonly path: string;
  readonly chunks: readonly Uint8Array[];
}

/** Where a file is written before it takes its place, the file it then is, and the path that was asked for. */
interface Draft {
  readonly file: string;
  readonly target: string;
  readonly path: string;
}

/** All files are written and on disk before the first of them takes its place; then they do in order. */
export async function replaceFiles(files: readonly NewFile[]): Promise<void> {
  const drafts: Draft[] = [];
  let at = files[0]?.path ?? '';
  try {
    for (const { path, chunks } of files) {
      at = path;
      const target = await targetOf(path);
      const file = `${target}.${randomUUID()}.part`;
      drafts.push({ file, target, path });
      await writeDraft(file, chunks);
    }
    for (const { file, target, path } of drafts) {
      at = path;
      await rename(file, target);
    }
  } catch (error) {
    for (const { file } of drafts) await rm(file, { force: true }).catch(() => undefined);
    throw error instanceof GradsyncError ? error : await writeError(at, drafts, error);
  }
}

/** What could not be written, in names that the caller knows. */
async function writeError(path: string, drafts: readonly Draft[], cause: unknown): Promise<GradsyncError> {
  const folder = dirname(drafts.at(-1)?.target ?? resolve(path));
  if (errorSystemCode(cause) === 'ENOENT' && !(await isThere(folder))) {
    return new GradsyncError(
      'NOT_FOUND',
      `Checkpoint ${JSON.stringify(path)}`,
      {
        expected: 'a folder that exists',
        received: `${JSON.stringify(folder)}, which does not`,
        remedy: 'make the folder, or choose another path',
        file: path,
      },
      { cause },
    );
  }
  const text = drafts.reduce(
    (message, { file, target }) => message.replaceAll(file, target),
    errorMessage(cause),
  );
  return fileError(
    'Checkpoint',
    path,
    Object.assign(new Error(text, { cause }), { code: errorSystemCode(cause) }),
  );
}

function isThere(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}

function errorSystemCode(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

async function writeDraft(path: string, chunks: readonly Uint8Array[]): Promise<void> {
  const file = await open(path, 'wx');
  try {
    for (const chunk of chunks) await file.writeFile(chunk);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Where a path leads: the file itself, or a place where there is nothing yet. */
async function targetOf(path: string): Promise<string> {
  let target = resolve(path);
  for (let links = 0; links < MOST_LINKS; links++) {
    const found = await lstat(target).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    if (found === undefined || found.isFile()) return target;
    if (!found.isSymbolicLink())
      throw notAFile(path, found.isDirectory() ? 'a folder' : 'a device, pipe or socket');
    target = resolve(dirname(target), await readlink(target));
  }
  throw notAFile(path, 'links that lead nowhere');
}

function notAFile(path: string, received: string): GradsyncError {
  return new GradsyncError('FAILED_PRECONDITION', `Checkpoint "${path}"`, {
    expected: 'a regular file, or a path that is free',
    received,
    remedy: 'choose the path of a file',
    file: path,
  });
}
