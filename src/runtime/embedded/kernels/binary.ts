/** Arithmetic of two tensors with broadcasting: large float32 on the wasm heap, small and integer tensors in host memory. */
import type { DType } from '../../../graph/dtype.js';
import type { Operation } from '../../../graph/operation.js';
import { elementCount } from '../../../graph/shape.js';
import type { BoundKernel, KernelBinder, KernelTable } from '../kernel.js';
import type { Value } from '../value.js';
import { intAttr, invalid, typeAttr } from './attributes.js';
import { combineBroadcast } from './broadcast.js';
import { numeric, output, SMALL } from './host.js';
import { requireBroadcast } from './shape.js';
import { adopt, wasmKernel } from './wasm.js';

type OnNumbers = (x: number, y: number) => number;
type OnBigints = (x: bigint, y: bigint) => bigint;

/** What an operation does to each pair of elements. A missing form is a dtype it does not take. */
interface Arithmetic {
  readonly float?: OnNumbers;
  readonly int32?: OnNumbers;
  readonly int64?: OnBigints;
  /** The wasm kernel of the float32 form; it broadcasts fully. */
  readonly wasm?: string;
  /** The wasm kernel passes a NaN on from its first input only; the operation commutes. */
  readonly losesNaN?: boolean;
}

/** The rank up to which the wasm kernels broadcast. */
const WASM_RANK = 6;

function bindBinary(operation: Operation, arithmetic: Arithmetic): BoundKernel {
  const forms: Partial<Record<DType, OnNumbers | OnBigints | undefined>> = {
    float32: arithmetic.float,
    float64: arithmetic.float,
    int32: arithmetic.int32,
    int64: arithmetic.int64,
  };
  const allowed = (Object.keys(forms) as DType[]).filter((dtype) => forms[dtype] !== undefined);
  const dtype = typeAttr(operation, 'T', { allowed });
  const combine = forms[dtype] as OnNumbers;
  const kernel =
    dtype === 'float32' && arithmetic.wasm !== undefined ? wasmKernel(arithmetic.wasm) : undefined;
  return ([a, b], { backend }) => {
    const shape = requireBroadcast(operation, a!.shape, b!.shape);
    const fits = kernel !== undefined && elementCount(shape) > SMALL && shape.length <= WASM_RANK;
    const pair = fits && (arithmetic.losesNaN ? orderForNaN(a!, b!) : [a!, b!]);
    if (pair) {
      const [first, second] = pair as [Value, Value];
      return [
        adopt(backend, kernel!(backend, { a: first.device(backend), b: second.device(backend) }), shape),
      ];
    }
    const out = output(backend, dtype, shape);
    const left = { data: numeric(a!), shape: a!.shape };
    const right = { data: numeric(b!), shape: b!.shape };
    try {
      combineBroadcast(out.data, shape, left, right, combine);
    } catch (error) {
      out.value.release();
      throw invalid(operation, 'operands it is defined for', (error as Error).message);
    }
    return [out.value];
  };
}

/** The larger input first, if the other is quickly seen to hold no NaN. */
function orderForNaN(a: Value, b: Value): readonly [Value, Value] | undefined {
  const [large, small] = a.elementCount >= b.elementCount ? [a, b] : [b, a];
  if (small.elementCount > SMALL || (numeric(small) as Float32Array).some(Number.isNaN)) return undefined;
  return [large, small];
}

function binary(arithmetic: Arithmetic): KernelBinder {
  return (operation) => bindBinary(operation, arithmetic);
}

function divisor<T extends number | bigint>(y: T): T {
  if (Number(y) === 0) throw new RangeError('integer division by zero');
  return y;
}

function floorMod(x: number, y: number): number {
  const rest = x % y;
  return rest !== 0 && rest < 0 !== y < 0 ? rest + y : rest;
}

function floorModBig(x: bigint, y: bigint): bigint {
  const rest = x % divisor(y);
  return rest !== 0n && rest < 0n !== y < 0n ? rest + y : rest;
}

