/**
 * Replicas inside a task: copies of what each does for itself, on the replica's device. The originals are the first replica's. What is not
 * copied and waits for an original waits for all its copies.
 */
import { attr } from '../graph/attributes.js';
import { parseDevice } from '../graph/device.js';
import type { Graph } from '../graph/graph.js';
import { isInScope, joinName, numberedName, printColocation } from '../graph/name.js';
import { opensLoop, variableKind } from '../graph/op-catalog.js';
import type { Operation, OperationInit, Origin, Tensor } from '../graph/operation.js';
import type { NameIndex } from '../graph/operation-table.js';
import type { TrainingGraph, Variable } from '../graph/training-graph.js';
import { colocationTargets } from '../graph/verify.js';
import { isLocal, localName } from './devices.js';
import { SCOPE } from './make.js';
import type { Draft, RewriteContext } from './pass.js';

/** One for all copies, of which there may be very many; their names tell which operations they are copies of. */
const REPLICA: Origin = { source: '', pass: 'replicate' };

/** The replicas of a task: which copies stand for an operation, the first replica's (the original) first. */
export interface Replicas {
  readonly count: number;
  /** The operation alone if replicas share it. */
  of(operation: Operation): readonly Operation[];
  /** As `of`, for an output. */
  ofTensor(tensor: Tensor): readonly Tensor[];
  /** The operations that have copies. */
  readonly replicated: readonly Operation[];
  /** The training graph with each replica's own variables. */
  readonly training: TrainingGraph;
  /** The variable that one of a replica other than the first is the copy of. */
  readonly originals: ReadonlyMap<Variable, Variable>;
}

/** A task with one replica: nothing is copied. */
export function single(training: TrainingGraph): Replicas {
  return {
    count: 1,
    of: (operation) => [operation],
    ofTensor: (tensor) => [tensor],
    replicated: [],
    training,
    originals: new Map(),
  };
}

export function replicate(
  { graph, training }: Draft,
  { devices }: RewriteContext,
  replicated: readonly Operation[],
): Replicas {
  const scope = freeScope(graph);
  const copies = new Copies(graph, replicated);
  for (const [replica, device] of devices.replicas.entries()) {
    if (replica > 0) new Copier(graph, numberedName(scope, replica), localName(device), copies).copy();
  }
  waitForAll(graph, copies);
  const of = (operation: Operation): readonly Operation[] => copies.of(operation) ?? [operation];
  const originals = copyVariables(training.variables, devices.replicas.length, of);
  return {
    count: devices.replicas.length,
    of,
    ofTensor: ({ operation, index }) => of(operation).map((copy) => copy.output(index)),
    replicated,
    training: { ...training, variables: [...training.variables, ...originals.keys()] },
    originals,
  };
}

/** A scope in which no operation is, with whatever number behind it. */
function freeScope(graph: Graph): string {
  let scope = joinName(SCOPE, 'replica');
  for (const { name } of graph.operations()) while (name.startsWith(scope)) scope += '_';
  return scope;
}

/** The copies of each operation that has some, the original first. */
class Copies {
  readonly originals: readonly Operation[];
  readonly #byId: (Operation[] | undefined)[];

  constructor(graph: Graph, originals: readonly Operation[]) {
    this.originals = originals;
    this.#byId = new Array(graph.idLimit);
    for (const original of originals) this.#byId[original.id] = [original];
  }

  /** Undefined for one that has none. */
  of({ id }: Operation): Operation[] | undefined {
    return this.#byId[id];
  }
}

/** Makes the copies of one replica. */
class Copier {
  readonly #graph: Graph;
  readonly #scope: string;
  /** By the device of an original. */
  readonly #devices = new Map<string, string>();
  readonly #device: string;
  readonly #copies: Copies;

  constructor(graph: Graph, scope: string, device: string, copies: Copies) {
    this.#graph = graph;
    this.#scope = scope;
    this.#device = device;
    this.#copies = copies;
  }

