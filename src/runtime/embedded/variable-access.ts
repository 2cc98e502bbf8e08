/**
 * VariableAccess: one task thread's way to a shared variable. It keeps the copy of the version read last (on the wasm heap, which is
 * private to the thread), so that a variable is copied once per new version however often it is read. Not shared between threads.
 */
import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';
import type { DataType } from '@tensorflow/tfjs-core';
import type { NativeDType, NativeVariable, NumericArray } from '../../addon/native.js';
import { GradsyncError } from '../../errors.js';
import type { DType } from '../../graph/dtype.js';
import { isCompatible, printShape, type Shape } from '../../graph/shape.js';
import { numeric } from './kernels/host.js';
import { livesOnHeap, Value } from './value.js';

/** First byte of a string in shared storage, which has no strings; nothing at all is a variable that was destroyed. */
const STRING = 1;

export class VariableAccess {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: Shape;
  /** The shared object. A string is kept there as STRING and its bytes. */
  readonly native: NativeVariable;
  readonly #backend: BackendWasm;
  #copy: Value | undefined;
  #version = -1;

  constructor(name: string, dtype: DType, shape: Shape, native: NativeVariable, backend: BackendWasm) {
    this.name = name;
    this.dtype = dtype;
    this.shape = shape;
    this.native = native;
    this.#backend = backend;
  }

  /** The current value. The caller owns it; it stays as it is while the variable changes. */
  read(): Value {
    const { version } = this.native;
    if (this.#copy === undefined || this.#version !== version) this.#refresh();
    return (this.#copy as Value).retain();
  }

  get isInitialized(): boolean {
    if (this.dtype !== 'string') return this.native.isInitialized;
    return (this.native.shape?.[0] ?? 0) > 0;
  }

  /** The shape of the current version; FAILED_PRECONDITION if there is none. */
  currentShape(): readonly number[] {
    const { shape } = this.native;
    if (shape === null || !this.isInitialized) throw this.#uninitialized();
    return this.dtype === 'string' ? [] : shape;
  }

  /** Takes the value away. Shared numbers cannot lose theirs: that is UNIMPLEMENTED. */
  destroy(): void {
    if (!this.isInitialized) return;
    if (this.dtype === 'string') {
      this.native.assign(new Uint8Array(0), [0]);
      return;
    }
    throw new GradsyncError('UNIMPLEMENTED', `Destroying variable "${this.name}"`, {
      expected: 'a variable without a value, or one of strings',
      received: `one of ${this.dtype} with a value`,
      remedy: 'open another session',
      variable: this.name,
    });
  }

  assign(value: Value): void {
    if (this.dtype === 'string') {
      const bytes = scalarString(this.name, value);
      this.native.assign(Uint8Array.of(STRING, ...bytes), [1 + bytes.length]);
      return;
    }
    if (!isCompatible(value.shape, this.shape)) {
      throw new GradsyncError('INVALID_ARGUMENT', `Value assigned to variable "${this.name}"`, {
        expected: `shape ${printShape(this.shape)}`,
        received: printShape(value.shape),
        remedy: 'assign a value of the shape the variable was made with',
        variable: this.name,
      });
    }
    this.native.assign(numeric(value), value.shape);
  }

  /** Drops the thread's copy. */
  release(): void {
    this.#copy?.release();
    this.#copy = undefined;
    this.#version = -1;
  }

  #refresh(): void {
    const shape = this.currentShape();
    // Released first, so that the heap has a place of just this size to give again.
    this.release();
    if (livesOnHeap(this.dtype) && shape.length > 0) this.#copyToHeap(shape);
    else this.#copyToHost();
  }

  #copyToHeap(shape: readonly number[]): void {
    const info = this.#backend.makeOutput([...shape], this.dtype as DataType);
    const view = this.#backend.typedArrayFromHeap(info) as unknown as NumericArray;
    this.#version = this.native.copyTo(view, -1);
    this.#copy = Value.ofDevice(this.#backend, info);
  }

  /** Scalars stay on the host: hyperparameters and counters are read there. */
  #copyToHost(): void {
    const { version } = this.native;
    const { shape, data } = this.native.read();
    this.#copy =
      this.dtype === 'string'
        ? Value.ofHost('string', [], [(data as Uint8Array).subarray(1)])
        : Value.ofHost(this.dtype, shape, data);
    this.#version = version;
  }

  #uninitialized(): GradsyncError {
    return new GradsyncError('FAILED_PRECONDITION', `Variable "${this.name}"`, {
      expected: 'a value',
      received: 'an uninitialized variable',
      remedy: 'call initialize() or restore() before the first step',
      variable: this.name,
    });
  }
}

/** The dtype the shared object has. */
export function nativeDType(dtype: DType): NativeDType {
  return dtype === 'string' ? 'uint8' : (dtype as NativeDType);
}

function scalarString(name: string, value: Value): Uint8Array {
  const [bytes, ...more] = value.host() as readonly Uint8Array[];
  if (bytes === undefined || more.length > 0 || value.shape.length > 0) {
    throw new GradsyncError('UNIMPLEMENTED', `String variable "${name}"`, {
      expected: 'a scalar',
      received: `shape ${printShape(value.shape)}`,
      remedy: 'run a graph with string variables of this shape on TensorFlow',
      variable: name,
    });
  }
  return bytes;
}
