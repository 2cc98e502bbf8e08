/**
 * Transfers: what a run of a plan moves between tasks, found when it is compiled. An operation on one task that takes a tensor of another
 * moves it, once for each device that takes it, as TensorFlow sends it; a collective sends around the ring of its members. Handles and control
 * edges carry no data.
 */
import { parseDevice } from '../../graph/device.js';
import { DTYPES } from '../../graph/dtype.js';
import type { Operation, Tensor } from '../../graph/operation.js';
import { bytesAroundRing } from '../../graph/ring.js';
import { isCollective, membersOf } from './collective-keys.js';
import type { Source, Transfer } from './execution-plan.js';
import { handleOf } from './handles.js';
import { ElementList } from './kernels/element-list.js';
import type { Value } from './value.js';

/** Finds the transfers of a plan, asked for its nodes in their order: the first that takes a tensor on a device moves it there. */
export class TransferFinder {
  readonly #task: number;
  readonly #tasks = new Map<string, number>();
  readonly #places = new Map<Operation, string>();
  /** By tensor, the devices that have it. */
  readonly #there = new Map<Tensor, Set<string>>();

  /** `task`: where an operation is whose device says nothing. */
  constructor(task: number) {
    this.#task = task;
  }

  /** Of a node whose sources are the values of `inputs`. */
  find(operation: Operation, inputs: readonly Tensor[], sources: readonly Source[]): readonly Transfer[] {
    const place = this.#placeOf(operation);
    const found = inputs.flatMap((tensor, input) =>
      sources[input] === null ? [] : this.#taken(tensor, input, place),
    );
    const members = isCollective(operation.type) ? membersOf(operation) : undefined;
    if (members === undefined) return found;
    const around = { type: operation.type, members };
    return [...found, { input: 0, from: this.#task, to: (this.#task + 1) % members, around }];
  }

  #taken(tensor: Tensor, input: number, device: string): readonly Transfer[] {
    const [from, to] = [this.#taskOf(this.#placeOf(tensor.operation)), this.#taskOf(device)];
    if (from === to) return [];
    const there = this.#there.get(tensor);
    if (there?.has(device)) return [];
    if (there === undefined) this.#there.set(tensor, new Set([device]));
    else there.add(device);
    return [{ input, from, to }];
  }

  /** An operation of a function, which says nothing of a device, lies where the variable is whose handle it takes. */
  #placeOf(operation: Operation): string {
    let place = this.#places.get(operation);
    if (place === undefined) {
      const [first] = operation.inputs;
      place = ((first && handleOf(first)) ?? operation).device;
      this.#places.set(operation, place);
    }
    return place;
  }

  #taskOf(device: string): number {
    let task = this.#tasks.get(device);
    if (task === undefined) {
      task = parseDevice(device).task ?? this.#task;
      this.#tasks.set(device, task);
    }
    return task;
  }
}

/** Bytes that a transfer moves of a value. */
export function bytesMoved({ around }: Transfer, value: Value): number {
  const bytes = bytesOf(value);
  return around === undefined ? bytes : bytesAroundRing(around.type, bytes, around.members);
}

/** A list is sent with its elements. */
function bytesOf(value: Value): number {
  if (value.dtype === 'variant' && value.held instanceof ElementList) {
    return value.held.elements.reduce(
      (sum, element) => sum + (element === undefined ? 0 : bytesOf(element)),
      0,
    );
  }
  if (value.dtype !== 'string') return value.elementCount * DTYPES[value.dtype].size;
  return (value.host() as readonly Uint8Array[]).reduce((sum, { byteLength }) => sum + byteLength, 0);
}
