/**
 * What operations and tensors were like before they were edited, so that edits can be taken back. Each is kept once, at its first edit:
 * taking back costs what the edits touched. Graph tells of its edits before it makes them.
 */
import type { Operation, Placement, Tensor } from './operation.js';
import { OperationSet } from './operation-set.js';

type Kept = Pick<
  Operation,
  'inputs' | 'controlInputs' | 'controlConsumers' | 'ownAttributes' | 'table' | 'row' | 'isIntact'
>;

export class Journal {
  /** Operations from this id on were added since: there is nothing to keep of them. */
  readonly #firstNew: number;
  readonly #operations = new Map<Operation, Kept>();
  readonly #consumers = new Map<Tensor, ReadonlySet<Operation>>();
  /** Every move of an operation to another device, and every new name of a device. */
  readonly #moved: (readonly [Operation, Placement])[] = [];
  readonly #renamed: (readonly [Placement, string])[] = [];

  constructor(firstNew: number) {
    this.#firstNew = firstNew;
  }

  /** Before anything but the device of an operation is edited. */
  keepOperation(operation: Operation): void {
    if (operation.id >= this.#firstNew || this.#operations.has(operation)) return;
    const { inputs, controlInputs, controlConsumers, ownAttributes, table, row, isIntact } = operation;
    this.#operations.set(operation, {
      inputs: inputs.slice(),
      controlInputs: controlInputs.slice(),
      controlConsumers: copyOf(controlConsumers),
      ownAttributes,
      table,
      row,
      isIntact,
    });
  }

  keepConsumers(tensor: Tensor): void {
    if (tensor.operation.id >= this.#firstNew || this.#consumers.has(tensor)) return;
    this.#consumers.set(tensor, copyOf(tensor.consumers));
  }

  keepPlacement(operation: Operation): void {
    if (operation.id < this.#firstNew) this.#moved.push([operation, operation.placement]);
  }

  keepDevice(placement: Placement): void {
    this.#renamed.push([placement, placement.device]);
  }

  /** Makes everything what it was. */
  takeBack(): void {
    for (const [operation, kept] of this.#operations) Object.assign(operation, kept);
    for (const [tensor, consumers] of this.#consumers) Object.assign(tensor, { consumers });
    for (const [operation, placement] of this.#moved.reverse()) Object.assign(operation, { placement });
    for (const [placement, device] of this.#renamed.reverse()) Object.assign(placement, { device });
  }
}

function copyOf(operations: ReadonlySet<Operation>): ReadonlySet<Operation> {
  return operations instanceof OperationSet ? operations.copy() : operations;
}
