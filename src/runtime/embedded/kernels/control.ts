/** Operations that pass values on, hold them or stand for them: no computation. */
import { GradsyncError } from '../../../errors.js';
import type { TensorValue } from '../../../graph/attributes.js';
import type { Operation } from '../../../graph/operation.js';
import { elementCount, isCompatible, printShape } from '../../../graph/shape.js';
import type { KernelBinder, KernelTable } from '../kernel.js';
import { DEAD, type HostArray, Value } from '../value.js';
import { intAttr, shapeAttr, stringAttr, tensorAttr } from './attributes.js';
import { hostArray, numeric } from './host.js';

const identity: KernelBinder = () => (inputs) => [inputs[0]!.retain()];
const identityN: KernelBinder = () => (inputs) => inputs.map((value) => value.retain());
const nothing: KernelBinder = () => () => [];

/** A constant is decoded once; every step hands out another reference to it, so it is copied to the wasm heap at most once. */
const constant: KernelBinder = (operation) => {
  const tensor = tensorAttr(operation, 'value');
  const value = Value.ofHost(tensor.dtype, tensor.shape, decodeTensor(tensor));
  return () => [value.retain()];
};

/** The elements of a tensor in an attribute; one element stands for all, as in TensorFlow's compressed constants. */
export function decodeTensor(tensor: TensorValue): HostArray {
  const count = elementCount(tensor.shape);
  if (tensor.dtype === 'string') return repeatLast(tensor.strings ?? [], count);
  const array = hostArray(tensor.dtype, count);
  const bytes = new Uint8Array(array.buffer);
  if (tensor.bytes.length > bytes.length) {
    throw new GradsyncError('INVALID_ARGUMENT', 'Constant', {
      expected: `${bytes.length} bytes for ${tensor.dtype}${printShape(tensor.shape)}`,
      received: String(tensor.bytes.length),
    });
  }
  bytes.set(tensor.bytes);
  const size = array.BYTES_PER_ELEMENT;
  const given = tensor.bytes.length / size;
  if (given > 0 && given < count) (array as Float32Array).fill((array as Float32Array)[given - 1]!, given);
  return array;
}

function repeatLast(strings: readonly Uint8Array[], count: number): readonly Uint8Array[] {
  const last = strings[strings.length - 1] ?? new Uint8Array(0);
  return Array.from({ length: count }, (_, i) => strings[i] ?? last);
}

const placeholder: KernelBinder = (operation) => () => {
  throw new GradsyncError('INVALID_ARGUMENT', `Placeholder "${operation.name}"`, {
    expected: 'a fed value',
    received: 'none',
    remedy: `feed ${operation.name}:0`,
    operation: operation.name,
  });
};

const assertion: KernelBinder = (operation) => {
  const summarize = intAttr(operation, 'summarize', 3);
  return (inputs) => {
    if (numeric(inputs[0]!)[0] !== 0) return [];
    throw new GradsyncError('INVALID_ARGUMENT', `assertion failed: ${describe(inputs.slice(1), summarize)}`, {
      operation: operation.name,
    });
  };
};

function describe(values: readonly Value[], summarize: number): string {
  const utf8 = new TextDecoder();
  return values
    .map((value) => {
      const data = value.host();
      const shown = summarize < 0 ? value.elementCount : Math.min(summarize, value.elementCount);
      const parts = Array.from({ length: shown }, (_, i) => {
        const element = data[i]!;
        return element instanceof Uint8Array ? utf8.decode(element) : String(element);
      });
      return `[${parts.join(' ')}${shown < value.elementCount ? '...' : ''}]`;
    })
    .join(' ');
}

const ensureShape: KernelBinder = (operation) => {
  const shape = shapeAttr(operation, 'shape');
  return ([value]) => {
    if (isCompatible(value!.shape, shape)) return [value!.retain()];
    throw mismatch(operation, printShape(shape), printShape(value!.shape));
  };
};

function mismatch(operation: Operation, expected: string, received: string): GradsyncError {
  return new GradsyncError('INVALID_ARGUMENT', `${operation.type} "${operation.name}"`, {
    expected: `shape ${expected}`,
    received,
    operation: operation.name,
  });
}

const checkNumerics: KernelBinder = (operation) => {
  const message = stringAttr(operation, 'message', '');
  return ([value]) => {
    if ((numeric(value!) as Float32Array).every(Number.isFinite)) return [value!.retain()];
    throw new GradsyncError('INVALID_ARGUMENT', `${message}: ${operation.name}`, {
      expected: 'finite numbers',
      received: 'NaN or infinity',
      operation: operation.name,
    });
  };
};

/** Gives its input out on one of two sides. */
const branch: KernelBinder = () => (inputs) => {
  const value = inputs[0]!.retain();
  return numeric(inputs[1]!)[0] !== 0 ? [DEAD, value] : [value, DEAD];
};

/** Takes what there is: the executor leaves inputs of branches that were not taken undefined. */
const merge: KernelBinder = () => (inputs) => {
  const at = inputs.findIndex((value: Value | undefined) => value !== undefined);
  return [inputs[at]!.retain(), Value.ofHost('int32', [], Int32Array.of(at))];
};

export const CONTROL_KERNELS: KernelTable = {
  NoOp: nothing,
  Identity: identity,
  Snapshot: identity,
  StopGradient: identity,
  PreventGradient: identity,
  PlaceholderWithDefault: identity,
  IdentityN: identityN,
  Const: constant,
  Placeholder: placeholder,
  Assert: assertion,
  EnsureShape: ensureShape,
  CheckNumerics: checkNumerics,
  ControlTrigger: nothing,
  Switch: branch,
  Merge: merge,
  LoopCond: identity,
  // Of loops, which the plan makes of these: they never run by themselves.
  Enter: identity,
  Exit: identity,
  NextIteration: identity,
};
