/** Gradients of activations and of other functions of one tensor: one pass over both inputs, wherever they lie. */
import type { DType } from '../../../graph/dtype.js';
import type { Operation } from '../../../graph/operation.js';
import { printShape } from '../../../graph/shape.js';
import type { KernelBinder, KernelTable } from '../kernel.js';
import type { Value } from '../value.js';
import { floatAttr, invalid, typeAttr } from './attributes.js';
import { sameShape } from './broadcast.js';
import { numeric, output, SMALL, scalar } from './host.js';
import { SELU_SCALE, SELU_SCALE_ALPHA } from './unary.js';
import { adopt, seenAs, wasmKernel } from './wasm.js';

const FLOAT: readonly DType[] = ['float32', 'float64'];

type Fill = (out: Float32Array, a: Float32Array, b: Float32Array) => void;

/** A kernel of two inputs of one shape that fills its output in one pass. */
const pairwise =
  (fill: Fill): KernelBinder =>
  (operation) => {
    const dtype = typeAttr(operation, 'T', { allowed: FLOAT });
    return ([a, b], { backend }) => {
      requireSameShape(operation, a!, b!);
      const out = output(backend, dtype, a!.shape);
      fill(out.data as Float32Array, numeric(a!) as Float32Array, numeric(b!) as Float32Array);
      return [out.value];
    };
  };

function requireSameShape(operation: Operation, a: Value, b: Value): void {
  if (sameShape(a.shape, b.shape)) return;
  throw invalid(operation, 'equal shapes', `${printShape(a.shape)} and ${printShape(b.shape)}`);
}

/** dy times whether the feature is positive. On the wasm heap in two vectorized passes, which cost less than one in JavaScript. */
const reluGrad: KernelBinder = (operation) => {
  const inHost = pairwise((out, dy, x) => {
    for (let i = 0; i < out.length; i++) out[i] = x[i]! > 0 ? dy[i]! : 0;
  })(operation);
  const step = wasmKernel('Step');
  const multiply = wasmKernel('Multiply');
  return (inputs, runtime) => {
    const [dy, x] = inputs as [Value, Value];
    if (x.dtype !== 'float32' || x.elementCount <= SMALL) return inHost(inputs, runtime);
    requireSameShape(operation, dy, x);
    const { backend } = runtime;
    const positive = step(backend, { x: x.device(backend) }, { alpha: 0 });
    const dx = multiply(backend, {
      a: seenAs(dy.device(backend), [x.elementCount]),
      b: seenAs(positive, [x.elementCount]),
    });
    backend.disposeData(positive.dataId);
    return [adopt(backend, dx, x.shape)];
  };
};

const relu6Grad: Fill = (out, dy, x) => {
  for (let i = 0; i < out.length; i++) out[i] = x[i]! > 0 && x[i]! < 6 ? dy[i]! : 0;
};

const leakyReluGrad: KernelBinder = (operation) => {
  const alpha = floatAttr(operation, 'alpha', 0.2);
  return pairwise((out, dy, x) => {
    for (let i = 0; i < out.length; i++) out[i] = x[i]! > 0 ? dy[i]! : alpha * dy[i]!;
  })(operation);
};

const eluGrad: Fill = (out, dy, y) => {
  for (let i = 0; i < out.length; i++) out[i] = y[i]! < 0 ? (y[i]! + 1) * dy[i]! : dy[i]!;
};

const seluGrad: Fill = (out, dy, y) => {
  for (let i = 0; i < out.length; i++) {
    out[i] = (y[i]! < 0 ? y[i]! + SELU_SCALE_ALPHA : SELU_SCALE) * dy[i]!;
  }
};

const softsignGrad: Fill = (out, dy, x) => {
  for (let i = 0; i < out.length; i++) out[i] = dy[i]! / (1 + Math.abs(x[i]!)) ** 2;
};

const sigmoidGrad: Fill = (out, y, dy) => {
  for (let i = 0; i < out.length; i++) out[i] = dy[i]! * y[i]! * (1 - y[i]!);
};

const tanhGrad: Fill = (out, y, dy) => {
  for (let i = 0; i < out.length; i++) out[i] = dy[i]! * (1 - y[i]! * y[i]!);
};

const softplusGrad: Fill = (out, dy, x) => {
  for (let i = 0; i < out.length; i++) out[i] = dy[i]! / (1 + Math.exp(-x[i]!));
};

const sqrtGrad: Fill = (out, y, dy) => {
  for (let i = 0; i < out.length; i++) out[i] = (dy[i]! * 0.5) / y[i]!;
};

const rsqrtGrad: Fill = (out, y, dy) => {
  for (let i = 0; i < out.length; i++) out[i] = -0.5 * dy[i]! * y[i]! * y[i]! * y[i]!;
};

const reciprocalGrad: Fill = (out, y, dy) => {
  for (let i = 0; i < out.length; i++) out[i] = -dy[i]! * y[i]! * y[i]!;
};

/** Clips to scalar bounds. */
const clipByValue: KernelBinder = (operation) => {
  const dtype = typeAttr(operation, 'T', { allowed: [...FLOAT, 'int32'] });
  return ([x, low, high], { backend }) => {
    if (low!.elementCount !== 1 || high!.elementCount !== 1) {
      throw invalid(operation, 'scalar bounds', `${printShape(low!.shape)} and ${printShape(high!.shape)}`);
    }
    const [min, max] = [scalar(low!), scalar(high!)];
    const out = output(backend, dtype, x!.shape);
    const source = numeric(x!) as Float32Array;
    for (let i = 0; i < source.length; i++)
      (out.data as Float32Array)[i] = Math.min(Math.max(source[i]!, min), max);
    return [out.value];
  };
};

export const ACTIVATION_KERNELS: KernelTable = {
  ReluGrad: reluGrad,
  Relu6Grad: pairwise(relu6Grad),
  LeakyReluGrad: leakyReluGrad,
  EluGrad: pairwise(eluGrad),
  SeluGrad: pairwise(seluGrad),
  SoftsignGrad: pairwise(softsignGrad),
  SigmoidGrad: pairwise(sigmoidGrad),
  TanhGrad: pairwise(tanhGrad),
  SoftplusGrad: pairwise(softplusGrad),
  SqrtGrad: pairwise(sqrtGrad),
  RsqrtGrad: pairwise(rsqrtGrad),
  ReciprocalGrad: pairwise(reciprocalGrad),
  InvGrad: pairwise(reciprocalGrad),
  ClipByValue: clipByValue,
};
