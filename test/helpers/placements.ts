/** Where the elements of a typed array may lie: every kind of memory JavaScript has, at every alignment it allows. */
import { loadAddon } from '../../src/addon/load.js';
import type { NativeDType, NumericArray } from '../../src/addon/native.js';

export interface Placement {
  readonly title: string;
  /** A copy of the array in such memory. */
  place<T extends NumericArray>(array: T): T;
}

type Constructor<T> = new (buffer: ArrayBufferLike, offset: number, length: number) => T;

function viewOf<T extends NumericArray>(array: T, buffer: ArrayBufferLike, offset: number): T {
  const view = new (array.constructor as Constructor<T>)(buffer, offset, array.length);
  (view as { set(from: unknown): void }).set(array);
  return view;
}

const sizeOf = (array: NumericArray, offset: number): number => offset + array.byteLength + 8;

/** Of ES2024, which Node 20 has and the compiler's library does not. */
type Resizable = new (bytes: number, options: { maxByteLength: number }) => ArrayBuffer;
export function resizableBuffer(bytes: number): ArrayBuffer & { resize(bytes: number): void } {
  return new (ArrayBuffer as unknown as Resizable)(bytes, { maxByteLength: bytes }) as ArrayBuffer & {
    resize(bytes: number): void;
  };
}

/** Of the runtime, not of the compiler's library. */
interface WasmMemories {
  Memory: new (pages: {
    initial: number;
    maximum: number;
    shared: boolean;
  }) => { readonly buffer: ArrayBufferLike };
}
function wasmMemory(shared: boolean): ArrayBufferLike {
  const { Memory } = (globalThis as unknown as { WebAssembly: WasmMemories }).WebAssembly;
  return new Memory({ initial: 1, maximum: 1, shared }).buffer;
}

/** One session's memory, as long as the arrays live. */
const session = loadAddon().createSession({ name: 'placements', threads: 1 });
function dtypeOf(array: NumericArray): NativeDType {
  if (array instanceof BigInt64Array) return 'int64';
  if (array instanceof Int32Array) return 'int32';
  return array instanceof Float32Array ? 'float32' : 'float64';
}

export const PLACEMENTS: readonly Placement[] = [
  {
    title: 'memory of session.allocate',
    place: (array) => viewOf(array, session.allocate(dtypeOf(array), [array.length]).buffer, 0),
  },
  {
    title: 'a SharedArrayBuffer',
    place: (array) => viewOf(array, new SharedArrayBuffer(sizeOf(array, 0)), 0),
  },
  ...[1, 3, 8, 15].map(
    (elements): Placement => ({
      title: `${elements} elements behind an aligned address`,
      place: (array) => {
        const offset = elements * array.BYTES_PER_ELEMENT;
        return viewOf(array, new ArrayBuffer(sizeOf(array, offset)), offset);
      },
    }),
  ),
  {
    title: 'a SharedArrayBuffer, one element in',
    place: (array) => {
      const offset = array.BYTES_PER_ELEMENT;
      return viewOf(array, new SharedArrayBuffer(sizeOf(array, offset)), offset);
    },
  },
  {
    title: "the middle of Node's pool of buffers",
    place: (array) => {
      const pooled = Buffer.allocUnsafe(array.byteLength + 8);
      return viewOf(array, pooled.buffer, Math.ceil(pooled.byteOffset / 8) * 8);
    },
  },
  {
    title: 'a resizable ArrayBuffer',
    place: (array) => viewOf(array, resizableBuffer(sizeOf(array, 0)), 0),
  },
  {
    title: 'the memory of WebAssembly',
    place: (array) => viewOf(array, wasmMemory(false), array.BYTES_PER_ELEMENT),
  },
  {
    title: 'the shared memory of WebAssembly',
    place: (array) => viewOf(array, wasmMemory(true), array.BYTES_PER_ELEMENT),
  },
];
