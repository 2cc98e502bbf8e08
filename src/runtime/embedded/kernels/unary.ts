/** Functions of one tensor, element by element. */
import type { DType } from '../../../graph/dtype.js';
import type { KernelBinder, KernelTable } from '../kernel.js';
import { floatAttr, typeAttr } from './attributes.js';
import { hostOutput, numeric, output, SMALL } from './host.js';
import { adopt, wasmKernel } from './wasm.js';

interface Elementwise {
  readonly apply: (x: number) => number;
  readonly bigint?: (x: bigint) => bigint;
  /** The wasm kernel of the float32 form. */
  readonly wasm?: string;
}

const FLOAT: readonly DType[] = ['float32', 'float64'];
const SIGNED: readonly DType[] = ['float32', 'float64', 'int32', 'int64'];

const unary =
  ({ apply, bigint, wasm }: Elementwise): KernelBinder =>
  (operation) => {
    const dtype = typeAttr(operation, 'T', { allowed: bigint === undefined ? FLOAT : SIGNED });
    const kernel = dtype === 'float32' && wasm !== undefined ? wasmKernel(wasm) : undefined;
    const each = (dtype === 'int64' ? bigint : apply) as (x: unknown) => unknown;
    return ([x], { backend }) => {
      if (kernel !== undefined && x!.elementCount > SMALL) {
        return [adopt(backend, kernel(backend, { x: x!.device(backend) }), x!.shape)];
      }
      const out = output(backend, dtype, x!.shape);
      const source = numeric(x!);
      const target = out.data as unknown as { [i: number]: unknown };
      for (let i = 0; i < source.length; i++) target[i] = each(source[i]);
      return [out.value];
    };
  };

const finite: KernelBinder =
  () =>
  ([x]) => {
    const out = hostOutput('bool', x!.shape);
    const source = numeric(x!) as Float32Array;
    // Infinity and NaN less themselves are NaN: no call per element.
    for (let i = 0; i < source.length; i++)
      (out.data as Uint8Array)[i] = source[i]! - source[i]! === 0 ? 1 : 0;
    return [out.value];
  };

const predicate =
  (holds: (x: number) => boolean): KernelBinder =>
  () =>
  ([x]) => {
    const out = hostOutput('bool', x!.shape);
    const source = numeric(x!) as Float32Array;
    for (let i = 0; i < source.length; i++) (out.data as Uint8Array)[i] = holds(source[i]!) ? 1 : 0;
    return [out.value];
  };

const softplus = (x: number): number => (x > 0 ? x + Math.log1p(Math.exp(-x)) : Math.log1p(Math.exp(x)));
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** The constants of self-normalizing networks (Klambauer et al., 2017), as TensorFlow has them. */
export const SELU_SCALE = 1.0507009873554805;
export const SELU_SCALE_ALPHA = 1.7580993408473768;

/** x where it is positive, else a share of it that an attribute gives. */
const leakyRelu: KernelBinder = (operation) => {
  const alpha = floatAttr(operation, 'alpha', 0.2);
  return unary({ apply: (x) => (x > 0 ? x : alpha * x) })(operation);
};

/** To the nearest integer, halves to the even one. */
function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}

const round: Elementwise = { apply: roundHalfEven };

export const UNARY_KERNELS: KernelTable = {
  Neg: unary({ apply: (x) => -x, bigint: (x) => -x, wasm: 'Neg' }),
  Abs: unary({ apply: Math.abs, bigint: (x) => (x < 0n ? -x : x), wasm: 'Abs' }),
  Sign: unary({ apply: Math.sign, bigint: (x) => (x < 0n ? -1n : x > 0n ? 1n : 0n) }),
  Square: unary({ apply: (x) => x * x, bigint: (x) => x * x, wasm: 'Square' }),
  Sqrt: unary({ apply: Math.sqrt, wasm: 'Sqrt' }),
  Rsqrt: unary({ apply: (x) => 1 / Math.sqrt(x), wasm: 'Rsqrt' }),
  Exp: unary({ apply: Math.exp, wasm: 'Exp' }),
  Expm1: unary({ apply: Math.expm1 }),
  Log: unary({ apply: Math.log, wasm: 'Log' }),
  Log1p: unary({ apply: Math.log1p }),
  Reciprocal: unary({ apply: (x) => 1 / x, wasm: 'Reciprocal' }),
  Inv: unary({ apply: (x) => 1 / x, wasm: 'Reciprocal' }),
  Sin: unary({ apply: Math.sin }),
  Cos: unary({ apply: Math.cos }),
  Floor: unary({ apply: Math.floor }),
  Ceil: unary({ apply: Math.ceil }),
  Rint: unary(round),
  Round: unary({ ...round, bigint: (x) => x }),
  Sigmoid: unary({ apply: sigmoid, wasm: 'Sigmoid' }),
  Tanh: unary({ apply: Math.tanh, wasm: 'Tanh' }),
  Softplus: unary({ apply: softplus }),
  Relu: unary({ apply: (x) => (x <= 0 ? 0 : x), wasm: 'Relu' }),
  // The wasm kernel of this one turns NaN into 0.
  Relu6: unary({ apply: (x) => Math.min(Math.max(x, 0), 6) }),
  LeakyRelu: leakyRelu,
  Elu: unary({ apply: (x) => (x < 0 ? Math.expm1(x) : x) }),
  Selu: unary({ apply: (x) => (x < 0 ? SELU_SCALE_ALPHA * Math.expm1(x) : SELU_SCALE * x) }),
  Softsign: unary({ apply: (x) => x / (1 + Math.abs(x)) }),
  IsFinite: finite,
  IsNan: predicate(Number.isNaN),
  IsInf: predicate((x) => x === Number.POSITIVE_INFINITY || x === Number.NEGATIVE_INFINITY),
};
