/**
 * Pools over images and their gradients. The gradients are written here: the wasm backend's search each input's windows (30 times
 * slower), give ties to every maximum, and divide averages by the whole window at the edges.
 */
import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';
import type { Operation } from '../../../graph/operation.js';
import { printShape } from '../../../graph/shape.js';
import type { KernelBinder, KernelTable } from '../kernel.js';
import type { Value } from '../value.js';
import { invalid, typeAttr } from './attributes.js';
import { sameShape, stridesOf } from './broadcast.js';
import { deviceOutput, integers, numeric } from './host.js';
import { extract } from './slice.js';
import { adopt, wasmKernel } from './wasm.js';
import { type Axis, padAttribute, planAxes, readSliding, type Sliding, spatial } from './window.js';

interface Pool {
  readonly sliding: Sliding;
  readonly window: readonly [number, number];
}

function readPool(operation: Operation): Pool {
  typeAttr(operation, 'T', { allowed: ['float32'], fallback: 'float32' });
  return { sliding: readSliding(operation), window: spatial(operation, 'ksize') };
}

const pool =
  (name: 'MaxPool' | 'AvgPool'): KernelBinder =>
  (operation) => {
    const { sliding, window } = readPool(operation);
    const kernel = wasmKernel(name);
    return ([x], { backend }) => {
      const axes = planAxes(operation, x!.shape, window, sliding);
      if (window[0] === 1 && window[1] === 1) return [subsample(backend, x!, axes)];
      const [rows, columns] = axes.map(({ before, after }) => [before, after] as const);
      const pad = padAttribute(rows!, columns!);
      const attributes = { filterSize: window, strides: sliding.strides, pad };
      return [adopt(backend, kernel(backend, { x: x!.device(backend) }, attributes))];
    };
  };

/** Windows of one pixel. */
function subsample(backend: BackendWasm, x: Value, axes: readonly [Axis, Axis]): Value {
  const [batch, row, column, channel] = stridesOf(x.shape) as [number, number, number, number];
  const strides = [batch, row * axes[0].stride, column * axes[1].stride, channel];
  const shape = [x.shape[0]!, axes[0].output, axes[1].output, x.shape[3]!];
  return extract(backend, x, { shape, strides, offset: 0 });
}

function checkGradient(
  operation: Operation,
  dy: Value,
  image: readonly number[],
  axes: readonly [Axis, Axis],
): void {
  const expected = [image[0]!, axes[0].output, axes[1].output, image[3]!];
  if (!sameShape(dy.shape, expected)) {
    throw invalid(operation, `a gradient ${printShape(expected)}`, printShape(dy.shape));
  }
}

/** Passes each dy to the first largest element of its window. */
const maxPoolGrad: KernelBinder = (operation) => {
  const { sliding, window } = readPool(operation);
  return ([x, y, dy], { backend }) => {
    const axes = planAxes(operation, x!.shape, window, sliding);
    checkGradient(operation, dy!, x!.shape, axes);
    const out = deviceOutput(backend, 'float32', x!.shape);
    const dx = out.data as Float32Array;
    const [source, best, gradient] = [x!, y!, dy!].map((value) => numeric(value) as Float32Array) as [
      Float32Array,
      Float32Array,
      Float32Array,
    ];
    if (axes.every(isHalving)) halve(dx, source, best, gradient, x!.shape);
    else {
      dx.fill(0);
      scatterMaxima(dx, source, gradient, x!.shape, axes);
    }
    return [out.value];
  };
};

/** Windows of two that tile the axis. */
function isHalving({ kernel, stride, before, input, output }: Axis): boolean {
  return kernel === 2 && stride === 2 && before === 0 && input === 2 * output;
}

/**
 * 2 x 2 windows that tile the image: every input belongs to one window, so all of dx is written once. The maximum is a copy of one of the
 * four, so it is found by its bits, without a branch that random data would mispredict.
 */
