/**
 * Convolutions and their gradients. All three are one fast wasm kernel on rearranged inputs: the gradient to the image convolves dy with
 * the turned filter, the gradient to the filter convolves the image with dy as a filter, batch and channels swapped. (The wasm backend
 * has a direct kernel for the first, 10 times slower, and none for the second.)
 */
import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';
import type { Operation } from '../../../graph/operation.js';
import { elementCount, printShape } from '../../../graph/shape.js';
import type { KernelBinder, KernelTable } from '../kernel.js';
import type { Value } from '../value.js';
import { bindTranspose } from './array.js';
import { invalid, typeAttr } from './attributes.js';
import { sameShape, stridesOf } from './broadcast.js';
import { deviceOutput, integers, numeric } from './host.js';
import { bindRowSum } from './pairwise.js';
import { extract } from './slice.js';
import { copyToStrided } from './strided.js';
import { adopt, type WasmKernel, wasmKernel } from './wasm.js';
import { type Axis, padAttribute, planAxes, readSliding, type Sliding } from './window.js';

interface Convolve {
  readonly strides: readonly [number, number];
  readonly dilations: readonly [number, number];
  readonly pads: readonly (readonly [number, number])[];
}

function convolve(kernel: WasmKernel, backend: BackendWasm, x: Value, filter: Value, how: Convolve): Value {
  const inputs = { x: x.device(backend), filter: filter.device(backend) };
  const { strides, dilations, pads: pad } = how;
  return adopt(backend, kernel(backend, inputs, { strides, dilations, pad, dataFormat: 'NHWC' }));
}

const pair = <T>(of: (axis: Axis) => T, axes: readonly [Axis, Axis]): readonly [T, T] => [
  of(axes[0]),
  of(axes[1]),
];

function readConvolution(operation: Operation): Sliding {
  typeAttr(operation, 'T', { allowed: ['float32'] });
  return readSliding(operation);
}

/** Refuses filters that do not fit the image, and grouped convolutions. */
export function checkFilter(operation: Operation, image: readonly number[], filter: readonly number[]): void {
  if (image.length === 4 && filter.length === 4 && filter[2] === image[3]) return;
  const expected = `a filter [height, width, ${image[3] ?? '?'}, channels]`;
  throw invalid(operation, expected, printShape(filter));
}

const conv2d: KernelBinder = (operation) => {
  const sliding = readConvolution(operation);
  const kernel = wasmKernel('Conv2D');
  return ([x, filter], { backend }) => {
    checkFilter(operation, x!.shape, filter!.shape);
    const [kh, kw] = filter!.shape as [number, number];
    const axes = planAxes(operation, x!.shape, [kh, kw], sliding);
    const pads = padAttribute(...pair((axis) => [axis.before, axis.after] as const, axes));
    return [convolve(kernel, backend, x!, filter!, { ...sliding, pads })];
  };
};

/** The gradient to the image. */
const backpropInput: KernelBinder = (operation) => {
  const sliding = readConvolution(operation);
  const kernel = wasmKernel('Conv2D');
  return ([sizes, filter, dy], { backend }) => {
    const image = integers(sizes!);
    checkFilter(operation, image, filter!.shape);
    const [kh, kw] = filter!.shape as [number, number];
    const axes = planAxes(operation, image, [kh, kw], sliding);
    checkGradient(operation, dy!, image[0]!, axes, filter!.shape[3]!);
    const turned = turnFilter(backend, filter!);
    const spread = spreadByStride(backend, dy!, axes);
    const pads = pair(({ input, output, kernel: size, stride, dilation, before }) => {
      const first = (size - 1) * dilation - before;
      return [first, input - ((output - 1) * stride + 1) - first + (size - 1) * dilation] as const;
    }, axes);
    const dx = convolvePadded(kernel, backend, spread, turned, sliding.dilations, pads);
    turned.release();
    spread.release();
    return [dx];
  };
};

/** Convolves with stride 1 under any padding; a negative one cuts rows or columns off first. */
function convolvePadded(
  kernel: WasmKernel,
  backend: BackendWasm,
  x: Value,
  filter: Value,
  dilations: readonly [number, number],
  pads: readonly [readonly [number, number], readonly [number, number]],
): Value {
  const cut = pads.map(([before, after]) => [Math.max(0, -before), Math.max(0, -after)] as const);
  const whole = cut.every(([before, after]) => before === 0 && after === 0);
  const kept = whole ? x.retain() : cutEdges(backend, x, cut);
  const zeros = pads.map(([before, after]) => [Math.max(0, before), Math.max(0, after)] as const);
  const how = { strides: [1, 1] as const, dilations, pads: padAttribute(zeros[0]!, zeros[1]!) };
  const result = convolve(kernel, backend, kept, filter, how);
  kept.release();
  return result;
}

