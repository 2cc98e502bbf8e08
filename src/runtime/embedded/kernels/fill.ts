/** Operations that make tensors out of little: fills, ranges, one-hot rows and casts. */
import type { NumericArray } from '../../../addon/native.js';
import type { DType } from '../../../graph/dtype.js';
import type { Operation } from '../../../graph/operation.js';
import type { BoundKernel, KernelBinder, KernelTable } from '../kernel.js';
import { type HostArray, Value } from '../value.js';
import { intAttr, invalid, typeAttr } from './attributes.js';
import { isHalf, narrow, widen } from './half.js';
import { hostArray, hostOutput, integers, numeric, output, scalar } from './host.js';
import { normalizeAxis } from './shape.js';

type Elements = { [index: number]: unknown; fill(value: unknown, start?: number, end?: number): unknown };

const fill: KernelBinder =
  () =>
  ([dims, value], { backend }) => {
    const shape = integers(dims!);
    const source: HostArray = value!.host();
    if (!ArrayBuffer.isView(source)) {
      const text = source[0]!;
      const length = shape.reduce((product, dim) => product * dim, 1);
      return [Value.ofHost(value!.dtype, shape, new Array<Uint8Array>(length).fill(text))];
    }
    const element = numeric(value!)[0]!;
    const out = output(backend, value!.dtype, shape);
    (out.data as unknown as Elements).fill(element);
    return [out.value];
  };

/** A constant of another tensor's shape. */
const like =
  (element: 0 | 1): KernelBinder =>
  (operation) => {
    const dtype = typeAttr(operation, 'T');
    const value = dtype === 'int64' ? BigInt(element) : element;
    return ([input], { backend }) => {
      const out = output(backend, dtype, input!.shape);
      (out.data as unknown as Elements).fill(value);
      return [out.value];
    };
  };

/** `start + i * delta`, rounded to the element type after each step. */
const range: KernelBinder = (operation) => {
  const dtype = typeAttr(operation, 'Tidx', {
    allowed: ['int32', 'int64', 'float32', 'float64'],
    fallback: 'int32',
  });
  const round = dtype === 'float32' ? Math.fround : (x: number) => x;
  return (inputs) => {
    const [start, limit, delta] = inputs.map(scalar) as [number, number, number];
    if (delta === 0) throw invalid(operation, 'a delta that is not 0', '0');
    if ((limit - start) * delta < 0)
      throw invalid(operation, 'delta in the direction of limit', String(delta));
    const size = Math.ceil(Math.abs(round(round(limit - start) / delta)));
    const data = hostArray(dtype, size) as unknown as Elements;
    for (let i = 0; i < size; i++) {
      const value = round(start + round(i * delta));
      data[i] = dtype === 'int64' ? BigInt(value) : value;
    }
    return [Value.ofHost(dtype, [size], data as unknown as HostArray)];
  };
};

const oneHot: KernelBinder = (operation) => {
  const axis = intAttr(operation, 'axis', -1);
  const dtype = typeAttr(operation, 'T');
  return ([indices, depth, on, off], { backend }) => {
    const rank = indices!.shape.length + 1;
    const at = normalizeAxis(operation, axis, rank);
    const classes = scalar(depth!);
    const onValue = numeric(on!)[0]!;
    const offValue = numeric(off!)[0]!;
    const out = output(backend, dtype, indices!.shape.toSpliced(at, 0, classes));
    const data = out.data as unknown as Elements;
    data.fill(offValue);
    const source = numeric(indices!);
    const inner = indices!.shape.slice(at).reduce((product, dim) => product * dim, 1);
    for (let i = 0; i < source.length; i++) {
      const index = Number(source[i]);
      const row = Math.floor(i / inner) * classes;
      if (index >= 0 && index < classes) data[(row + index) * inner + (i % inner)] = onValue;
    }
    return [out.value];
  };
};

const CASTABLE: readonly DType[] = ['float32', 'float64', 'int32', 'int64', 'bool', 'uint8', 'int8', 'int16'];

const cast: KernelBinder = (operation) => {
  const from = typeAttr(operation, 'SrcT', { allowed: [...CASTABLE, 'float16', 'bfloat16'] });
  const to = typeAttr(operation, 'DstT', { allowed: [...CASTABLE, 'float16', 'bfloat16'] });
  if (from !== to && (isHalf(from) || isHalf(to))) return castHalf(operation, from, to);
  if (from === to) return ([value]) => [value!.retain()];
  return ([value], { backend }) => {
    const out = output(backend, to, value!.shape);
    convert(out.data, numeric(value!), to);
    return [out.value];
  };
};

/** Halves are cast from and to float32 only. */
function castHalf(operation: Operation, from: DType, to: DType): BoundKernel {
  if (isHalf(from) && to === 'float32') {
    return ([value], { backend }) => {
      const out = output(backend, to, value!.shape);
      widen(numeric(value!) as Uint16Array, from, out.data as Float32Array);
      return [out.value];
    };
  }
  if (isHalf(to) && from === 'float32') {
    return ([value]) => {
      const out = hostOutput(to, value!.shape);
      narrow(numeric(value!) as Float32Array, to, out.data as Uint16Array);
      return [out.value];
    };
  }
  throw invalid(operation, 'float32 beside a half type', `${from} to ${to}`);
}

/** Converts elements as C++ casts do: towards zero for integers, "is not 0" for bool. */
export function convert(target: NumericArray, source: NumericArray, to: DType): void {
  const out = target as unknown as Elements;
  if (to === 'bool') {
    for (let i = 0; i < source.length; i++) out[i] = Number(source[i]) !== 0 ? 1 : 0;
  } else if (target instanceof BigInt64Array) {
    for (let i = 0; i < source.length; i++) target[i] = BigInt(Math.trunc(Number(source[i])));
  } else if (source instanceof BigInt64Array) {
    if (to === 'float32' || to === 'float64') {
      for (let i = 0; i < source.length; i++) out[i] = Number(source[i]);
    } else {
      for (let i = 0; i < source.length; i++) out[i] = Number(BigInt.asIntN(32, source[i]!));
    }
  } else {
    (target as Float32Array).set(source as Float32Array);
  }
}

export const FILL_KERNELS: KernelTable = {
  Fill: fill,
  ZerosLike: like(0),
  OnesLike: like(1),
  Range: range,
  OneHot: oneHot,
  Cast: cast,
};
