/**
 * The graph: operations by name, and every edit of them. Each edit keeps inputs and consumers in step and costs time proportional to
 * what it touches. A graph is a draft for the pass that owns it and read-only for everyone else.
 */
import { GradsyncError } from '../errors.js';
import type { AttributeChanges, Attributes } from './attributes.js';
import { Journal } from './journal.js';
import { numberedName, parseTensorName } from './name.js';
import {
  Operation,
  type OperationInit,
  type Origin,
  Placement,
  type StoredNode,
  type Tensor,
} from './operation.js';
import { OperationSet } from './operation-set.js';
import { type NameIndex, OperationTable } from './operation-table.js';

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

export interface NewOperation {
  readonly name: string;
  readonly type: string;
  readonly inputs?: readonly Tensor[];
  readonly controlInputs?: readonly Operation[];
  readonly device?: string;
  readonly attributes?: Attributes;
  readonly origin?: Origin | undefined;
  readonly extra?: Uint8Array | undefined;
}

export class Graph {
  readonly #operations: OperationTable;
  /** Next suffix to try per base name, so that many names from one base stay linear. */
  #suffixes = new Map<string, number>();
  /** By the name of the device. */
  #placements = new Map<string, Placement>();
  /** While edits are tentative. */
  #journal: Journal | undefined;
  /** While edits are followed. */
  #edited: Operation[] | undefined;
  /** Encoded fields of the GraphDef beside its nodes (function library, versions, unknown ones), in wire order. */
  extra: Uint8Array;

  constructor(extra: Uint8Array = new Uint8Array(), operations: OperationTable = new OperationTable()) {
    this.extra = extra;
    this.#operations = operations;
  }

  get size(): number {
    return this.#operations.size;
  }

  /** Every operation's id is below this. */
  get idLimit(): number {
    return this.#operations.nextId;
  }

  /** All operations, in the order they were added. */
  operations(): IterableIterator<Operation> {
    return this.#operations[Symbol.iterator]();
  }

  find(name: string): Operation | undefined {
    return this.#operations.find(name);
  }

  /** Whether this very operation is in the graph. */
  has(operation: Operation): boolean {
    return this.#operations.has(operation);
  }

  /** The operation of that name, or NOT_FOUND. */
  get(name: string): Operation {
    const operation = this.find(name);
    if (operation === undefined) {
      throw new GradsyncError('NOT_FOUND', 'Operation', {
        expected: 'the name of an operation of the graph',
        received: `"${name}"`,
        remedy: 'check the spelling; gradsync transform --explain lists names',
        operation: name,
      });
    }
    return operation;
  }

  /** The tensor of a name (`a/b:1`; `a/b` is its output 0), or NOT_FOUND. */
  getTensor(name: string): Tensor {
    const { operation, index } = parseTensorName(name);
    return this.get(operation).output(index);
  }

  /** `base` if it is free, else `base_1`, `base_2`, ...: deterministic for the same sequence of edits. */
  uniqueName(base: string): string {
    if (this.find(base) === undefined) return base;
    for (let i = this.#suffixes.get(base) ?? 1; ; i++) {
      const name = numberedName(base, i);
      if (this.find(name) !== undefined) continue;
      this.#suffixes.set(base, i + 1);
      return name;
    }
  }

  /** Adds an operation; a name in use is ALREADY_EXISTS. */
  add(init: NewOperation): Operation {
    if (this.find(init.name) !== undefined) throw duplicateName(init.name);
    const operation = this.insert(init);
    this.#edited?.push(operation);
    this.connect(operation, init.inputs ?? [], init.controlInputs ?? []);
    return operation;
  }

  /** The codec's half of `add`: for one that has checked that the name is free, and will `connect` later. */
  insert(init: OperationInit): Operation {
    const operation = new Operation(init, this.#operations.nextId, this.#placementOn(init.device ?? ''));
    this.#operations.insert(operation);
    return operation;
  }

  #placementOn(device: string): Placement {
    let placement = this.#placements.get(device);
    if (placement === undefined) {
      placement = new Placement(device);
      this.#placements.set(device, placement);
    }
    return placement;
  }

  /** The codec's, once it has inserted all operations it read: an index of their names, made while it read them. */
  adoptNames(names: NameIndex): void {
    this.#operations.adoptNames(names);
  }

  /**
   * Adds many operations whose names are known to be free and are found by an index of their own: it gives the number of one among `inits`.
   * Their inputs come later, by `connect`.
   */
  addAll(inits: readonly OperationInit[], names: NameIndex): readonly Operation[] {
    const first = this.#operations.beginNamed();
    const added = inits.map((init) => this.insert(init));
    this.#operations.endNamed(first, names);
    for (const operation of added) this.#edited?.push(operation);
    return added;
  }