function cutEdges(backend: BackendWasm, x: Value, cut: readonly (readonly [number, number])[]): Value {
  const [batch, height, width, channels] = x.shape as [number, number, number, number];
  const [[top, bottom], [left, right]] = cut as [readonly [number, number], readonly [number, number]];
  const strides = stridesOf(x.shape);
  const shape = [batch, height - top - bottom, width - left - right, channels];
  return extract(backend, x, { shape, strides, offset: top * strides[1]! + left * strides[2]! });
}

function checkGradient(
  operation: Operation,
  dy: Value,
  batch: number,
  axes: readonly [Axis, Axis],
  channels: number,
): void {
  const expected = [batch, axes[0].output, axes[1].output, channels];
  if (!sameShape(dy.shape, expected)) {
    throw invalid(operation, `a gradient ${printShape(expected)}`, printShape(dy.shape));
  }
}

/** The filter turned by half a circle, input and output channels swapped. */
function turnFilter(backend: BackendWasm, filter: Value): Value {
  const [kh, kw, inputs, outputs] = filter.shape as [number, number, number, number];
  const result = deviceOutput(backend, 'float32', [kh, kw, outputs, inputs]);
  const out = result.data;
  const source = numeric(filter) as Float32Array;
  const taps = kh * kw;
  for (let tap = 0; tap < taps; tap++) {
    const from = (taps - 1 - tap) * inputs * outputs;
    let to = tap * inputs * outputs;
    for (let o = 0; o < outputs; o++) {
      for (let i = 0; i < inputs; i++) out[to++] = source[from + i * outputs + o]!;
    }
  }
  return result.value;
}

/** dy with stride - 1 zeros between neighbours; dy itself for strides of 1. */
function spreadByStride(backend: BackendWasm, dy: Value, axes: readonly [Axis, Axis]): Value {
  if (axes[0].stride === 1 && axes[1].stride === 1) return dy.retain();
  const [height, width] = pair(({ output, stride }) => (output - 1) * stride + 1, axes);
  const shape = [dy.shape[0]!, height, width, dy.shape[3]!];
  const spread = deviceOutput(backend, 'float32', shape);
  (spread.data as Float32Array).fill(0);
  const [batch, row, column, channel] = stridesOf(shape) as [number, number, number, number];
  const strides = [batch, row * axes[0].stride, column * axes[1].stride, channel];
  copyToStrided(spread.data, numeric(dy), { shape: dy.shape, strides, offset: 0 });
  return spread.value;
}

/** The gradient to the filter. */
const backpropFilter: KernelBinder = (operation) => {
  const sliding = readConvolution(operation);
  const kernel = wasmKernel('Conv2D');
  const transpose = bindTranspose();
  const sumRows = bindRowSum();
  return ([x, sizes, dy], { backend }) => {
    const filter = integers(sizes!);
    checkFilter(operation, x!.shape, filter);
    const axes = planAxes(operation, x!.shape, [filter[0]!, filter[1]!], sliding);
    checkGradient(operation, dy!, x!.shape[0]!, axes, filter[3]!);
    const taps = sumRows(backend, [x!, dy!], elementCount(filter), ([images, gradients]) => {
      const image = transpose(backend, images!, [3, 1, 2, 0]);
      const window = transpose(backend, gradients!, [1, 2, 0, 3]);
      const part = correlate(kernel, backend, image, window, axes);
      for (const value of [image, window]) value.release();
      return part;
    });
    const gradient = transpose(backend, taps, [1, 2, 0, 3]);
    taps.release();
    return [gradient];
  };
};

/**
 * [inputs, kh, kw, outputs]: for each tap, the products of the image moved by that tap with dy. Taps are a dilation apart and the window's
 * entries a stride, so the two swap places.
 */
function correlate(
  kernel: WasmKernel,
  backend: BackendWasm,
  image: Value,
  window: Value,
  axes: readonly [Axis, Axis],
): Value {
  const pads = pair(({ input, output, kernel: taps, stride, dilation, before }) => {
    const needed = (output - 1) * stride + 1 + (taps - 1) * dilation;
    return [before, Math.max(0, needed - input - before)] as const;
  }, axes);
  const strides = pair((axis) => axis.dilation, axes);
  const dilations = pair((axis) => axis.stride, axes);
  const all = convolve(kernel, backend, image, window, { strides, dilations, pads: padAttribute(...pads) });
  const [kh, kw] = pair((axis) => axis.kernel, axes);
  const shape = [all.shape[0]!, kh, kw, all.shape[3]!];
  if (sameShape(all.shape, shape)) return all;
  // Rows that the last window left over give taps beyond the filter.
  const kept = extract(backend, all, { shape, strides: stridesOf(all.shape), offset: 0 });
  all.release();
  return kept;
}

export const CONVOLUTION_KERNELS: KernelTable = {
  Conv2D: conv2d,
  Conv2DBackpropInput: backpropInput,
  Conv2DBackpropFilter: backpropFilter,
};
