/** Checkpoints of a session, in either format; files in the safetensors format are read whole, and replaced in one move. */
import { readFile } from 'node:fs/promises';
import { fileError } from '../errors.js';
import { restoreBundle, saveBundle } from './bundle-checkpoint.js';
import type { CheckpointPlace } from './checkpoint-format.js';
import { replaceFiles } from './replace-file.js';
import { decodeSafetensors, encodeSafetensors, type TensorFile } from './safetensors.js';
import { restoreState, type SavedSession, stateToSave } from './saved-state.js';

export async function saveState(session: SavedSession, { format, path }: CheckpointPlace): Promise<void> {
  if (format === 'tensorflow') await saveBundle(session, path);
  else await writeCheckpoint(path, await stateToSave(session));
}

export async function restoreSaved(session: SavedSession, { format, path }: CheckpointPlace): Promise<void> {
  if (format === 'tensorflow') await restoreBundle(session, path);
  else await restoreState(session, await readCheckpoint(path), path);
}

export async function writeCheckpoint(path: string, content: TensorFile): Promise<void> {
  await replaceFiles([{ path, chunks: encodeSafetensors(content) }]);
}

export async function readCheckpoint(path: string): Promise<TensorFile> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (error) {
    throw fileError('Checkpoint', path, error);
  }
  return decodeSafetensors(bytes, path);
}
