/**
 * Compiling: from feeds and fetches to the operations the fetches need, in a fixed order that respects data and control edges, each bound
 * to its kernel, with the places where values are kept and how often each is used. Done once, run often.
 */
import { GradsyncError } from '../../errors.js';
import type { Operation, Tensor } from '../../graph/operation.js';
import type { Binder, Binding } from './binding.js';
import { leftOut, runsWith, throughBranch } from './branches.js';
import type { ExecutionPlan, Flow, LoopPlan, PlanNode, Source } from './execution-plan.js';
import { entered, type Frame, isInvariant } from './frames.js';
import { handleOf, referencedVariable } from './handles.js';
import type { BoundKernel } from './kernel.js';
import { NOTHING } from './kernels/resource-kernel.js';
import { onlyReads } from './kernels/resource-kernels.js';
import { planOrder } from './plan-order.js';
import { ReferenceReads } from './reference-reads.js';
import type { TaskResources } from './resources.js';
import { isTrivial, Scope } from './scope.js';
import { TransferFinder } from './transfers.js';

export interface PlanRequest {
  readonly feeds: readonly Tensor[];
  readonly tensors: readonly Tensor[];
  readonly operations: readonly Operation[];
  /** Operations that are not run; see ProgramRequest. */
  readonly without?: readonly Operation[];
}

type Draft = { -readonly [K in keyof PlanNode]: PlanNode[K] } & {
  outputs: number[];
  successors: number[];
};

/** Compiles; throws for a placeholder without a feed, an operation without a kernel, a cycle. */
export function compile(request: PlanRequest, binder: Binder, resources: TaskResources): ExecutionPlan {
  const fed = new Set(request.feeds);
  const wanted = request.tensors.filter((tensor) => !fed.has(tensor)).map(({ operation }) => operation);
  const scope = Scope.outer(binder, request.feeds, [...wanted, ...request.operations]);
  return new Compiler(request, { binder, resources, scope }).compile();
}

interface World {
  readonly binder: Binder;
  readonly resources: TaskResources;
  readonly scope: Scope;
}

class Compiler {
  readonly #request: PlanRequest;
  readonly #binder: Binder;
  readonly #resources: TaskResources;
  readonly #scope: Scope;
  readonly #fed: ReadonlySet<Tensor>;
  readonly #slots = new Map<Tensor, number>();
  readonly #uses: number[] = [];
  readonly #nodes: Draft[] = [];
  readonly #indices = new Map<Operation, number>();
  readonly #transfers: TransferFinder;
  #references = new ReferenceReads([], new Set());
  /** What a branch may leave out. */
  #leftOut: ReadonlySet<Operation> = new Set();

  constructor(request: PlanRequest, { binder, resources, scope }: World) {
    this.#request = request;
    this.#binder = binder;
    this.#resources = resources;
    this.#scope = scope;
    this.#fed = scope.fed;
    this.#transfers = new TransferFinder(resources.task);
  }