  copy(): void {
    const { originals } = this.#copies;
    const inits = originals.map((original) => this.#initOf(original));
    const twins = this.#graph.addAll(inits, this.#namesOf(originals));
    originals.forEach((original, i) => {
      this.#copies.of(original)!.push(twins[i]!);
    });
    originals.forEach((original, i) => {
      this.#connect(original, twins[i]!);
    });
  }

  #initOf(original: Operation): OperationInit {
    const { name, type, origin } = original;
    return {
      name: joinName(this.#scope, name),
      type,
      device: this.#deviceFor(original.device),
      origin: origin ?? REPLICA,
      copyOf: original,
    };
  }

  /** Finds a copy by its original: the number of that among the originals. */
  #namesOf(originals: readonly Operation[]): NameIndex {
    const numbers = new Map<Operation, number>();
    return {
      get: (name) => {
        if (!name.startsWith(this.#scope) || !isInScope(name, this.#scope)) return undefined;
        if (numbers.size === 0) for (const [i, original] of originals.entries()) numbers.set(original, i);
        const original = this.#graph.find(name.slice(this.#scope.length + 1));
        return original && numbers.get(original);
      },
    };
  }

  /** What the program put on a device of the replicas' type is the replica's too; on servers and other devices copies lie by their originals. */
  #deviceFor(device: string): string {
    let found = this.#devices.get(device);
    if (found === undefined) {
      const { type } = parseDevice(device);
      const moves = isLocal(device) && (type === undefined || type === parseDevice(this.#device).type);
      found = moves ? this.#device : device;
      this.#devices.set(device, found);
    }
    return found;
  }

  #connect(original: Operation, twin: Operation): void {
    const inputs = original.inputs.map((tensor) => {
      const producer = this.#twinOf(tensor.operation);
      return producer === tensor.operation ? tensor : producer.output(tensor.index);
    });
    const controls = original.controlInputs.map((control) => this.#twinOf(control));
    this.#graph.connect(twin, inputs, controls);
    this.#rename(original, twin);
  }

  /** The copy of this replica, made last; the operation itself if replicas share it. */
  #twinOf(operation: Operation): Operation {
    return this.#copies.of(operation)?.at(-1) ?? operation;
  }

  /** Names that stand in attributes: frames of loops, variables' shared names, colocation groups. */
  #rename(original: Operation, twin: Operation): void {
    const graph = this.#graph;
    if (opensLoop(original.type)) {
      const frame = original.attributes.get('frame_name');
      const name = frame?.kind === 'string' ? new TextDecoder().decode(frame.value) : '';
      graph.setAttributes(twin, { frame_name: attr.string(joinName(this.#scope, name)) });
    }
    if (variableKind(original.type) !== undefined) {
      graph.setAttributes(twin, { shared_name: attr.string(twin.name) });
    }
    const targets = colocationTargets(original);
    if (targets.length === 0) return;
    const groups = targets.map((target) => this.#twinOf(graph.get(target)));
    const kept = groups
      .filter((target) => target.device === twin.device)
      .map(({ name }) => printColocation(name));
    graph.setAttributes(twin, { _class: kept.length === 0 ? undefined : attr.list(kept.map(attr.string)) });
  }
}

/** What is not copied itself and waits for an original waits for all its copies. */
function waitForAll(graph: Graph, copies: Copies): void {
  for (const original of copies.originals) {
    if (original.controlConsumers.size === 0) continue;
    const [, ...others] = copies.of(original)!;
    for (const waiting of [...original.controlConsumers]) {
      if (copies.of(waiting) !== undefined) continue;
      for (const other of others) graph.addControlInput(waiting, other);
    }
  }
}

/** The variables of the other replicas, and what each is a copy of. */
function copyVariables(
  variables: readonly Variable[],
  count: number,
  of: (operation: Operation) => readonly Operation[],
): ReadonlyMap<Variable, Variable> {
  const originals = new Map<Variable, Variable>();
  for (let replica = 1; replica < count; replica++) {
    const at = (operation: Operation): Operation => of(operation)[replica] ?? operation;
    for (const variable of variables) {
      const handle = at(variable.handle);
      if (handle === variable.handle) continue;
      const { initializer, reads } = variable;
      const copy = {
        ...variable,
        name: handle.name,
        handle,
        initializer: initializer && at(initializer),
        reads: reads.map(at),
      };
      originals.set(copy, variable);
    }
  }
  return originals;
}
