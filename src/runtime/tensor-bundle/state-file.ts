/**
 * The file `checkpoint` that TensorFlow keeps beside its checkpoints: which is the latest, and which there are (CheckpointState, in
 * protocol buffers' text form). Paths in it are relative to its folder.
 */
import { readFile } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { fileError, GradsyncError } from '../../errors.js';
import type { NewFile } from '../replace-file.js';

export interface CheckpointState {
  readonly latest: string;
  readonly all: readonly string[];
}

const LATEST = 'model_checkpoint_path';
const ALL = 'all_model_checkpoint_paths';
const FIELD = /^\s*(\w+)\s*:\s*(?:"((?:[^"\\]|\\.)*)"|[-+.\w]+)\s*$/;
const ESCAPE = /\\([0-7]{1,3}|.)/g;
const CONTROLS: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t' };

export function stateFile(folder: string): string {
  return resolve(folder, 'checkpoint');
}

/** The prefix of the latest checkpoint in a folder. */
export async function latestCheckpoint(folder: string): Promise<string> {
  const file = stateFile(folder);
  const text = await readFile(file, 'latin1').catch((error) => {
    throw (error as NodeJS.ErrnoException).code === 'ENOENT'
      ? noState(folder, error)
      : fileError('Checkpoint', file, error);
  });
  const state = parseState(text);
  if (state === undefined) throw notAState(file, 'DATA_LOSS', 'name the checkpoint itself');
  return resolve(folder, state.latest);
}

function noState(folder: string, cause: unknown): GradsyncError {
  const details = {
    expected: 'a file "checkpoint" in this folder, which names the latest one',
    received: 'none',
    remedy: 'name the checkpoint itself: a safetensors file, or what the names of its files begin with',
    file: folder,
  };
  return new GradsyncError('NOT_FOUND', `Checkpoint ${JSON.stringify(folder)}`, details, { cause });
}

/** The file that makes the checkpoint with this prefix the latest of its folder; those named before stay. */
export async function nextState(prefix: string): Promise<NewFile> {
  const folder = dirname(resolve(prefix));
  const path = stateFile(folder);
  const latest = basename(prefix);
  const all = (await earlierState(path)).filter((other) => resolve(folder, other) !== resolve(prefix));
  return { path, chunks: [Buffer.from(printState({ latest, all: [...all, latest] }))] };
}

/** The checkpoints that a file names, or none if it is not there. One that is something else must not be replaced. */
async function earlierState(path: string): Promise<readonly string[]> {
  let text: string;
  try {
    text = await readFile(path, 'latin1');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw fileError('Checkpoint', path, error);
  }
  const state = parseState(text);
  if (state !== undefined) return state.all;
  throw notAState(path, 'FAILED_PRECONDITION', 'move it away, or choose another folder');
}

/** Undefined unless it is a CheckpointState. Bytes are given as characters of one byte each. */
export function parseState(text: string): CheckpointState | undefined {
  const values = new Map<string, string[]>();
  for (const line of text.split('\n')) {
    if (line.trim() === '') continue;
    const field = FIELD.exec(line);
    if (field === null) return undefined;
    const [, name = '', value = ''] = field;
    values.set(name, [...(values.get(name) ?? []), unquoted(value)]);
  }
  const latest = values.get(LATEST)?.at(-1);
  return latest === undefined || latest === '' ? undefined : { latest, all: values.get(ALL) ?? [] };
}

export function printState({ latest, all }: CheckpointState): string {
  return [[LATEST, latest], ...all.map((path) => [ALL, path])]
    .map(([name, path = '']) => `${name}: "${quoted(path)}"\n`)
    .join('');
}

function quoted(path: string): string {
  const code = (byte: number): string => `\\${byte.toString(8).padStart(3, '0')}`;
  return [...Buffer.from(path)]
    .map((byte) => {
      const character = String.fromCharCode(byte);
      if (character === '"' || character === '\\') return `\\${character}`;
      return byte >= 0x20 && byte < 0x7f ? character : code(byte);
    })
    .join('');
}

function unquoted(text: string): string {
  const bytes = text.replace(ESCAPE, (_, escaped: string) =>
    /^[0-7]/.test(escaped)
      ? String.fromCharCode(Number.parseInt(escaped, 8) & 0xff)
      : (CONTROLS[escaped] ?? escaped),
  );
  return Buffer.from(bytes, 'latin1').toString();
}

function notAState(file: string, code: 'DATA_LOSS' | 'FAILED_PRECONDITION', remedy: string): GradsyncError {
  return new GradsyncError(code, `Checkpoint ${file}`, {
    expected: `TensorFlow's list of checkpoints (${LATEST}: "...")`,
    received: 'something else',
    remedy,
    file,
  });
}
