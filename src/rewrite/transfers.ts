/**
 * What one task's training step moves between tasks, found in its rewritten graph: every tensor that an operation on another task takes,
 * once for each device that takes it, as TensorFlow sends it. Control edges carry no data.
 */
import { parseDevice } from '../graph/device.js';
import { DTYPES, type DType } from '../graph/dtype.js';
import { parseTensorName } from '../graph/name.js';
import type { Operation, Tensor } from '../graph/operation.js';
import { bytesAroundRing } from '../graph/ring.js';
import { elementCount, type Shape } from '../graph/shape.js';
import type { Variable } from '../graph/training-graph.js';
import { ControlFlow } from './control-flow.js';
import { producedType } from './dtype-of.js';
import { isGather } from './gathering.js';
import type { Plan } from './plan.js';
import { shapeOf } from './replica-fetches.js';
import type { Rewritten } from './rewrite.js';
import type { Sending } from './sending.js';
import { findVariableUses, type VariableUses } from './variable-uses.js';
import { ancestors } from './walk.js';

export interface Transfer {
  readonly tensor: string;
  readonly from: number;
  readonly to: number;
  /** The variable of the program it is sent for; undefined for what several variables share. */
  readonly variable: string | undefined;
  /** Whether it is on the way from the variable to the computation, or from there to the update. */
  readonly way: 'read' | 'gradient';
  readonly size: TransferSize;
}

/** Bytes, or bytes per row where the number of rows depends on the data; null where the graph does not tell the size, or how often it is sent. */
export type TransferSize =
  | { readonly bytes: number }
  | { readonly bytesPerRow: number; readonly holds: 'indices' | 'values' }
  | null;

type GradientKind = 'dense' | 'sparse';

const INTEGERS = new Set<DType>(['int32', 'int64']);
/** Passes that name the variable they make an operation for. */
const OF_VARIABLE = new Set(['partition', 'gradient-edge', 'replicas', 'parameter-server']);

/** The transfers of a step: one run of all training operations and, where reads may be stale, of what tells how stale they were. */
export function stepTransfers({ graph, plan, replicas, ends, sent }: Rewritten): readonly Transfer[] {
  const steps = Object.values(plan.fetches).flatMap((fetch) =>
    'operations' in fetch ? fetch.operations.map((name) => graph.get(name)) : [],
  );
  const lags = (plan.rounds ?? []).map(({ lag }) => graph.get(parseTensorName(lag).operation));
  const run = ancestors(graph, [...ends, ...steps, ...lags], { control: true });
  const { training } = replicas;
  const variables = new Map(training.variables.map((variable) => [variable.name, variable]));
  const kinds = new Map(training.pairs.map(({ variable, gradient }) => [variable.name, gradient.kind]));
  const owners = new Owners(findVariableUses(training), variables, kinds);
  const flow = new ControlFlow(graph);
  const wholes = new Map(
    Object.entries(plan.partitions ?? {}).flatMap(([name, { shards }]) =>
      shards.map((shard) => [shard, name] as const),
    ),
  );
  const found: Transfer[] = [];
  for (const operation of run) {
    for (const tensor of operation.outputs) {
      if (tensor === undefined) continue;
      const takers = [...tensor.consumers].filter((consumer) => run.has(consumer));
      for (const taker of remoteTakers(operation, takers)) {
        const transfer = owners.transfer(tensor, taker);
        const { variable = '' } = transfer;
        const size = flow.isOnce(operation, taker) ? transfer.size : null;
        found.push({ ...transfer, size, variable: wholes.get(variable) ?? transfer.variable });
      }
    }
  }
  return [
    ...found,
    ...aroundRing(
      sent.filter((each) => run.has(each.operation)),
      plan,
    ),
  ];
}

/** What collectives send around their ring. Of several variables that travel together each has its part of the bytes, rounded so that the sum is right. */
function aroundRing(sent: readonly Sending[], { task, cluster }: Plan): readonly Transfer[] {
  const count = cluster.worker.length;
  const before = new Map<Operation, number>();
  return sent.map(({ operation, variable, size }) => {
    const around = (bytes: number): number => bytesAroundRing(operation.type, bytes, count);
    const first = before.get(operation) ?? 0;
    if ('bytes' in size) before.set(operation, first + size.bytes);
    return {
      tensor: operation.output().name,
      from: task,
      to: (task + 1) % count,
      variable: variable.name,
      way: 'gradient',
      size:
        'bytes' in size
          ? { bytes: around(first + size.bytes) - around(first) }
          : { bytesPerRow: around(size.bytesPerRow), holds: size.holds },
    };
  });
}

/** One taker for each device on another task than the producer's. */
function remoteTakers({ device }: Operation, takers: readonly Operation[]): readonly Operation[] {
  const remote = takers.filter((taker) => taskOf(taker.device) !== taskOf(device));
  return remote.filter((taker, i) => remote.findIndex((other) => other.device === taker.device) === i);
}

function taskOf(device: string): number {
  return parseDevice(device).task ?? 0;
}

