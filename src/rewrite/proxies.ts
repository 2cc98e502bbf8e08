/**
 * Proxies: copies of dense variables that live on another task. The task's own computation reads the copy; it begins as the variable's value
 * and takes it over again at the end of every round, when no task can change it. Optimizers go on reading the variable itself.
 */
import { attr, attributes } from '../graph/attributes.js';
import type { Graph } from '../graph/graph.js';
import { isInScope } from '../graph/name.js';
import { isCheckpointing, variableKind } from '../graph/op-catalog.js';
import type { Operation, Tensor } from '../graph/operation.js';
import type { GradientPair, TrainingGraph, Variable } from '../graph/training-graph.js';
import type { Closure } from './closure.js';
import { taskOfDevice } from './devices.js';
import type { Finish } from './finish.js';
import { group, newName, operation, type Site } from './make.js';
import { isCollective, planOf, type RunContext, type TaskContext } from './pass.js';
import { proxyName } from './shared-objects.js';
import { ancestors, descendants } from './walk.js';

/** A variable that tasks may have a proxy of. */
export interface ProxyCandidate {
  readonly variable: Variable;
  /** Its round's end. */
  readonly finish: Finish;
  /** Who takes the variable's value before the round's end, by the tensor it is taken from. */
  readonly readers: ReadonlyMap<Tensor, readonly Operation[]>;
}

export interface ProxyInput {
  readonly pairs: readonly GradientPair[];
  readonly training: TrainingGraph;
  readonly closure: Closure;
  readonly finishes: readonly Finish[];
}

/** What a task's proxies add to its plan. */
export interface Proxies {
  /** Gives the proxies their first values; undefined where there are none. */
  readonly initializer: Operation | undefined;
  /** What takes the values over; it waits for the end of a round. */
  readonly refreshes: readonly Operation[];
}

/** The variables whose plans ask for proxies. With one task there are none. */
export function findProxyCandidates(
  graph: Graph,
  context: RunContext,
  input: ProxyInput,
): readonly ProxyCandidate[] {
  const { finishes, training, closure } = input;
  const wanted = new Set(
    input.pairs.filter((pair) => hasProxy(pair, context)).map(({ variable }) => variable.name),
  );
  if (wanted.size === 0 || finishes.length === 0) return [];
  const ends = finishes.flatMap((finish) => [finish.operation, ...finish.tokens]);
  const late = descendants(graph, [...closure.members, ...ends], { control: true });
  const initializers = training.variables.flatMap(({ initializer }) => initializer ?? []);
  const initial = ancestors(graph, initializers, { control: true });
  const isReader = (variable: Variable, { type, name }: Operation): boolean =>
    !isCheckpointing(type) && !isInScope(name, variable.name);
  const isForward = (each: Operation): boolean => !late.has(each) && !initial.has(each);
  return finishes.flatMap((finish) =>
    finish.group.pairs
      .filter(({ variable }) => wanted.has(variable.name))
      .map(({ variable }) => {
        const readers = new Map<Tensor, readonly Operation[]>();
        for (const read of variable.reads.filter(isForward).filter(standsOutside)) {
          const takers = [...read.output().consumers].filter(isForward);
          readers.set(
            read.output(),
            takers.filter((taker) => isReader(variable, taker)),
          );
        }
        return { variable, finish, readers };
      }),
  );
}

/**
 * Whether a read takes the variable outside of loops and branches. What stands inside gets the handle through an Enter or a Switch, and
 * could not take a value from outside: it goes on reading the variable itself, which is the same until the round has ended.
 */
function standsOutside(read: Operation): boolean {
  let [at] = read.inputs;
  while (at !== undefined && at.operation.type === 'Identity') [at] = at.operation.inputs;
  return at !== undefined && variableKind(at.operation.type) !== undefined;
}

/** Whether tasks other than its server's keep a copy of the pair's variable. */
export function hasProxy(pair: GradientPair, context: RunContext): boolean {
  if (isCollective(pair, context)) return false;
  const { sync, proxy } = planOf(pair, context);
  return sync && proxy && pair.gradient.kind === 'dense';
}

/** Gives the task a proxy of every candidate that lives elsewhere and that it reads. Devices have their full names. */
export function addProxies(
  graph: Graph,
  context: TaskContext,
  candidates: readonly ProxyCandidate[],
): Proxies {
  const own = { graph, device: context.replicas[0]!, pass: 'proxy' };
  const starts: Operation[] = [];
  const refreshes: Operation[] = [];
  for (const candidate of candidates) {
    const { variable, readers } = candidate;
    if (taskOfDevice(variable.handle.device) === context.task) continue;
    const local = [...readers].map(
      ([tensor, takers]) => [tensor, takers.filter((taker) => isOn(taker, context.task))] as const,
    );
    if (local.every(([, takers]) => takers.length === 0)) continue;
    const proxy = new LocalCopy({ ...own, source: variable.name }, context.digest, variable);
    for (const [tensor, takers] of local) graph.replaceInput(tensor, proxy.value, takers);
    starts.push(proxy.take('start', []));
    const refresh = proxy.take('refresh', candidate.finish.tokens);
    // What reads the proxy in this step reads it before.
    graph.addControlInput(refresh, proxy.value.operation);
    graph.addControlInput(candidate.finish.operation, refresh);
    refreshes.push(refresh);
  }
  const site = { ...own, source: '' };
  const initializer = starts.length === 0 ? undefined : group(site, newName(site, 'start_proxies'), starts);
  return { initializer, refreshes };
}

function isOn({ device }: Operation, task: number): boolean {
  return taskOfDevice(device) === task;
}

/** One task's copy of a variable. */
class LocalCopy {
  /** What readers take in place of the variable's value. */
  readonly value: Tensor;
  readonly #site: Site;
  readonly #variable: Variable;
  readonly #handle: Tensor;

  constructor(site: Site, digest: string, variable: Variable) {
    this.#site = site;
    this.#variable = variable;
    this.#handle = operation(site, newName(site, 'proxy'), {
      type: 'VarHandleOp',
      attributes: attributes({
        dtype: attr.type(variable.dtype),
        shape: attr.shape(variable.shape),
        container: attr.string(digest),
        shared_name: attr.string(proxyName(variable)),
      }),
    }).output();
    this.value = operation(site, newName(site, 'proxy_value'), {
      type: 'ReadVariableOp',
      inputs: [this.#handle],
      attributes: attributes({ dtype: attr.type(variable.dtype) }),
    }).output();
  }

  /** Takes over what the variable holds after `after`. */
  take(name: string, after: readonly Operation[]): Operation {
    const { dtype, handle, kind } = this.#variable;
    const isResource = kind === 'resource';
    const site = { ...this.#site, device: handle.device };
    const value = operation(site, newName(site, name, 'read'), {
      type: isResource ? 'ReadVariableOp' : 'Identity',
      inputs: [handle.output()],
      after,
      attributes: attributes({ [isResource ? 'dtype' : 'T']: attr.type(dtype) }),
    }).output();
    return operation(this.#site, newName(this.#site, name), {
      type: 'AssignVariableOp',
      inputs: [this.#handle, value],
      attributes: attributes({ dtype: attr.type(dtype) }),
    });
  }
}