function floorDivBig(x: bigint, y: bigint): bigint {
  return (x - floorModBig(x, y)) / y;
}

/** x to the y with products that wrap as 32-bit integers do. */
function powInt(x: number, y: number): number {
  if (y < 0) throw new RangeError('a negative integer exponent');
  let result = 1;
  for (let base = x, rest = y; rest > 0; rest >>>= 1) {
    if (rest & 1) result = Math.imul(result, base);
    base = Math.imul(base, base);
  }
  return result;
}

function powBig(x: bigint, y: bigint): bigint {
  if (y < 0n) throw new RangeError('a negative integer exponent');
  return x ** y;
}

const add: KernelBinder = binary({
  float: (x, y) => x + y,
  int32: (x, y) => x + y,
  int64: (x, y) => x + y,
  wasm: 'Add',
});

const realDiv = { float: (x: number, y: number) => x / y, wasm: 'RealDiv' };
const truncatedDiv = {
  int32: (x: number, y: number) => x / divisor(y),
  int64: (x: bigint, y: bigint) => x / divisor(y),
};
const truncatedMod = {
  float: (x: number, y: number) => x % y,
  int32: (x: number, y: number) => x % divisor(y),
  int64: (x: bigint, y: bigint) => x % divisor(y),
};

/** The sum of any number of equal shapes, added from the first to the last. */
const addN: KernelBinder = (operation) => {
  intAttr(operation, 'N', 1);
  const plus = add(operation);
  return (inputs, runtime) => {
    let sum = inputs[0]!.retain();
    for (const value of inputs.slice(1)) {
      const [next] = plus([sum, value], runtime) as ReturnType<BoundKernel> & readonly [typeof sum];
      sum.release();
      sum = next;
    }
    return [sum];
  };
};

export const BINARY_KERNELS: KernelTable = {
  Add: add,
  AddV2: add,
  AddN: addN,
  Sub: binary({ float: (x, y) => x - y, int32: (x, y) => x - y, int64: (x, y) => x - y, wasm: 'Sub' }),
  Mul: binary({ float: (x, y) => x * y, int32: Math.imul, int64: (x, y) => x * y, wasm: 'Multiply' }),
  RealDiv: binary(realDiv),
  Div: binary({ ...truncatedDiv, ...realDiv }),
  TruncateDiv: binary({ ...truncatedDiv, float: (x, y) => Math.trunc(x / y) }),
  TruncateMod: binary(truncatedMod),
  Mod: binary(truncatedMod),
  DivNoNan: binary({ float: (x, y) => (y === 0 ? 0 : x / y) }),
  MulNoNan: binary({ float: (x, y) => (y === 0 ? 0 : x * y) }),
  Xdivy: binary({ float: (x, y) => (x === 0 ? 0 : x / y) }),
  Xlogy: binary({ float: (x, y) => (x === 0 ? 0 : x * Math.log(y)) }),
  FloorDiv: binary({
    float: (x, y) => Math.floor(Math.fround(x / y)),
    int32: (x, y) => Math.floor(x / divisor(y)),
    int64: floorDivBig,
  }),
  FloorMod: binary({ float: floorMod, int32: (x, y) => floorMod(x, divisor(y)), int64: floorModBig }),
  Maximum: binary({
    float: Math.max,
    int32: Math.max,
    int64: (x, y) => (x > y ? x : y),
    wasm: 'Maximum',
    losesNaN: true,
  }),
  Minimum: binary({
    float: Math.min,
    int32: Math.min,
    int64: (x, y) => (x < y ? x : y),
    wasm: 'Minimum',
    losesNaN: true,
  }),
  Pow: binary({ float: Math.pow, int32: powInt, int64: powBig }),
  SquaredDifference: binary({
    float: (x, y) => (x - y) * (x - y),
    int32: (x, y) => Math.imul(x - y, x - y),
    int64: (x, y) => (x - y) * (x - y),
    wasm: 'SquaredDifference',
  }),
};