/** Tells for which variable, and in which size, a tensor is sent. */
class Owners {
  readonly #uses: VariableUses;
  readonly #variables: ReadonlyMap<string, Variable>;
  readonly #kinds: ReadonlyMap<string, GradientKind>;

  constructor(
    uses: VariableUses,
    variables: ReadonlyMap<string, Variable>,
    kinds: ReadonlyMap<string, GradientKind>,
  ) {
    this.#uses = uses;
    this.#variables = variables;
    this.#kinds = kinds;
  }

  transfer(tensor: Tensor, taker: Operation): Transfer {
    const { operation } = tensor;
    const read = this.#readBy(tensor) ?? this.#gatheredBy(taker);
    const variable = read ?? this.#madeFor(operation) ?? this.#madeFor(taker) ?? this.#changedBy(taker);
    return {
      tensor: tensor.name,
      from: taskOf(operation.device),
      to: taskOf(taker.device),
      variable: variable?.name,
      way: read === undefined ? 'gradient' : 'read',
      size: this.#isHandle(tensor)
        ? null
        : sizeOf(tensor, this.#shapeOf(tensor, taker, variable), variable?.dtype),
    };
  }

  /** What it costs to take a handle is for the function to say that takes it. */
  #isHandle(tensor: Tensor): boolean {
    return this.#uses.variableOf(tensor)?.kind === 'resource';
  }

  /** The variable whose value a tensor is. */
  #valueOf(tensor: Tensor): Variable | undefined {
    const { type, inputs } = tensor.operation;
    const [source] = inputs;
    const reads = type === 'ReadVariableOp' || type === 'Identity';
    return this.#uses.variableOf(tensor) ?? (reads && source ? this.#uses.variableOf(source) : undefined);
  }

  /** The variable whose value, or rows of it, a tensor holds. */
  #readBy(tensor: Tensor): Variable | undefined {
    const [source] = tensor.operation.inputs;
    return this.#valueOf(tensor) ?? (source && this.#valueOf(source));
  }

  /** The variable of which an operation takes rows by the indices that are sent to it. */
  #gatheredBy(taker: Operation): Variable | undefined {
    if (this.#uses.mutatedBy(taker).length > 0) return undefined;
    const [source] = taker.inputs;
    return source && this.#valueOf(source);
  }

  #madeFor({ origin }: Operation): Variable | undefined {
    return origin !== undefined && OF_VARIABLE.has(origin.pass)
      ? this.#variables.get(origin.source)
      : undefined;
  }

  #changedBy(taker: Operation): Variable | undefined {
    return this.#uses.mutatedBy(taker)[0];
  }

  #shapeOf(tensor: Tensor, taker: Operation, variable: Variable | undefined): Shape | undefined {
    if (this.#valueOf(tensor) !== undefined) return variable?.shape;
    const told = shapeOf(tensor) ?? constantShape(tensor) ?? heldShape(tensor);
    if (told !== undefined || variable === undefined || tensor.operation.origin === undefined) return told;
    // A variable with a dense gradient may be looked up in as well.
    const isLookup = [tensor.operation, taker].some(isGather);
    const kind = isLookup ? 'sparse' : this.#kinds.get(variable.name);
    return kind && gradientShape(typeOf(tensor), kind, variable.shape);
  }
}

function sizeOf(tensor: Tensor, shape: Shape | undefined, variableType: DType | undefined): TransferSize {
  const dtype = typeOf(tensor) ?? variableType;
  if (dtype === undefined || shape === undefined || shape === null) return null;
  const { size } = DTYPES[dtype];
  const known = shape.filter((dim) => dim >= 0);
  const bytesPerRow = elementCount(known) * size;
  if (known.length === shape.length) return { bytes: bytesPerRow };
  return { bytesPerRow, holds: INTEGERS.has(dtype) ? 'indices' : 'values' };
}

function typeOf(tensor: Tensor): DType | undefined {
  const { operation, index } = tensor;
  const types = operation.attributes.get('component_types');
  const listed = types?.kind === 'list' ? types.items[index] : undefined;
  return listed?.kind === 'type' ? listed.value : producedType(tensor);
}

function constantShape({ operation }: Tensor): Shape | undefined {
  const value = operation.attributes.get('value');
  return value?.kind === 'tensor' ? value.value.shape : undefined;
}

/** The shape of a variable that a pass made, which is read. */
function heldShape({ operation: { type, inputs } }: Tensor): Shape | undefined {
  const value = type === 'ReadVariableOp' ? inputs[0]?.operation.attributes.get('shape') : undefined;
  return value?.kind === 'shape' ? value.value : undefined;
}

/** The shape of what a pass made for a variable: its gradient whole, or as indices and rows. */
function gradientShape(dtype: DType | undefined, kind: GradientKind, shape: Shape): Shape {
  if (kind === 'dense') return shape;
  if (dtype !== undefined && INTEGERS.has(dtype)) return [-1];
  return shape === null ? null : [-1, ...shape.slice(1)];
}
