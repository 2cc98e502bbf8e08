/**
 * TaskResources: the shared objects that one task's graph names, found once each by handle operation. Owned by the task thread; the
 * objects themselves belong to the native session.
 */
import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';
import type {
  NativeCommunicator,
  NativeDenseAccumulator,
  NativeDType,
  NativeSession,
  NativeSparseAccumulator,
  NativeTokenQueue,
} from '../../addon/native.js';
import { GradsyncError } from '../../errors.js';
import type { DType } from '../../graph/dtype.js';
import type { Operation } from '../../graph/operation.js';
import { isFullyKnown, type Shape } from '../../graph/shape.js';
import { type CollectiveKeys, collectiveKey } from './collective-keys.js';
import { addressOf, resourceKey } from './handles.js';
import {
  intAttr,
  shapeOrNullAttr,
  shapesAttr,
  stringAttr,
  typeAttr,
  typesAttr,
} from './kernels/attributes.js';
import { nativeDType, VariableAccess } from './variable-access.js';

/** An accumulator, a queue or a collective, with its key and this task's traffic with it. */
export interface Meeting<T> {
  readonly key: string;
  readonly object: T;
  readonly traffic: Traffic;
}

/** How often this task gave something to an accumulator, queue or collective, and took something from it. */
export interface Traffic {
  given: number;
  taken: number;
}

export class TaskResources {
  readonly native: NativeSession;
  readonly backend: BackendWasm;
  readonly task: number;
  readonly #loop: string | null;
  readonly #variables = new Map<string, VariableAccess>();
  readonly #communicators = new Map<number, NativeCommunicator>();
  readonly #meetings = new Map<string, Meeting<unknown>>();

  /** `loop`: the operation that a thread in the background runs, of the same name on all tasks; null for the thread of the steps. */
  constructor(native: NativeSession, backend: BackendWasm, task: number, loop: string | null = null) {
    this.native = native;
    this.backend = backend;
    this.task = task;
    this.#loop = loop;
  }

  variable(handle: Operation): VariableAccess {
    const key = resourceKey('variable', addressOf(handle, this.task));
    let variable = this.#variables.get(key);
    if (variable === undefined) {
      const dtype = typeAttr(handle, 'dtype');
      const shape = shapeOrNullAttr(handle, 'shape');
      const native = this.native.variable(key, variableSpec(dtype, shape));
      variable = new VariableAccess(handle.name, dtype, shape, native, this.backend);
      this.#variables.set(key, variable);
    }
    return variable;
  }

  denseAccumulator(handle: Operation): Meeting<NativeDenseAccumulator> {
    return this.#meeting('accumulator', handle, (key) =>
      this.native.denseAccumulator(key, {
        dtype: typeAttr(handle, 'dtype') as NativeDType,
        shape: shapeOrNullAttr(handle, 'shape'),
        reduction: reductionOf(handle),
      }),
    );
  }

  /** Always of the combined form: sorted, unique rows, so that unsorted and repeated indices give the dense mean. */
  sparseAccumulator(handle: Operation): Meeting<NativeSparseAccumulator> {
    return this.#meeting('accumulator', handle, (key) =>
      this.native.sparseAccumulator(key, {
        dtype: typeAttr(handle, 'dtype') as NativeDType,
        shape: shapeOrNullAttr(handle, 'shape'),
        reduction: reductionOf(handle),
        form: 'combined',
      }),
    );
  }

  queue(handle: Operation): Meeting<NativeTokenQueue> {
    return this.#meeting('queue', handle, (key) => {
      const shapes = shapesAttr(handle, 'shapes');
      return this.native.tokenQueue(key, {
        dtypes: typesAttr(handle, 'component_types').map((dtype) => queueDType(handle, dtype)),
        shapes: shapes.length > 0 && shapes.every(isFullyKnown) ? shapes : null,
        capacity: intAttr(handle, 'capacity', -1),
        // The same in all tasks, which may call the operation by different names.
        name: addressOf(handle, this.task).name,
      });
    });
  }

  /** The communicator of a group of tasks, this one's end of it, with the traffic of one collective. */
  collective(keys: CollectiveKeys): Meeting<NativeCommunicator> {
    const key = collectiveKey(keys);
    let meeting = this.#meetings.get(key);
    if (meeting === undefined) {
      meeting = { key, object: this.#communicator(keys), traffic: { given: 0, taken: 0 } };
      this.#meetings.set(key, meeting);
    }
    return meeting as Meeting<NativeCommunicator>;
  }

  #communicator({ group, size }: CollectiveKeys): NativeCommunicator {
    let communicator = this.#communicators.get(group);
    if (communicator === undefined) {
      // Threads of one task are ranks of groups of their own.
      const where = this.#loop === null ? '' : ` of ${this.#loop}`;
      communicator = this.native.communicator(`group ${group}${where}`, { size, rank: this.task });
      this.#communicators.set(group, communicator);
    }
    return communicator;
  }

  /** This task's traffic with the accumulator or queue of that key. */
  traffic(key: string): Traffic {
    return this.#meetings.get(key)?.traffic ?? { given: 0, taken: 0 };
  }

  /** How often this task gave something to any of them. */
  get gifts(): number {
    return [...this.#meetings.values()].reduce((sum, { traffic }) => sum + traffic.given, 0);
  }

  #meeting<T>(kind: 'accumulator' | 'queue', handle: Operation, open: (key: string) => T): Meeting<T> {
    const key = resourceKey(kind, addressOf(handle, this.task));
    let meeting = this.#meetings.get(key);
    if (meeting === undefined) {
      meeting = { key, object: open(key), traffic: { given: 0, taken: 0 } };
      this.#meetings.set(key, meeting);
    }
    return meeting as Meeting<T>;
  }
}

/** What the native session is asked for. Every thread must ask for the same. */
export function variableSpec(
  dtype: DType,
  shape: Shape,
): { dtype: NativeDType; shape: readonly number[] | null } {
  return {
    dtype: nativeDType(dtype),
    shape: dtype === 'string' ? null : shape,
  };
}

function reductionOf(handle: Operation): 'mean' | 'sum' {
  return stringAttr(handle, 'reduction_type', 'MEAN') === 'SUM' ? 'sum' : 'mean';
}

function queueDType(handle: Operation, dtype: DType): NativeDType {
  if (dtype === 'string' || dtype === 'resource' || dtype === 'variant' || dtype.startsWith('complex')) {
    throw new GradsyncError('UNIMPLEMENTED', `Queue "${handle.name}"`, {
      expected: 'components of numbers',
      received: dtype,
      remedy: 'run this graph on TensorFlow',
      operation: handle.name,
    });
  }
  return dtype as NativeDType;
}
