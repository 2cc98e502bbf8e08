/**
 * Checkpoints of a session in TensorFlow's format. Variables have the names of the graph, so that the program for one device restores them;
 * what only a session needs to go on is in one tensor more, which TensorFlow passes over.
 */
import { GradsyncError } from '../errors.js';
import { elementCount } from '../graph/shape.js';
import { arrayType } from './array-types.js';
import type { TensorData } from './executor.js';
import { replaceFiles } from './replace-file.js';
import type { TensorFile } from './safetensors.js';
import {
  restoreState,
  type SavedSession,
  savedTaskCount,
  stateToSave,
  tensorsToRestore,
} from './saved-state.js';
import {
  type BundleTensor,
  findTensor,
  indexFile,
  openBundle,
  readTensor,
  type TensorBundle,
} from './tensor-bundle/read-bundle.js';
import { nextState } from './tensor-bundle/state-file.js';
import { encodeBundle } from './tensor-bundle/write-bundle.js';

/** Holds the metadata as JSON, a byte per element. No variable can have this name. */
const METADATA = '_gradsync_metadata';

/** Writes the files that begin with `prefix`, then makes it the latest checkpoint of its folder. */
export async function saveBundle(session: SavedSession, prefix: string): Promise<void> {
  const { tensors, metadata } = await stateToSave(session);
  const bundle = new Map<string, BundleTensor>();
  for (const [name, value] of tensors) bundle.set(name, { ...value, bytes: bytesOf(name, value) });
  const json = Buffer.from(JSON.stringify(metadata));
  bundle.set(METADATA, { dtype: 'uint8', shape: [json.length], bytes: json });
  await replaceFiles([...encodeBundle(prefix, bundle), await nextState(prefix)]);
}

/**
 * Gives a session the variables of a checkpoint, and its steps and random numbers where a session of as many tasks wrote it. Nothing is
 * changed unless everything fits.
 */
export async function restoreBundle(session: SavedSession, prefix: string): Promise<void> {
  const { taskCount } = session.executor;
  const bundle = await openBundle(prefix);
  const names = tensorsToRestore(session, (name) => findTensor(bundle, name) !== undefined);
  const read = new Map<string, TensorData>();
  const tensors = new Map<string, TensorData>();
  for (const [variable, name] of names) {
    if (findTensor(bundle, name) === undefined) continue;
    // Several tasks may go on from the same value.
    const value = read.get(name) ?? tensorData(await readTensor(bundle, name), name, indexFile(prefix));
    read.set(name, value);
    tensors.set(variable, value);
  }
  const metadata = await readMetadata(bundle);
  const tasks = metadata && (savedTaskCount(metadata) ?? taskCount);
  const progress = tasks === taskCount && metadata !== undefined ? { metadata } : {};
  await restoreState(session, { tensors, ...progress }, indexFile(prefix));
}

async function readMetadata(bundle: TensorBundle): Promise<TensorFile['metadata'] | undefined> {
  if (findTensor(bundle, METADATA) === undefined) return undefined;
  const { bytes } = await readTensor(bundle, METADATA);
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes).toString());
    return typeof value === 'object' && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}

function bytesOf(name: string, { dtype, data }: TensorData): Uint8Array {
  if (!ArrayBuffer.isView(data)) throw notNumeric('Session', name, dtype);
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

function tensorData({ dtype, shape, bytes }: BundleTensor, name: string, file: string): TensorData {
  const array = arrayType(dtype);
  if (array === undefined) throw notNumeric(`Checkpoint ${file}`, name, dtype);
  const count = elementCount(shape);
  return { dtype, shape, data: new array(bytes.buffer as ArrayBuffer, bytes.byteOffset, count) };
}

function notNumeric(subject: string, name: string, dtype: string): GradsyncError {
  return new GradsyncError('INVALID_ARGUMENT', `${subject}, variable "${name}"`, {
    expected: 'a dtype that the embedded runtime keeps variables of',
    received: dtype,
    remedy: 'leave it out',
    variable: name,
  });
}