  /** Removes an operation nobody consumes; FAILED_PRECONDITION if somebody does. */
  remove(operation: Operation): void {
    const consumer = firstConsumer(operation);
    if (consumer !== undefined) {
      throw new GradsyncError('FAILED_PRECONDITION', `Removing operation "${operation.name}"`, {
        expected: 'no consumers',
        received: `consumer "${consumer.name}"`,
        remedy: 'rewire its consumers first',
        operation: operation.name,
      });
    }
    this.setInputs(operation, []);
    for (const control of [...operation.controlInputs]) this.removeControlInput(operation, control);
    this.#operations.delete(operation);
  }

  /** Gives an operation that has no inputs yet its inputs, as the codec does once it knows all operations. Not an edit. */
  connect(operation: Operation, inputs: readonly Tensor[], controlInputs: readonly Operation[]): void {
    this.#journal?.keepOperation(operation);
    if (inputs.length > 0) {
      (operation as Mutable<Operation>).inputs = inputs.slice();
      for (const tensor of inputs) this.#consumersOf(tensor).add(operation);
    }
    for (const control of controlInputs) this.#connectControl(operation, control);
  }

  setInputs(operation: Operation, inputs: readonly Tensor[]): void {
    this.#markEdited(operation);
    const old = operation.inputs;
    (operation as Mutable<Operation>).inputs = [...inputs];
    for (const tensor of old) if (!inputs.includes(tensor)) this.#consumersOf(tensor).delete(operation);
    for (const tensor of inputs) this.#consumersOf(tensor).add(operation);
  }

  setInput(operation: Operation, index: number, tensor: Tensor): void {
    this.#markEdited(operation);
    const inputs = operation.inputs as Tensor[];
    const old = inputs[index];
    inputs[index] = tensor;
    if (old !== undefined && !inputs.includes(old)) this.#consumersOf(old).delete(operation);
    this.#consumersOf(tensor).add(operation);
  }

  /** Makes each of `consumers` (all of them by default) take `to` wherever it took `from`. Time: the sum of their input counts. */
  replaceInput(from: Tensor, to: Tensor, consumers: Iterable<Operation> = [...from.consumers]): void {
    for (const consumer of consumers) {
      consumer.inputs.forEach((tensor, i) => {
        if (tensor === from) this.setInput(consumer, i, to);
      });
    }
  }

  addControlInput(operation: Operation, control: Operation): void {
    if (control.controlConsumers.has(operation)) return;
    this.#markEdited(operation);
    this.#connectControl(operation, control);
  }

  removeControlInput(operation: Operation, control: Operation): void {
    if (!control.controlConsumers.has(operation)) return;
    this.#markEdited(operation);
    const inputs = operation.controlInputs as Operation[];
    inputs.splice(inputs.indexOf(control), 1);
    this.#controlConsumersOf(control).delete(operation);
  }

  /** Makes each of `consumers` (all of them by default) wait for `to` instead of `from`. */
  replaceControlInput(
    from: Operation,
    to: Operation,
    consumers: Iterable<Operation> = [...from.controlConsumers],
  ): void {
    for (const consumer of consumers) {
      this.removeControlInput(consumer, from);
      this.addControlInput(consumer, to);
    }
  }

  /** No edit of the node as it was read: the codec sees that the device is another. */
  setDevice(operation: Operation, device: string): void {
    if (operation.device === device) return;
    this.#journal?.keepPlacement(operation);
    (operation as Mutable<Operation>).placement = this.#placementOn(device);
  }

  /** Places all operations that are on one device on another, however many they are, in one step. */
  renameDevice(from: string, to: string): void {
    const placement = this.#placements.get(from);
    if (placement === undefined || from === to) return;
    this.#journal?.keepDevice(placement);
    (placement as Mutable<Placement>).device = to;
    this.#placements.delete(from);
    if (!this.#placements.has(to)) this.#placements.set(to, placement);
  }

  /** The names of the devices that operations are on. */
  devices(): readonly string[] {
    return [...this.#placements.keys()];
  }

  /** The codec's: the bytes of a node that was edited or added, so that it need not be encoded for every task anew. Not an edit. */
  setStored(operation: Operation, { table, row }: StoredNode): void {
    Object.assign(operation, { table, row, isIntact: true });
  }

  /** Sets attributes; those given as undefined are taken out. */
  setAttributes(operation: Operation, changes: AttributeChanges): void {
    this.#markEdited(operation);
    (operation as Mutable<Operation>).ownAttributes = operation.attributes.with(changes);
  }

  /**
   * Does what `work` says and takes back all that it edited, also if it throws. Afterwards the graph is in every respect as before, but
   * for outputs that were asked for. Time: proportional to the edits. May be nested:
   * what an inner attempt edits is taken back before the outer one goes on.
   */
  tentatively<T>(work: () => T): T {
    const { extra } = this;
    const outer = this.#journal;
    const suffixes = new Map(this.#suffixes);
    const placements = new Map(this.#placements);
    const reset = this.#operations.mark();
    const journal = new Journal(this.idLimit);
    this.#journal = journal;
    try {
      return work();
    } finally {
      this.#journal = outer;
      this.#edited = undefined;
      journal.takeBack();
      reset();
      this.#suffixes = suffixes;
      this.#placements = placements;
      this.extra = extra;
    }
  }

  /**
   * The operations that were added, edited or removed since the last call, but for changes of the device; some may be named twice. The
   * first call begins the record.
   */
  takeEdited(): readonly Operation[] {
    const edited = this.#edited ?? [];
    this.#edited = [];
    return edited;
  }

  /** From now on the operation is encoded anew when the graph is written. */
  #markEdited(operation: Operation): void {
    this.#journal?.keepOperation(operation);
    this.#edited?.push(operation);
    (operation as Mutable<Operation>).isIntact = false;
  }

  #consumersOf(tensor: Tensor): OperationSet {
    this.#journal?.keepConsumers(tensor);
    return consumersOf(tensor);
  }

  #controlConsumersOf(operation: Operation): OperationSet {
    this.#journal?.keepOperation(operation);
    return controlConsumersOf(operation);
  }

  #connectControl(operation: Operation, control: Operation): void {
    this.#journal?.keepOperation(control);
    connectControl(operation, control);
  }