  compile(): ExecutionPlan {
    const { feeds, tensors, operations } = this.#request;
    const { needed } = this.#scope;
    const feedSlots = feeds.map((tensor) => this.#slotOf(tensor));
    const roots = [
      ...tensors.filter((tensor) => !this.#fed.has(tensor)).map(({ operation }) => operation),
      ...operations,
    ].map((operation) => this.#scope.root(operation));
    const order = planOrder(roots, needed);
    this.#references = new ReferenceReads(order, this.#fed);
    this.#leftOut = leftOut(order, needed);
    const idle = this.#withoutUse(order, new Set(roots), this.#withoutValue(order));
    for (const operation of order) this.#add(operation, idle.has(operation));
    const fetches = tensors.map((tensor) => this.#fetch(tensor));
    return { nodes: this.#nodes, uses: Int32Array.from(this.#uses), feeds: feedSlots, fetches };
  }

  /** Operations that the request leaves out, and what would take their values. */
  #withoutValue(order: readonly Operation[]): ReadonlySet<Operation> {
    const found = new Set(this.#request.without);
    if (found.size === 0) return found;
    const isMissing = (tensor: Tensor): boolean =>
      !this.#fed.has(tensor) && found.has(this.#scope.unit(tensor.operation));
    for (const operation of order) {
      const loop = this.#scope.loopAt(operation);
      const taken = loop === undefined ? operation.inputs : loop.enters.map(entered);
      if (taken.some(isMissing)) found.add(operation);
    }
    return found;
  }

  /**
   * Operations that are not run: those without a value, and those whose results nobody takes, as they are needed for the order alone (a
   * gradient of the images, which TensorFlow's tuples wait
   * for). They are not computed (TensorFlow's own optimizer makes them NoOps), and so neither is what only they take.
   */
  #withoutUse(
    order: readonly Operation[],
    roots: ReadonlySet<Operation>,
    withoutValue: ReadonlySet<Operation>,
  ): ReadonlySet<Operation> {
    const taken = new Set<Operation>();
    const idle = new Set(withoutValue);
    for (const operation of order.toReversed()) {
      if (withoutValue.has(operation)) continue;
      if (this.#scope.loopAt(operation) !== undefined) {
        for (const other of this.#scope.needed(operation)) taken.add(other);
        continue;
      }
      const binding = this.#binder.bind(operation);
      const isNeeded = roots.has(operation) || taken.has(operation) || this.#leftOut.has(operation);
      // Where all that would take a variable is left out, it need not be read.
      const hasEffect = !binding.isPure && (withoutValue.size === 0 || !onlyReads(operation.type));
      if (!isNeeded && !hasEffect) {
        idle.add(operation);
        continue;
      }
      operation.inputs.forEach((tensor, position) => {
        if (!this.#fed.has(tensor) && !binding.unused.includes(position)) taken.add(tensor.operation);
      });
    }
    return idle;
  }

  #add(operation: Operation, isIdle: boolean): void {
    if (isTrivial(operation)) return;
    const dependencies = this.#scope.needed(operation);
    if (isIdle) {
      const none = operation.inputs.map(() => null);
      this.#addNode(operation, () => NOTHING, none, dependencies).isIdle = true;
      return;
    }
    const loop = this.#scope.loopAt(operation);
    if (loop !== undefined) {
      this.#addLoop(operation, loop, dependencies);
      return;
    }
    if (operation.type === 'Placeholder') this.#checkFed(operation);
    const binding = this.#binder.bind(operation);
    const sources = operation.inputs.map((_, position) => this.#source(operation, position, binding));
    const node = this.#addNode(operation, binding.kernel, sources, dependencies);
    if (this.#leftOut.has(operation)) node.flow = this.#flowOf(operation);
    this.#findTransfers(node, operation.inputs);
  }

  #flowOf(operation: Operation, loop?: LoopPlan): Flow {
    const controls = this.#scope
      .controls(operation)
      .filter((control) => this.#leftOut.has(control))
      .map((control) => this.#indices.get(control)!);
    const index = this.#indices.get(operation)!;
    return { runsWith: runsWith(operation.type), controls, index, ...(loop && { loop }) };
  }

  /** A loop is one node, with a plan of its own for what one iteration does. */
  #addLoop(operation: Operation, loop: Frame, dependencies: readonly Operation[]): void {
    const same = loop.enters.filter((enter) => isInvariant(enter) && !carriesHandle(enter));
    const begins = [...loop.merges.map(({ enter }) => enter), ...same];
    const fed = [...loop.merges.map(({ merge }) => merge.output()), ...same.map((enter) => enter.output())];
    const sources = begins.map((enter) => this.#valueOf(enter, entered(enter)));
    const ends = [...loop.merges.map(({ next }) => next), ...loop.exits];
    const request = {
      feeds: fed,
      tensors: ends.map((end) => end.inputs[0]!),
      operations: ends.flatMap((end) => end.controlInputs),
    };
    const scope = this.#scope.inside(loop, fed);
    const body = new Compiler(request, {
      binder: this.#binder,
      resources: this.#resources,
      scope,
    }).compile();
    const node = this.#addNode(operation, () => NOTHING, sources, dependencies);
    node.flow = this.#flowOf(operation, { body, variables: loop.merges.length });
    this.#findTransfers(node, begins.map(entered));
  }

  #findTransfers(node: Draft, inputs: readonly Tensor[]): void {
    const found = this.#transfers.find(node.operation, inputs, node.sources);
    if (found.length > 0) node.transfers = found;
  }

  #addNode(
    operation: Operation,
    kernel: BoundKernel,
    sources: readonly Source[],
    dependencies: readonly Operation[],
  ): Draft {
    const index = this.#nodes.length;
    const before = new Set(dependencies.map((dependency) => this.#indices.get(dependency)!));
    const node: Draft = {
      operation,
      kernel,
      sources,
      outputs: [],
      successors: [],
      predecessors: before.size,
    };
    for (const other of before) this.#nodes[other]!.successors.push(index);
    this.#nodes.push(node);
    if (!this.#indices.has(operation)) this.#indices.set(operation, index);
    return node;
  }

  #source(operation: Operation, position: number, { handles, unused }: Binding): Source {
    const tensor = operation.inputs[position]!;
    if (unused.includes(position)) return null;
    if (handles.includes(position)) return throughBranch(tensor) ? this.#take(tensor) : null;
    return this.#valueOf(operation, tensor);
  }

  #valueOf(operation: Operation, tensor: Tensor): Source {
    const variable = this.#fed.has(tensor)
      ? undefined
      : (referencedVariable(tensor) ?? this.#references.readAgain(operation, tensor));
    const isHandle = variable === undefined && handleOf(tensor) !== undefined;
    if (isHandle && !throughBranch(tensor)) throw handleForValue(operation, tensor);
    return variable === undefined ? this.#take(tensor) : this.#resources.variable(variable);
  }

  #take(tensor: Tensor): number {
    const slot = this.#slotOf(tensor);
    this.#uses[slot]!++;
    return slot;
  }

  #fetch(tensor: Tensor): number {
    const variable = this.#fed.has(tensor) ? undefined : referencedVariable(tensor);
    const slot = variable === undefined ? this.#slotOf(tensor) : this.#readAfter(tensor, variable);
    this.#uses[slot]!++;
    return slot;
  }

  /** A node that reads a reference variable once the operation that passes the reference on has run. */
  #readAfter(tensor: Tensor, variable: Operation): number {
    const access = this.#resources.variable(variable);
    const after = isTrivial(tensor.operation) ? [] : [tensor.operation];
    const node = this.#addNode(tensor.operation, ([value]) => [value!.retain()], [access], after);
    const slot = this.#uses.push(0) - 1;
    node.outputs[0] = slot;
    return slot;
  }

  #slotOf(tensor: Tensor): number {
    let slot = this.#slots.get(tensor);
    if (slot === undefined) {
      slot = this.#uses.push(0) - 1;
      this.#slots.set(tensor, slot);
      this.#writeOutput(tensor, slot);
    }
    return slot;
  }

  /** Notes in the producing node where its output goes. Producers come before consumers, so the node is there unless the tensor is fed. */
  #writeOutput(tensor: Tensor, slot: number): void {
    const unit = this.#scope.unit(tensor.operation);
    const index = this.#indices.get(unit);
    if (index === undefined || this.#fed.has(tensor)) return;
    const exits = this.#scope.loopAt(unit)?.exits;
    const { outputs } = this.#nodes[index]!;
    const at = exits === undefined ? tensor.index : exits.indexOf(tensor.operation);
    while (outputs.length <= at) outputs.push(-1);
    outputs[at] = slot;
  }

  /** A fed placeholder gets here through control edges only, and its kernel is never asked for a value. */
  #checkFed(operation: Operation): void {
    if (this.#fed.has(operation.output(0))) return;
    const { name, dtype, shape } = describePlaceholder(operation);
    throw new GradsyncError('INVALID_ARGUMENT', `Placeholder "${name}"`, {
      expected: `a feed of ${dtype} ${shape}`,
      received: 'none',
      remedy: 'feed it in every request whose fetches depend on it',
      operation: name,
    });
  }
}

/** No value flows where a handle leads: the kernel would find nothing. */
function handleForValue({ name, type }: Operation, tensor: Tensor): GradsyncError {
  return new GradsyncError('INVALID_ARGUMENT', `Operation "${name}" (${type})`, {
    expected: 'tensors with values',
    received: `"${tensor.name}", a handle`,
    remedy: 'take a read of the variable',
    operation: name,
  });
}

function carriesHandle(enter: Operation): boolean {
  return handleOf(enter.output()) !== undefined;
}

function describePlaceholder(operation: Operation): { name: string; dtype: string; shape: string } {
  const dtype = operation.attributes.get('dtype');
  const shape = operation.attributes.get('shape');
  const dims =
    shape?.kind === 'shape' && shape.value !== null ? shape.value.map((dim) => (dim < 0 ? '?' : dim)) : null;
  return {
    name: operation.name,
    dtype: dtype?.kind === 'type' ? dtype.value : 'its dtype',
    shape: dims === null ? 'of any shape' : `[${dims}]`,
  };
}
