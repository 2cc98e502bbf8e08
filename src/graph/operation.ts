/**
 * Operations and tensors: the nodes and edges of a graph. They are read here and changed only through their Graph, which keeps both
 * directions of every edge (inputs and consumers) consistent.
 */
import { type Attributes, NO_ATTRIBUTES } from './attributes.js';
import { printTensorName } from './name.js';

/** Where an operation came from, when a pass made it. Names are printed from this, never read back. */
export interface Origin {
  /** Name of the operation, variable or gradient it was made for. */
  readonly source: string;
  /** The pass that made it. */
  readonly pass: string;
  readonly task?: number;
}

/** Nodes as they stand in a file or buffer: the codec's. Tells what an operation says in its node, for as long as nothing else was set. */
export interface StoredNodes {
  name(row: number): string;
  attributes(row: number): Attributes;
}

/** The row of a node in a table. */
export interface StoredNode {
  readonly table: StoredNodes | undefined;
  readonly row: number;
}

/**
 * Where operations are placed. All operations of a graph on one device share one of these, so that a device gets another name in one step,
 * however many operations are on it.
 */
export class Placement {
  readonly device: string;

  constructor(device: string) {
    this.device = device;
  }
}

/** Shared by all that have none, as most do. */
const NO_OPERATIONS: ReadonlySet<Operation> = new Set();
const NONE: readonly never[] = [];

/** One output of an operation: a symbolic edge, never a value. The same object for the same output, so `===` compares tensors. */
export class Tensor {
  readonly operation: Operation;
  readonly index: number;
  /** Operations that take this tensor as a data input; kept by Graph. */
  readonly consumers: ReadonlySet<Operation> = NO_OPERATIONS;

  constructor(operation: Operation, index: number) {
    this.operation = operation;
    this.index = index;
  }

  /** `operation:index`, as users and feeds name it. */
  get name(): string {
    return printTensorName(this.operation.name, this.index);
  }
}

/** Name and attributes may be left out where they stand in a stored node. */
export interface OperationInit {
  readonly name?: string;
  readonly type: string;
  readonly device?: string;
  readonly attributes?: Attributes | undefined;
  readonly origin?: Origin | undefined;
  /** Encoded fields of the NodeDef that the model does not hold; written back unchanged. */
  readonly extra?: Uint8Array | undefined;
  /** The node as it was read, which must say the same as all the rest. */
  readonly stored?: StoredNode | undefined;
  /** Of which it is a copy under another name, on another device or with other inputs. */
  readonly copyOf?: Operation;
}

export class Operation {
  readonly type: string;
  /** Unique in its graph, small, never used again there; a copy of the graph keeps it. Traversals mark operations by it. */
  readonly id: number;
  readonly inputs: readonly Tensor[] = NONE;
  readonly controlInputs: readonly Operation[] = NONE;
  readonly placement: Placement;
  readonly origin: Origin | undefined;
  readonly extra: Uint8Array | undefined;
  /** Where the node stood when it was read or last encoded. */
  readonly table: StoredNodes | undefined;
  readonly row: number;
  /** Whether nothing of that node but its device has been edited since: then the codec writes it back as it stands. */
  readonly isIntact: boolean;
  /** Attributes other than those of the stored node. */
  readonly ownAttributes: Attributes | undefined;
  /** Outputs that are used or were asked for; kept by Graph. */
  readonly outputs: readonly (Tensor | undefined)[] = NONE;
  /** Operations that name this one as a control input; kept by Graph. */
  readonly controlConsumers: ReadonlySet<Operation> = NO_OPERATIONS;
  #name: string | undefined;

  constructor(init: OperationInit, id: number, placement = new Placement(init.device ?? '')) {
    this.#name = init.name;
    this.type = init.type;
    this.id = id;
    this.placement = placement;
    this.origin = init.origin;
    this.extra = init.extra ?? init.copyOf?.extra;
    const stored = init.stored ?? init.copyOf;
    this.table = stored?.table;
    this.row = stored?.row ?? -1;
    this.isIntact = init.stored !== undefined;
    this.ownAttributes = init.attributes ?? init.copyOf?.ownAttributes;
  }

  /** The same operation for another graph, without edges. */
  twin(placement: Placement): Operation {
    const { type, id, origin, extra, table, row, isIntact, ownAttributes } = this;
    const twin = new Operation({ type, origin, extra, attributes: ownAttributes }, id, placement);
    twin.#name = this.#name;
    return Object.assign(twin, { table, row, isIntact });
  }

  get name(): string {
    this.#name ??= (this.table as StoredNodes).name(this.row);
    return this.#name;
  }

  get attributes(): Attributes {
    return this.ownAttributes ?? this.table?.attributes(this.row) ?? NO_ATTRIBUTES;
  }

  /** The device it is placed on, whole or in part; empty where nothing is said. */
  get device(): string {
    return this.placement.device;
  }

  /** The tensor of output `index`; made on first use. Whether the operation really has so many outputs is verify's question. */
  output(index = 0): Tensor {
    const tensor = this.outputs[index];
    if (tensor !== undefined) return tensor;
    const made = new Tensor(this, index);
    const mutable = this as { outputs: readonly (Tensor | undefined)[] };
    // Most have one output: an array of just one takes less room than one that grew.
    if (this.outputs === NONE) mutable.outputs = index === 0 ? [made] : [];
    (mutable.outputs as (Tensor | undefined)[])[index] = made;
    return made;
  }
}
