/**
 * Places every operation. Shared variables, and what takes their handles, go to their server; the closure C lies beside the variable it
 * works for; all else stays on the task that builds the graph, as far as its colocation group allows: it gets a name without a task, the
 * same on all of them.
 */
import type { Graph } from '../graph/graph.js';
import type { Operation } from '../graph/operation.js';
import type { GradientPair, Variable } from '../graph/training-graph.js';
import { colocationTargets } from '../graph/verify.js';
import type { Closure } from './closure.js';
import { cpuOf, localName, replicasOf } from './devices.js';
import type { Draft, RunContext } from './pass.js';
import { type PlacedOperation, placeClosure, placeFeeders } from './place-closure.js';
import type { VariableUses } from './variable-uses.js';
import type { Marks } from './walk.js';

export interface Placement {
  /** The device of each shared variable. */
  readonly servers: ReadonlyMap<Variable, string>;
  /** Operations of C that are fed from several devices, by name, and where they went. */
  readonly shared: ReadonlyMap<string, PlacedOperation>;
}

export interface PlaceInput {
  readonly pairs: readonly GradientPair[];
  readonly closure: Closure;
  readonly uses: VariableUses;
  readonly servers: ReadonlyMap<Variable, string>;
  readonly grouped: Marks;
  /** Operations of C that every task runs for itself. */
  readonly own: ReadonlySet<Operation>;
}

export function place({ graph, training }: Draft, run: RunContext, input: PlaceInput): Placement {
  const { servers } = input;
  const chiefCpu = cpuOf(replicasOf(run.strategy, 0)[0]!);
  const local = localDevices();
  const devices = new Map<Operation, string>();
  for (const variable of training.variables) {
    // A variable that is not shared is each task's own, even where its group names a shared one.
    const device = servers.get(variable) ?? local(variable.handle.device);
    for (const holder of input.uses.holdersOf(variable)) devices.set(holder, device);
  }
  const shared = placeClosure(graph, { ...input, chiefCpu }, devices);
  placeFeeders(graph, input, devices);
  placeRest(graph, local, devices, input.grouped);
  return { servers, shared };
}

function placeRest(
  graph: Graph,
  local: LocalDevice,
  devices: ReadonlyMap<Operation, string>,
  grouped: Marks,
): void {
  const followers = new Set<Operation>();
  for (const operation of graph.operations()) {
    const device = devices.get(operation);
    if (device !== undefined) graph.setDevice(operation, device);
    else if (grouped.has(operation) && followedBy(graph, operation) !== undefined) followers.add(operation);
    else graph.setDevice(operation, local(operation.device));
  }
  for (const operation of followers) {
    graph.setDevice(operation, leaderOf(graph, operation, followers)?.device ?? local(operation.device));
    followers.delete(operation);
  }
}

/** The last member of an operation's group, if it is another operation. */
function followedBy(graph: Graph, operation: Operation): Operation | undefined {
  const targets = colocationTargets(operation);
  for (let i = targets.length - 1; i >= 0; i--) {
    const target = graph.find(targets[i]!);
    if (target !== undefined && target !== operation) return target;
  }
  return undefined;
}

/** The first operation along the chain of groups that has its device already; none if the chain is a circle. */
function leaderOf(
  graph: Graph,
  operation: Operation,
  followers: ReadonlySet<Operation>,
): Operation | undefined {
  const seen = new Set<Operation>();
  for (let at: Operation | undefined = operation; at !== undefined && !seen.has(at); ) {
    if (!followers.has(at)) return at;
    seen.add(at);
    at = followedBy(graph, at);
  }
  return undefined;
}

/** A device the user wrote, on this task: its job and task give way, its type and number stay. */
type LocalDevice = (device: string) => string;

function localDevices(): LocalDevice {
  const known = new Map<string, string>([['', '']]);
  return (device) => {
    let local = known.get(device);
    if (local === undefined) {
      local = localName(device);
      known.set(device, local);
    }
    return local;
  };
}