function halve(
  dx: Float32Array,
  x: Float32Array,
  y: Float32Array,
  dy: Float32Array,
  [batch, height, width, channels]: readonly number[],
): void {
  const [to, from, best, gradient] = [dx, x, y, dy].map(
    (array) => new Int32Array(array.buffer, array.byteOffset, array.length),
  ) as [Int32Array, Int32Array, Int32Array, Int32Array];
  const row = width! * channels!;
  const rows = (batch! * height!) / 2;
  let at = 0;
  for (let r = 0; r < rows; r++) {
    for (let start = 2 * r * row; start < (2 * r + 1) * row; start += 2 * channels!) {
      for (let i = start; i < start + channels!; i++, at++) {
        const max = best[at]!;
        const bits = gradient[at]!;
        const j = i + channels!;
        const k = i + row;
        const l = j + row;
        // All ones while no equal element was found, else 0.
        const a = differ(from[i]! ^ max);
        const b = a & differ(from[j]! ^ max);
        const c = b & differ(from[k]! ^ max);
        to[i] = bits & ~a;
        to[j] = bits & a & ~b;
        to[k] = bits & b & ~c;
        to[l] = bits & c;
      }
    }
  }
}

/** All ones if any bit is set, else 0. */
function differ(bits: number): number {
  return (bits | -bits) >> 31;
}

/** Calls `visit` for each window with its place in the output and the part of it that lies in the image. */
function forEachWindow(
  [batch, height, width]: readonly number[],
  [rows, columns]: readonly [Axis, Axis],
  visit: (output: number, top: number, bottom: number, left: number, right: number, image: number) => void,
): void {
  let at = 0;
  for (let n = 0; n < batch!; n++) {
    for (let r = 0; r < rows.output; r++) {
      const top = r * rows.stride - rows.before;
      for (let c = 0; c < columns.output; c++, at++) {
        const left = c * columns.stride - columns.before;
        const bottom = Math.min(top + rows.kernel, height!);
        const right = Math.min(left + columns.kernel, width!);
        visit(at, Math.max(top, 0), bottom, Math.max(left, 0), right, n * height! * width!);
      }
    }
  }
}

function scatterMaxima(
  dx: Float32Array,
  x: Float32Array,
  dy: Float32Array,
  shape: readonly number[],
  axes: readonly [Axis, Axis],
): void {
  const [, , width, channels] = shape as [number, number, number, number];
  forEachWindow(shape, axes, (at, top, bottom, left, right, image) => {
    for (let c = 0; c < channels; c++) {
      let best = (image + top * width + left) * channels + c;
      let max = x[best]!;
      for (let r = top; r < bottom; r++) {
        const line = image + r * width;
        for (let i = (line + left) * channels + c; i < (line + right) * channels; i += channels) {
          if (x[i]! > max) {
            max = x[i]!;
            best = i;
          }
        }
      }
      dx[best]! += dy[at * channels + c]!;
    }
  });
}

/** Spreads each dy evenly over the part of its window that lies in the image. */
const avgPoolGrad: KernelBinder = (operation) => {
  const { sliding, window } = readPool(operation);
  return ([sizes, dy], { backend }) => {
    const image = integers(sizes!);
    const axes = planAxes(operation, image, window, sliding);
    checkGradient(operation, dy!, image, axes);
    const out = deviceOutput(backend, 'float32', image);
    const dx = (out.data as Float32Array).fill(0);
    const gradient = numeric(dy!) as Float32Array;
    const [, , width, channels] = image as [number, number, number, number];
    forEachWindow(image, axes, (at, top, bottom, left, right, start) => {
      const share = 1 / ((bottom - top) * (right - left));
      for (let r = top; r < bottom; r++) {
        for (let c = left; c < right; c++) {
          const to = (start + r * width + c) * channels;
          for (let k = 0; k < channels; k++) dx[to + k]! += gradient[at * channels + k]! * share;
        }
      }
    });
    return [out.value];
  };
};

export const POOL_KERNELS: KernelTable = {
  MaxPool: pool('MaxPool'),
  AvgPool: pool('AvgPool'),
  MaxPoolGrad: maxPoolGrad,
  AvgPoolGrad: avgPoolGrad,
};
