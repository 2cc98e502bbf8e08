/**
 * Reads TensorFlow's checkpoint format (tensor bundle, V2): `prefix.index` says what each tensor is and where; its elements are in one of
 * the files `prefix.data-00000-of-00001`. The index is read whole, tensors when they are asked for. All checksums are verified.
 */
import { type FileHandle, open, readFile } from 'node:fs/promises';
import { fileError, GradsyncError } from '../../errors.js';
import { DTYPES } from '../../graph/dtype.js';
import { elementCount } from '../../graph/shape.js';
import { crc32c, maskCrc } from './crc32c.js';
import { damaged, printCrc } from './damage.js';
import { BUNDLE_VERSION, type BundleEntry, decodeEntry, decodeHeader } from './entry.js';
import { copyPart, partsOf } from './slice.js';
import { sliceKey } from './slice-key.js';
import { type ByteText, readTable } from './table.js';

/** Under this key is what holds for the whole checkpoint. */
export const HEADER_KEY: ByteText = '';
/** The keys of parts begin with it. */
const PART_MARK = '\0';
/** The most bytes that are asked for at once; the system gives at most 2 GiB. */
const READ_BYTES = 2 ** 30;

/** A tensor as it is in a checkpoint: elements row-major and little-endian, of any dtype of fixed size. */
export interface BundleTensor {
  readonly dtype: BundleEntry['dtype'];
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** What a checkpoint holds. */
export interface TensorBundle {
  /** The path that the names of its files begin with. */
  readonly prefix: string;
  readonly shardCount: number;
  /** Tensors and, under keys of their own, parts of tensors. */
  readonly entries: ReadonlyMap<ByteText, BundleEntry>;
}

export function indexFile(prefix: string): string {
  return `${prefix}.index`;
}

export function dataFile(prefix: string, shard: number, shardCount: number): string {
  const digits = (number: number): string => String(number).padStart(5, '0');
  return `${prefix}.data-${digits(shard)}-of-${digits(shardCount)}`;
}

/**
 * Reads the index of a checkpoint.
 *
 * @throws GradsyncError DATA_LOSS where it is damaged, UNIMPLEMENTED for what TensorFlow does not write on machines of today (big-endian
 * elements, compressed blocks, a later version), and those of the file system; all name the file.
 */
export async function openBundle(prefix: string): Promise<TensorBundle> {
  const file = indexFile(prefix);
  const bytes = await readFile(file).catch((error) => {
    throw fileError('Checkpoint', file, error);
  });
  const table = readTable(bytes, file);
  const shardCount = checkHeader(table.get(HEADER_KEY), file);
  const entries = new Map<ByteText, BundleEntry>();
  for (const [key, value] of table) {
    if (key === HEADER_KEY) continue;
    if (!isPart(key) && keyOf(nameOf(key)) !== key) throw damaged(file, 'names in UTF-8', 'one that is not');
    const entry = decode(file, () => decodeEntry(value), nameOf(key));
    if (entry.shard < shardCount) entries.set(key, entry);
    else throw damaged(file, `one of ${shardCount} shards`, `shard ${entry.shard}`, nameOf(key));
  }
  return { prefix, shardCount, entries };
}

/** The names of all tensors, in the order of their UTF-8 bytes. */
export function tensorNames({ entries }: TensorBundle): readonly string[] {
  return [...entries.keys()].filter((key) => !isPart(key)).map(nameOf);
}

/** What a tensor is; undefined if there is none of that name. */
export function findTensor({ entries }: TensorBundle, name: string): BundleEntry | undefined {
  return entries.get(keyOf(name));
}

/**
 * Reads a tensor; one that is kept in parts is put together.
 *
 * @throws GradsyncError NOT_FOUND; UNIMPLEMENTED for dtypes without a fixed size (strings, variants); DATA_LOSS naming file and tensor,
 * with the checksum that was expected and the one that was found.
 */
export async function readTensor(bundle: TensorBundle, name: string): Promise<BundleTensor> {
  const file = indexFile(bundle.prefix);
  const entry = findTensor(bundle, name);
  if (entry === undefined) throw notFound(file, name);
  const { dtype, shape, slices } = entry;
  if (DTYPES[dtype].size === 0) throw withoutBytes(file, name, dtype);
  if (slices.length === 0) return { dtype, shape, bytes: await readElements(bundle, name, entry) };
  const parts = partsOf(slices, checkedShape(file, name, shape), file, name);
  const read: Uint8Array[] = [];
  for (const [i, part] of parts.entries()) {
    const found = bundle.entries.get(sliceKey(name, slices[i]!));
    if (found?.dtype !== dtype || String(found.shape) !== String(part.shape)) {
      const received = found === undefined ? 'none' : `${found.dtype} [${found.shape}]`;
      throw damaged(file, `a part of ${dtype} [${part.shape}] at [${part.starts}]`, received, name);
    }
    read.push(await readElements(bundle, name, found));
  }
  const { size } = DTYPES[dtype];
  const bytes = new Uint8Array(elementCount(shape) * size);
  for (const [i, part] of parts.entries()) copyPart(bytes, shape, part, read[i]!, size);
  return { dtype, shape, bytes };
}

async function readElements(bundle: TensorBundle, name: string, entry: BundleEntry): Promise<Uint8Array> {
  const { dtype, shape, shard, offset, size, crc } = entry;
  const expected = elementCount(checkedShape(indexFile(bundle.prefix), name, shape)) * DTYPES[dtype].size;
  if (size !== expected) {
    throw damaged(indexFile(bundle.prefix), `${expected} bytes for ${dtype} [${shape}]`, `${size}`, name);
  }
  const file = dataFile(bundle.prefix, shard, bundle.shardCount);
  const bytes = await readRange(file, offset, size, name);
  const found = maskCrc(crc32c(bytes));
  if (found === crc) return bytes;
  throw damaged(file, printCrc(crc), `${printCrc(found)} of bytes ${offset} to ${offset + size}`, name);
}

async function readRange(path: string, offset: number, size: number, name: string): Promise<Uint8Array> {
  try {
    const file = await open(path);
    try {
      const { size: there } = await file.stat();
      if (offset + size > there) {
        throw damaged(path, `bytes ${offset} to ${offset + size}`, `a file of ${there} bytes`, name);
      }
      const bytes = new Uint8Array(size);
      await fill(file, bytes, offset, () => damaged(path, `${size} bytes`, 'fewer', name));
      return bytes;
    } finally {
      await file.close();
    }
  } catch (error) {
    throw error instanceof GradsyncError ? error : fileError('Checkpoint', path, error);
  }
}

async function fill(
  file: FileHandle,
  bytes: Uint8Array,
  offset: number,
  tooShort: () => GradsyncError,
): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const length = Math.min(READ_BYTES, bytes.length - done);
    const { bytesRead } = await file.read(bytes, done, length, offset + done);
    if (bytesRead === 0) throw tooShort();
    done += bytesRead;
  }
}