  /** A deep copy; attribute values and ids are shared. `at` maps an operation of this graph to its copy. */
  copy(): GraphCopy {
    const twins: (Operation | undefined)[] = new Array(this.idLimit);
    const table = new OperationTable(twins, this.size, this.#operations.shareNames());
    const graph = new Graph(this.extra, table);
    for (const operation of this.operations()) {
      twins[operation.id] = operation.twin(graph.#placementOn(operation.device));
    }
    for (const [base, next] of this.#suffixes) graph.#suffixes.set(base, next);
    for (const operation of this.operations()) copyEdges(operation, twins);
    // The table owns the array of twins, which grows and gets holes as the copy is edited.
    const originals = [...twins];
    return { graph, at: (operation) => twinOf(operation, originals) };
  }
}

export interface GraphCopy {
  readonly graph: Graph;
  /** The copy of an operation of the original. */
  readonly at: (operation: Operation) => Operation;
}

export function duplicateName(name: string): GradsyncError {
  return new GradsyncError('ALREADY_EXISTS', 'Operation name', {
    expected: 'a name that is not in use',
    received: `"${name}" a second time`,
    remedy: 'names of operations are unique in a graph; ask uniqueName for a free one',
    operation: name,
  });
}

function twinOf(operation: Operation, twins: readonly (Operation | undefined)[]): Operation {
  const twin = twins[operation.id];
  if (twin === undefined || twin.name !== operation.name) {
    throw new GradsyncError('INTERNAL', 'Copy of a graph', {
      expected: 'an operation that was in the graph when it was copied',
      received: `"${operation.name}"`,
      remedy: 'map operations of the original only, before it is edited',
      operation: operation.name,
    });
  }
  return twin;
}

function copyEdges(operation: Operation, twins: readonly (Operation | undefined)[]): void {
  const twin = twins[operation.id] as Operation;
  if (operation.inputs.length > 0) {
    const inputs = operation.inputs.map(({ operation: producer, index }) =>
      (twins[producer.id] as Operation).output(index),
    );
    for (const tensor of inputs) consumersOf(tensor).add(twin);
    (twin as Mutable<Operation>).inputs = inputs;
  }
  for (const control of operation.controlInputs) connectControl(twin, twins[control.id] as Operation);
}

function connectControl(operation: Operation, control: Operation): void {
  const mutable = operation as Mutable<Operation>;
  const consumers = controlConsumersOf(control);
  if (!consumers.add(operation)) return;
  if (mutable.controlInputs.length === 0) mutable.controlInputs = [control];
  else (mutable.controlInputs as Operation[]).push(control);
}

/** The two places where the read-only view of an edge's far end is written. */
function consumersOf(tensor: Tensor): OperationSet {
  const mutable = tensor as Mutable<Tensor>;
  if (!(mutable.consumers instanceof OperationSet)) mutable.consumers = new OperationSet();
  return mutable.consumers as OperationSet;
}

function controlConsumersOf(operation: Operation): OperationSet {
  const mutable = operation as Mutable<Operation>;
  if (!(mutable.controlConsumers instanceof OperationSet)) mutable.controlConsumers = new OperationSet();
  return mutable.controlConsumers as OperationSet;
}

function firstConsumer(operation: Operation): Operation | undefined {
  for (const output of operation.outputs) {
    if (output === undefined) continue;
    for (const consumer of output.consumers) return consumer;
  }
  for (const consumer of operation.controlConsumers) return consumer;
  return undefined;
}
