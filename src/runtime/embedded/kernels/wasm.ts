/** Calls tfjs kernels directly: no tape, no scopes, no tensors, only heap entries. Found once, when a kernel is bound. */
import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';
import type { KernelConfig, TensorInfo } from '@tensorflow/tfjs-core';
import { GradsyncError } from '../../../errors.js';
import { getKernel } from '../tfjs.js';
import { Value } from '../value.js';

export type WasmInputs = Readonly<Record<string, TensorInfo>> | readonly TensorInfo[];
export type WasmAttributes = Readonly<Record<string, unknown>>;
export type WasmKernel = (
  backend: BackendWasm,
  inputs: WasmInputs,
  attributes?: WasmAttributes,
) => TensorInfo;

const NO_ATTRIBUTES = {};

/** The wasm kernel of that tfjs name, for kernels with one output. The caller owns the result. */
export function wasmKernel(name: string): WasmKernel {
  const config: KernelConfig | undefined = getKernel(name, 'wasm');
  if (config === undefined) {
    throw new GradsyncError('UNAVAILABLE', `tfjs kernel ${name}`, {
      expected: 'it in the wasm backend',
      received: 'none',
      remedy: 'install the version of @tensorflow/tfjs-backend-wasm that package-lock.json names',
    });
  }
  const call = config.kernelFunc as unknown as (arguments_: {
    inputs: WasmInputs;
    backend: BackendWasm;
    attrs: WasmAttributes;
  }) => TensorInfo;
  return (backend, inputs, attributes = NO_ATTRIBUTES) => call({ inputs, backend, attrs: attributes });
}

/** Adopts a heap entry under another shape of as many elements. */
export function adopt(backend: BackendWasm, info: TensorInfo, shape: readonly number[] = info.shape): Value {
  return Value.ofDevice(backend, { dataId: info.dataId, dtype: info.dtype, shape: shape as number[] });
}

/** The same heap entry seen under another shape, for the length of a call. */
export function seenAs(info: TensorInfo, shape: readonly number[]): TensorInfo {
  return { dataId: info.dataId, dtype: info.dtype, shape: shape as number[] };
}

/** A part of a heap entry as an entry of its own, which owns no memory: forget it, never dispose of it. */
export function regionOf(
  backend: BackendWasm,
  info: TensorInfo,
  start: number,
  shape: readonly number[],
): TensorInfo {
  const { memoryOffset } = backend.dataIdMap.get(info.dataId);
  const at = memoryOffset + start * Float32Array.BYTES_PER_ELEMENT;
  return backend.makeOutput([...shape], info.dtype, at);
}

export function forgetRegion(backend: BackendWasm, region: TensorInfo): void {
  const { id } = backend.dataIdMap.get(region.dataId);
  // This forgets what kernels packed of it, too.
  backend.wasm.tfjs.disposeData(id);
  backend.dataIdMap.delete(region.dataId);
}

/** Calls `use` with rows `start` to `start + count` of float32 values, without a copy; they live as long as the call. */
export function withRows<Result>(
  backend: BackendWasm,
  values: readonly Value[],
  start: number,
  count: number,
  use: (rows: readonly Value[]) => Result,
): Result {
  const regions = values.map((value) => {
    const width = value.elementCount / value.shape[0]!;
    return regionOf(backend, value.device(backend), start * width, [count, ...value.shape.slice(1)]);
  });
  try {
    return use(regions.map((region) => Value.ofDevice(backend, region)));
  } finally {
    for (const region of regions) forgetRegion(backend, region);
  }
}