function checkHeader(bytes: Uint8Array | undefined, file: string): number {
  if (bytes === undefined) throw damaged(file, 'a header', 'none');
  const { shardCount, isBigEndian, oldestReader } = decode(file, () => decodeHeader(bytes));
  if (isBigEndian) throw unsupported(file, 'little-endian elements', 'big-endian ones');
  if (oldestReader > BUNDLE_VERSION) {
    throw unsupported(file, `version ${BUNDLE_VERSION} of the format`, `version ${oldestReader}`);
  }
  if (shardCount > 0) return shardCount;
  throw damaged(file, 'at least one shard', `${shardCount}`);
}

/** Reads a message of the index; what is wrong with it is told of the file, not of a graph. */
function decode<T>(file: string, read: () => T, tensor?: string): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof GradsyncError)) throw error;
    const { expected = 'a complete message', received = error.message } = error.details;
    throw damaged(file, expected, received, tensor, error);
  }
}

function checkedShape(file: string, name: string, shape: readonly number[]): readonly number[] {
  const isSize = (dim: number): boolean => Number.isSafeInteger(dim) && dim >= 0;
  if (shape.every(isSize) && isSize(elementCount(shape) * 16)) return shape;
  throw damaged(file, 'a known shape', `[${shape}]`, name);
}

function isPart(key: ByteText): boolean {
  return key.startsWith(PART_MARK);
}

function keyOf(name: string): ByteText {
  return Buffer.from(name).toString('latin1');
}

function nameOf(key: ByteText): string {
  return Buffer.from(key, 'latin1').toString();
}

function notFound(file: string, name: string): GradsyncError {
  return new GradsyncError('NOT_FOUND', `Checkpoint ${file}`, {
    expected: `tensor "${name}"`,
    received: 'none of that name',
    remedy: 'name a tensor that tf.train.list_variables lists',
    file,
    variable: name,
  });
}

function withoutBytes(file: string, name: string, dtype: string): GradsyncError {
  return new GradsyncError('UNIMPLEMENTED', `Checkpoint ${file}, tensor "${name}"`, {
    expected: 'a dtype whose elements have a fixed size',
    received: dtype,
    remedy: 'leave it out, or read it with tf.train.load_checkpoint',
    file,
    variable: name,
  });
}

function unsupported(file: string, expected: string, received: string): GradsyncError {
  const remedy = 'restore and save it again with the TensorFlow of a machine of today';
  return new GradsyncError('UNIMPLEMENTED', `Checkpoint ${file}`, { expected, received, remedy, file });
}
