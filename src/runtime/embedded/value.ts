/**
 * Value: what flows along an edge while a step runs. Its elements live in host memory, on the thread's wasm heap, or both, and are
 * converted on demand. Storage is counted: the executor releases a value after its last use, and a kernel that passes an input on
 * (Identity, Reshape) shares its storage.
 */
import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';
import type { DataType, TensorInfo } from '@tensorflow/tfjs-core';
import type { NumericArray } from '../../addon/native.js';
import { GradsyncError } from '../../errors.js';
import type { DType } from '../../graph/dtype.js';
import { elementCount } from '../../graph/shape.js';

export type HostArray = NumericArray | readonly Uint8Array[];

/** Whether the wasm backend computes with values of that dtype; all others live in host memory only. */
export function livesOnHeap(dtype: DType): boolean {
  return dtype === 'float32' || dtype === 'int32' || dtype === 'bool';
}

/** What a value of dtype `variant` or `resource` stands for: a list, a stack. It is released with the last value of it. */
export interface Held {
  release(): void;
}

class Storage {
  references = 1;
  host: HostArray | undefined;
  device: TensorInfo | undefined;
  held: Held | undefined;
  /** What the product kernel has packed of it: a matrix of this shape. */
  factor: string | undefined;
  readonly backend: BackendWasm | undefined;

  constructor(host: HostArray | undefined, device: TensorInfo | undefined, backend: BackendWasm | undefined) {
    this.host = host;
    this.device = device;
    this.backend = backend;
  }
}

export class Value {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly #storage: Storage;

  private constructor(dtype: DType, shape: readonly number[], storage: Storage) {
    this.dtype = dtype;
    this.shape = shape;
    this.#storage = storage;
  }

  /** Adopts a host array; nobody may write to it afterwards. */
  static ofHost(dtype: DType, shape: readonly number[], data: HostArray): Value {
    return new Value(dtype, shape, new Storage(data, undefined, undefined));
  }

  /**
   * Adopts a tensor of the wasm heap, which is disposed with the value. Its elements must never change again: the convolution and product
   * kernels keep a packed copy of their second input for as long as its heap entry lives, and would go on using that.
   */
  static ofDevice(backend: BackendWasm, info: TensorInfo): Value {
    return new Value(info.dtype as DType, info.shape, new Storage(undefined, info, backend));
  }

  /** A scalar that holds an object; the value owns it. */
  static ofHeld(dtype: 'variant' | 'resource', held: Held): Value {
    const storage = new Storage(undefined, undefined, undefined);
    storage.held = held;
    return new Value(dtype, [], storage);
  }

  get held(): Held | undefined {
    return this.#storage.held;
  }

  get elementCount(): number {
    return elementCount(this.shape);
  }

  /** The same elements under another shape. The caller owns the new value and releases both. */
  reshaped(shape: readonly number[]): Value {
    this.#storage.references++;
    return new Value(this.dtype, shape, this.#storage);
  }

  /** One more owner of this value. */
  retain(): Value {
    return this.reshaped(this.shape);
  }

  release(): void {
    const storage = this.#storage;
    if (--storage.references > 0) return;
    if (storage.device !== undefined) storage.backend?.disposeData(storage.device.dataId);
    storage.device = undefined;
    storage.host = undefined;
    storage.held?.release();
    storage.held = undefined;
  }

  /**
   * The elements for reading. For a value on the wasm heap this is a live view that dies when the heap grows: use it before the next
   * allocation, or copy it.
   */
  host(): HostArray {
    const { host, device, backend } = this.#storage;
    if (host !== undefined) return host;
    if (device === undefined || backend === undefined) throw released();
    return backend.typedArrayFromHeap(device) as unknown as NumericArray;
  }

  /**
   * Whether the product kernel may take its heap entry for a second factor of this shape: what the kernel packs of an entry it uses again
   * whatever shape the entry is seen under by then, so that the first one is the only one.
   */
  isFactorOf(shape: readonly number[]): boolean {
    const text = String(shape);
    this.#storage.factor ??= text;
    return this.#storage.factor === text;
  }

  /** The value as a tensor of the wasm heap; copied there on first use. */
  device(backend: BackendWasm): TensorInfo {
    const storage = this.#storage;
    storage.device ??= this.#upload(backend);
    const { dataId, dtype } = storage.device;
    return { dataId, dtype, shape: [...this.shape] };
  }

  #upload(backend: BackendWasm): TensorInfo {
    const { host } = this.#storage;
    if (host === undefined) throw released();
    if (!livesOnHeap(this.dtype)) {
      throw new GradsyncError('INVALID_ARGUMENT', 'Value on the wasm heap', {
        expected: 'float32, int32 or bool',
        received: this.dtype,
        remedy: 'cast it in the graph',
      });
    }
    const info = backend.makeOutput([...this.shape], this.dtype as DataType);
    (backend.typedArrayFromHeap(info) as Float32Array).set(host as Float32Array);
    (this.#storage as { backend: BackendWasm | undefined }).backend = backend;
    return info;
  }
}

/** Stands where a kernel takes a handle. */
export const HANDLE = Value.ofHost('resource', [], []);

/** What a Switch gives on the side that is not taken. */
export const DEAD = Value.ofHost('resource', [], []);

function released(): GradsyncError {
  return new GradsyncError('INTERNAL', 'Value', {
    expected: 'a live value',
    received: 'one that was released',
  });
}
