/**
 * Places the closure C: beside the variable an operation works for, or, fed from several devices, on one of these; on the task itself where
 * every task updates by itself.
 */
import type { Graph } from '../graph/graph.js';
import type { Operation } from '../graph/operation.js';
import type { GradientPair, Variable } from '../graph/training-graph.js';
import { colocationTargets } from '../graph/verify.js';
import type { Closure } from './closure.js';
import { gradientTensors } from './gradient-region.js';
import { SharedDevices } from './shared-devices.js';
import type { VariableUses } from './variable-uses.js';
import { ancestors, eachConsumer, type Marks } from './walk.js';

export interface PlacedOperation {
  readonly device: string;
  readonly why: string;
}

export interface ClosureInput {
  readonly pairs: readonly GradientPair[];
  readonly closure: Closure;
  readonly uses: VariableUses;
  readonly servers: ReadonlyMap<Variable, string>;
  /** Operations of C that every task runs for itself. */
  readonly own: ReadonlySet<Operation>;
}

/** What says nothing of a task is the task's own. */
const OWN_DEVICE = '';

/**
 * Adds to `devices`, which has the operations that hold a shared variable already.
 * @returns the operations that are fed from several devices, by name.
 */
export function placeClosure(
  graph: Graph,
  input: ClosureInput & { readonly chiefCpu: string },
  devices: Map<Operation, string>,
): ReadonlyMap<string, PlacedOperation> {
  const shared = new Map<string, PlacedOperation>();
  const choice = new SharedDevices(input.pairs, input.servers.values());
  const fed = new Map<Operation, string>();
  const deviceOf = (operation: Operation): string | undefined => fed.get(operation) ?? devices.get(operation);
  for (const pair of input.pairs) {
    const device = input.servers.get(pair.variable) ?? OWN_DEVICE;
    for (const tensor of gradientTensors(pair)) fed.set(tensor.operation, device);
  }
  for (const member of inDataOrder(input.closure.members)) {
    const fixed = devices.get(member) ?? serverOfGroup(graph, member, input);
    const isOwn = input.own.has(member);
    const sources = fixed === undefined ? sourcesOf(member, fed) : undefined;
    // What is fed from a server and by the chief itself lies on the server.
    if (sources !== undefined && sources.size > 1 && !isOwn) sources.delete(OWN_DEVICE);
    const isShared = sources !== undefined && (sources.size > 1 || feedsOnShared(member, sources, shared));
    const unfixed = (): string => {
      if (sources?.size === 1) return [...sources][0]!;
      if (isOwn) return OWN_DEVICE;
      return (isShared ? choice.choose(member, deviceOf) : undefined) ?? input.chiefCpu;
    };
    const device = fixed ?? unfixed();
    devices.set(member, device);
    if (isShared) shared.set(member.name, { device, why: whyShared(sources, isOwn) });
    else fed.set(member, device);
  }
  return shared;
}

/** The devices an operation is fed from, but for shared operations: those follow nobody. */
function sourcesOf(member: Operation, fed: ReadonlyMap<Operation, string>): Set<string> {
  const sources = new Set<string>();
  for (const { operation } of member.inputs) {
    const device = fed.get(operation);
    if (device !== undefined) sources.add(device);
  }
  return sources;
}

function feedsOnShared(
  member: Operation,
  sources: ReadonlySet<string>,
  shared: ReadonlyMap<string, unknown>,
): boolean {
  return sources.size === 0 && member.inputs.some(({ operation }) => shared.has(operation.name));
}

function whyShared(sources: ReadonlySet<string>, isOwn: boolean): string {
  const who = isOwn ? 'every task runs it for itself' : 'only the chief runs it';
  const what = isOwn ? 'gradients' : 'aggregates';
  const where = [...sources].sort().map((device) => (device === OWN_DEVICE ? 'the task itself' : device));
  return sources.size > 1
    ? `computed from ${what} on ${where.join(', ')}; ${who}`
    : `computed from operations that are shared by several servers; ${who}`;
}

/** The server of the shared variable an operation is colocated with. */
function serverOfGroup(
  graph: Graph,
  operation: Operation,
  { uses, servers }: ClosureInput,
): string | undefined {
  for (const name of [...colocationTargets(operation)].reverse()) {
    const handle = graph.find(name);
    const variable = handle && uses.variableOf(handle.output());
    if (variable !== undefined && servers.has(variable)) return servers.get(variable);
  }
  return undefined;
}

/** Members so that each comes after the members it takes data from; those in a loop come last. */
function inDataOrder(members: Marks): readonly Operation[] {
  const missing = new Map<Operation, number>();
  for (const member of members) {
    const producers = new Set(member.inputs.map((tensor) => tensor.operation));
    missing.set(member, [...producers].filter((producer) => members.has(producer)).length);
  }
  const order = new Set([...members].filter((member) => missing.get(member) === 0));
  for (const member of order) {
    const seen = new Set<Operation>();
    eachConsumer(member, false, (consumer) => seen.add(consumer));
    for (const consumer of seen) {
      const left = missing.get(consumer);
      if (left === undefined) continue;
      missing.set(consumer, left - 1);
      if (left === 1) order.add(consumer);
    }
  }
  for (const member of members) order.add(member);
  return [...order];
}

/** Operations outside C that feed nothing but C on one device (learning-rate arithmetic, constants) go to that device. */
export function placeFeeders(
  graph: Graph,
  { closure, uses, pairs }: ClosureInput,
  devices: Map<Operation, string>,
): void {
  const roots = new Set(pairs.flatMap((pair) => gradientTensors(pair).map((tensor) => tensor.operation)));
  const enter = (operation: Operation): boolean => !roots.has(operation);
  const candidates = ancestors(graph, closure.members, { enter });
  const waiting = new Map<Operation, number>();
  const ready: Operation[] = [];
  const release = (operation: Operation): void => {
    for (const producer of new Set(operation.inputs.map((tensor) => tensor.operation))) {
      if (!candidates.has(producer) || closure.members.has(producer)) continue;
      const left = (waiting.get(producer) ?? consumerCount(producer)) - 1;
      waiting.set(producer, left);
      if (left === 0) ready.push(producer);
    }
  };
  for (const member of closure.members) release(member);
  for (const operation of ready) {
    const device = deviceOfConsumers(operation, devices);
    if (device === undefined || !isMovable(operation, uses) || devices.has(operation)) continue;
    devices.set(operation, device);
    release(operation);
  }
}

function consumerCount(operation: Operation): number {
  const consumers = new Set<Operation>();
  eachConsumer(operation, false, (consumer) => consumers.add(consumer));
  return consumers.size;
}

function deviceOfConsumers(
  operation: Operation,
  devices: ReadonlyMap<Operation, string>,
): string | undefined {
  const found = new Set<string | undefined>();
  eachConsumer(operation, false, (consumer) => found.add(devices.get(consumer)));
  return found.size === 1 ? [...found][0] : undefined;
}

/** Neither fed by the user, nor placed by the user, nor bound to a variable of the task. */
function isMovable(operation: Operation, uses: VariableUses): boolean {
  return (
    operation.device === '' &&
    !operation.type.startsWith('Placeholder') &&
    !operation.inputs.some((tensor) => uses.variableOf(tensor) !== undefined) &&
    uses.variableOf(operation.output()) === undefined
  );
}
