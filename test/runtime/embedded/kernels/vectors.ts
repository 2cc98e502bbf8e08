/** Reads the vectors that TensorFlow's kernels gave, runs ours on them, and compares. */

import { readFileSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { loadAddon } from '../../../../src/addon/load.js';
import type { NumericArray } from '../../../../src/addon/native.js';
import { type AttrValue, attr, attributes, type TensorValue } from '../../../../src/graph/attributes.js';
import type { DType } from '../../../../src/graph/dtype.js';
import { Operation } from '../../../../src/graph/operation.js';
import { openBackend } from '../../../../src/runtime/embedded/backend.js';
import type { BoundKernel, TaskRuntime } from '../../../../src/runtime/embedded/kernel.js';
import { hostArray } from '../../../../src/runtime/embedded/kernels/host.js';
import { COMPUTE_KERNELS } from '../../../../src/runtime/embedded/kernels/index.js';
import { type HostArray, Value } from '../../../../src/runtime/embedded/value.js';
import { projectPath } from '../../../helpers/paths.js';

export interface ArrayJson {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data?: string;
  readonly strings?: readonly string[];
}

type AttrJson =
  | { readonly string: string }
  | { readonly int: number }
  | { readonly float: number }
  | { readonly bool: boolean }
  | { readonly type: DType }
  | { readonly shape: readonly number[] | null }
  | { readonly tensor: ArrayJson }
  | { readonly list: readonly AttrJson[] };

export interface CaseJson {
  readonly name: string;
  readonly type: string;
  readonly attributes: Readonly<Record<string, AttrJson>>;
  readonly inputs: readonly ArrayJson[];
  readonly outputs: readonly ArrayJson[];
  readonly laterRuns?: readonly (readonly ArrayJson[])[];
  readonly mass?: number;
  readonly ulps?: number;
}

const utf8 = new TextEncoder();

export function decodeArray(json: ArrayJson): HostArray {
  if (json.strings !== undefined) return json.strings.map((text) => utf8.encode(text));
  const bytes = Buffer.from(json.data!, 'base64');
  const array = hostArray(
    json.dtype,
    json.shape.reduce((n, d) => n * d, 1),
  );
  new Uint8Array(array.buffer).set(bytes);
  return array;
}

function decodeAttribute(json: AttrJson): AttrValue {
  if ('string' in json) return attr.string(json.string);
  if ('int' in json) return attr.int(json.int);
  if ('float' in json) return attr.float(json.float);
  if ('bool' in json) return attr.bool(json.bool);
  if ('type' in json) return attr.type(json.type);
  if ('shape' in json) return attr.shape(json.shape);
  if ('list' in json) return attr.list(json.list.map(decodeAttribute));
  const data = decodeArray(json.tensor) as NumericArray;
  const { dtype, shape } = json.tensor;
  const value: TensorValue = { dtype, shape, bytes: new Uint8Array(data.buffer) };
  return attr.tensor(value);
}

export function operationOf(json: Pick<CaseJson, 'type' | 'attributes'>, name = 'under_test'): Operation {
  const values = Object.entries(json.attributes).map(([key, value]) => [key, decodeAttribute(value)]);
  return new Operation({ name, type: json.type, attributes: attributes(Object.fromEntries(values)) }, 0);
}

/** A runtime for kernels that compute: they do not wait. */
export async function computeRuntime(): Promise<TaskRuntime> {
  const backend = await openBackend();
  const { addRows } = loadAddon();
  return { backend, addRows, deadlineMs: Number.POSITIVE_INFINITY, awaitSettlement: () => undefined };
}

export function bind(operation: Operation): BoundKernel {
  const binder = COMPUTE_KERNELS[operation.type];
  if (binder === undefined) throw new Error(`no kernel for ${operation.type}`);
  return binder(operation);
}

/** Runs a kernel that does not wait. */
export function call(kernel: BoundKernel, inputs: readonly Value[], runtime: TaskRuntime): readonly Value[] {
  return kernel(inputs, runtime) as readonly Value[];
}

const EPSILON: Partial<Record<DType, number>> = { float32: 2 ** -23, float64: 2 ** -52 };

function compareArray(t: ExecutionContext, actual: Value, expected: ArrayJson, json: CaseJson): void {
  const data = decodeArray(expected);
  t.is(actual.dtype, expected.dtype);
  t.deepEqual([...actual.shape], [...expected.shape]);
  const got = actual.host();
  const epsilon = EPSILON[expected.dtype];
  if (epsilon === undefined) {
    t.deepEqual(Array.from(got as ArrayLike<unknown>), Array.from(data as ArrayLike<unknown>));
    return;
  }
  t.is(got.length, data.length);
  for (let i = 0; i < data.length; i++) {
    const [x, y] = [(got as Float32Array)[i]!, (data as Float32Array)[i]!];
    if (x === y || (Number.isNaN(x) && Number.isNaN(y))) continue;
    const bound = (json.ulps ?? 0) * epsilon * (Math.abs(y) + (json.mass ?? 0));
    if (!(Math.abs(x - y) <= bound))
      t.fail(`element ${i}: expected ${y} but received ${x}; the bound is ${bound}`);
  }
}

export function compareOutputs(
  t: ExecutionContext,
  outputs: readonly Value[],
  expected: readonly ArrayJson[],
  json: CaseJson,
): void {
  t.is(outputs.length, expected.length);
  expected.forEach((array, i) => {
    compareArray(t, outputs[i]!, array, json);
  });
}

function loadCases(family: string): readonly CaseJson[] {
  return JSON.parse(readFileSync(projectPath('test', 'fixtures', 'kernels', `${family}.json`), 'utf8'));
}

/** Where a test puts inputs before the kernel sees them. */
const PLACES = {
  'in host memory': (value: Value): Value => value,
  'on the wasm heap': (value: Value, { backend }: TaskRuntime): Value => {
    if (!['float32', 'int32', 'bool'].includes(value.dtype)) return value;
    const copied = Value.ofDevice(backend, value.device(backend));
    return copied;
  },
};

/** One test per case and place of its inputs: results equal TensorFlow's, and nothing stays on the heap. */
export function testFamily(family: string): void {
  for (const json of loadCases(family)) {
    for (const [place, put] of Object.entries(PLACES)) {
      test(`${json.type} ${json.name}, inputs ${place}, equals TensorFlow's`, async (t) => {
        const runtime = await computeRuntime();
        const before = runtime.backend.numDataIds();
        const kernel = bind(operationOf(json));
        const originals = json.inputs.map((array) =>
          Value.ofHost(array.dtype, array.shape, decodeArray(array)),
        );
        const inputs = originals.map((value) => put(value, runtime));
        for (const expected of [json.outputs, ...(json.laterRuns ?? [])]) {
          const outputs = call(kernel, inputs, runtime);
          compareOutputs(t, outputs, expected, json);
          for (const value of outputs) value.release();
        }
        for (const value of inputs) value.release();
        t.is(runtime.backend.numDataIds(), before);
      });
    }
  }
}
