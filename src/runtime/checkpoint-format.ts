/** Which format a checkpoint has: as asked for, or as its path and the files that are there say. */
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { GradsyncError } from '../errors.js';
import { indexFile } from './tensor-bundle/read-bundle.js';
import { latestCheckpoint } from './tensor-bundle/state-file.js';

/** `tensorflow` is that of tf.compat.v1.train.Saver (tensor bundle, V2): a path names several files, which begin with it. */
export const CHECKPOINT_FORMATS = ['safetensors', 'tensorflow'] as const;
export type CheckpointFormat = (typeof CHECKPOINT_FORMATS)[number];

/** The names that TensorFlow's programs give: `model.ckpt`, `model.ckpt-1000`. */
const TENSORFLOW_NAME = /\.ckpt(-\d+)?$/;
const INDEX_ENDING = '.index';

export interface CheckpointPlace {
  readonly format: CheckpointFormat;
  /** A file, or the prefix of TensorFlow's. */
  readonly path: string;
}

/** The format in which a checkpoint of that path is written, unless another is asked for. */
export function formatToSave(path: string): CheckpointFormat {
  return TENSORFLOW_NAME.test(basename(path)) ? 'tensorflow' : 'safetensors';
}

/**
 * What is to be restored: a safetensors file; TensorFlow's checkpoint with this prefix or index; the latest of a folder.
 *
 * @throws GradsyncError FAILED_PRECONDITION where there is a file and a checkpoint of TensorFlow's of that name, and no format is given.
 */
export async function findCheckpoint(path: string, format?: CheckpointFormat): Promise<CheckpointPlace> {
  if (format === 'safetensors') return { format, path };
  const kind = await kindOf(path);
  if (kind === 'folder') return { format: 'tensorflow', path: await latestCheckpoint(path) };
  const hasIndex = (await kindOf(indexFile(path))) === 'file';
  if (hasIndex && kind === 'file' && format === undefined) throw ambiguous(path);
  if (!hasIndex && kind === 'file' && path.endsWith(INDEX_ENDING))
    return { format: 'tensorflow', path: path.slice(0, -INDEX_ENDING.length) };
  return { format: hasIndex ? 'tensorflow' : (format ?? 'safetensors'), path };
}

/** What is there; what cannot be looked at is found out when it is opened. */
async function kindOf(path: string): Promise<'file' | 'folder' | undefined> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isDirectory()) return 'folder';
  return found?.isFile() ? 'file' : undefined;
}

function ambiguous(path: string): GradsyncError {
  return new GradsyncError('FAILED_PRECONDITION', `Checkpoint ${path}`, {
    expected: 'one checkpoint',
    received: `a file of that name, and ${indexFile(path)}`,
    remedy: 'give the format: "safetensors" or "tensorflow"',
    file: path,
  });
}
