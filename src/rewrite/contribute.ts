/** A step's part in a round that it does not run itself: its own contribution, its token, and what C would have run beforehand. */
import type { Graph } from '../graph/graph.js';
import type { Operation } from '../graph/operation.js';
import type { Closure } from './closure.js';
import { gradientTensors } from './gradient-region.js';
import { group, newName, type Site } from './make.js';
import type { Aggregation } from './parameter-server.js';
import type { RewriteContext } from './pass.js';
import type { RoundGroup } from './synchrony.js';
import { takeToken } from './tokens.js';
import type { UpdateGroup } from './update-groups.js';
import type { VariableUses } from './variable-uses.js';
import { ancestors } from './walk.js';

export interface FinishInput {
  readonly groups: readonly RoundGroup[];
  readonly aggregations: readonly Aggregation[];
  readonly closure: Closure;
  readonly uses: VariableUses;
}

const EFFECTS = new Set(['Assert', 'Print', 'PrintV2', 'PyFunc', 'QueueEnqueueV2', 'LookupTableInsertV2']);

/** What a step does that contributes to a round which it does not run itself. */
export function contribute(
  site: Site,
  context: RewriteContext,
  updates: RoundGroup,
  number: number,
  input: FinishInput,
): { readonly token: Operation; readonly effects: readonly Operation[] } {
  const own = aggregationsOf(updates, input).map(({ apply }) => apply);
  const after = joinByDevice(site, 'contributed_there', own);
  const chief = { ...site, device: context.devices.chiefCpu };
  const queues = { group: number, first: updates.background?.staleness ?? 0 };
  const token = takeToken(chief, context, queues, context.isChief ? 0 : undefined, after);
  return { token, effects: effectsBefore(site.graph, updates, input) };
}

export function aggregationsOf(
  { pairs }: UpdateGroup,
  { aggregations }: FinishInput,
): readonly Aggregation[] {
  const own = new Set(pairs);
  return aggregations.filter(({ pair }) => own.has(pair));
}

/** One NoOp per device on which several are waited for: one message between two tasks instead of one per operation. */
function joinByDevice(site: Site, name: string, operations: readonly Operation[]): readonly Operation[] {
  const byDevice = new Map<string, Operation[]>();
  for (const operation of operations) {
    const there = byDevice.get(operation.device);
    if (there === undefined) byDevice.set(operation.device, [operation]);
    else there.push(operation);
  }
  if (byDevice.size === 1 && byDevice.has(site.device)) return operations;
  const devices = [...byDevice].sort(([a], [b]) => (a < b ? -1 : 1));
  return devices.map(([device, there]) =>
    there.length === 1 ? there[0]! : group({ ...site, device }, newName(site, name), there),
  );
}

/** What a step of the original program runs before the group's updates for its effect alone. */
function effectsBefore(graph: Graph, updates: UpdateGroup, input: FinishInput): readonly Operation[] {
  const { members } = input.closure;
  const roots = new Set(
    updates.pairs.flatMap((pair) => gradientTensors(pair).map(({ operation }) => operation)),
  );
  const enter = (operation: Operation): boolean => !roots.has(operation) && !members.has(operation);
  const before = ancestors(graph, updates.members, { control: true, enter });
  return [...before]
    .filter((operation) => !members.has(operation) && hasEffect(operation, input.uses))
    .sort((a, b) => a.id - b.id);
}

function hasEffect(operation: Operation, uses: VariableUses): boolean {
  return EFFECTS.has(operation.type) || uses.mutatedBy(operation).length > 0;
}

export interface UpdatesDone {
  /** After this all changes of the group are done. */
  readonly updated: Operation;
  /** All operations that wait for that. */
  readonly waits: readonly Operation[];
}

export function updatesDone(site: Site, { last }: UpdateGroup): UpdatesDone {
  const after = joinByDevice(site, 'updated_there', last);
  const updated = group(site, newName(site, 'updated'), after);
  return { updated, waits: [updated, ...after.filter((operation) => !last.includes(operation))] };
}
