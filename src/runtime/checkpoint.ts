/** Checkpoints of a session, in either format; files in the safetensors format are read whole, and replaced in one move. */
import { readFile } from 'node:fs/promises';
import { fileError } from '../errors.js';
import type { BackgroundRounds } from './background-rounds.js';
import { restoreBundle, saveBundle } from './bundle-checkpoint.js';
import type { CheckpointPlace } from './checkpoint-format.js';
import type { Executor } from './executor.js';
import { replaceFiles } from './replace-file.js';
import { decodeSafetensors, encodeSafetensors, type TensorFile } from './safetensors.js';
import { restoreState, stateToSave } from './saved-state.js';

export async function saveState(
  executor: Executor,
  place: CheckpointPlace,
  rounds: BackgroundRounds,
): Promise<void> {
  const { format, path } = place;
  if (format === 'tensorflow') await saveBundle(executor, rounds, path);
  else await writeCheckpoint(path, await stateToSave(executor, rounds));
}

export async function restoreSaved(
  executor: Executor,
  place: CheckpointPlace,
  rounds: BackgroundRounds,
): Promise<void> {
  const { format, path } = place;
  if (format === 'tensorflow') await restoreBundle(executor, rounds, path);
  else await restoreState(executor, rounds, await readCheckpoint(path), path);
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
