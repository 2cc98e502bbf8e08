/** Binding: from an operation to the kernel that runs it in this thread. Each operation is bound once, whatever programs it is part of. */
import { GradsyncError } from '../../errors.js';
import type { Graph } from '../../graph/graph.js';
import type { Operation, Tensor } from '../../graph/operation.js';
import { handleOf, referencedVariable } from './handles.js';
import type { BoundKernel, KernelTable } from './kernel.js';
import { NOTHING, type ResourceKernelTable } from './kernels/resource-kernel.js';
import { bindGather } from './kernels/rows.js';
import type { TaskResources } from './resources.js';
import { HANDLE } from './value.js';

export interface Binding {
  readonly kernel: BoundKernel;
  /** Inputs that are handles: they order operations but carry no value. */
  readonly handles: readonly number[];
  /** Inputs the kernel does without: nothing has to be computed for them. */
  readonly unused: readonly number[];
  /** Whether running it has no effect but its results. */
  readonly isPure: boolean;
}

/** Operations of the compute tables that are run for more than their results: for what they refuse, or what they change. */
const EFFECTS = /^(ControlTrigger|Assert|CheckNumerics|EnsureShape|Placeholder|Stack.*V2|TensorArray.*V3)$/;

/**
 * Operations of checkpoints and summaries, which training graphs carry along. They are no reason to refuse a graph: a session saves and
 * restores by itself. Running one is refused.
 */
const INPUT_OUTPUT = new Set([
  'SaveV2',
  'SaveSlices',
  'Save',
  'RestoreV2',
  'RestoreSlice',
  'Restore',
  'MergeV2Checkpoints',
  'ShardedFilename',
  'ShardedFilespec',
  'StringJoin',
  'ReadFile',
  'WriteFile',
  'ScalarSummary',
  'HistogramSummary',
  'ImageSummary',
  'AudioSummary',
  'TensorSummary',
  'TensorSummaryV2',
  'MergeSummary',
]);

/** Operations of branches, loops and functions, which let handles through as well as values. */
const PASSES_ON = new Set(['Switch', 'Merge', 'Enter', 'Exit', 'NextIteration', 'IdentityN']);

const TRIVIAL: Binding = { kernel: () => NOTHING, handles: [], unused: [], isPure: false };
const PASSED_ON: Binding = { kernel: () => [HANDLE.retain()], handles: [0], unused: [], isPure: false };

export class Binder {
  readonly #resources: TaskResources;
  readonly #compute: KernelTable;
  readonly #shared: ResourceKernelTable;
  readonly #bindings = new Map<Operation, Binding>();

  constructor(resources: TaskResources, compute: KernelTable, shared: ResourceKernelTable) {
    this.#resources = resources;
    this.#compute = compute;
    this.#shared = shared;
  }

  /** The kernel of an operation; UNIMPLEMENTED if there is none. */
  bind(operation: Operation): Binding {
    let binding = this.#bindings.get(operation);
    if (binding === undefined) {
      binding = this.#make(operation);
      this.#bindings.set(operation, binding);
    }
    return binding;
  }

  /** State of the random number generators of all operations bound so far. */
  generators(): Record<string, readonly number[]> {
    const states: Record<string, readonly number[]> = {};
    for (const [{ name }, { kernel }] of this.#bindings) {
      if (kernel.generator !== undefined) states[name] = kernel.generator.state;
    }
    return states;
  }

  /** UNIMPLEMENTED naming every operation type of the graph that no kernel runs, each with an operation of that type. */
  checkGraph(graph: Graph): void {
    const unknown = new Map<string, string>();
    for (const { type, name } of graph.operations()) {
      if (!this.#isKnown(type) && !INPUT_OUTPUT.has(type) && !unknown.has(type)) unknown.set(type, name);
    }
    if (unknown.size === 0) return;
    const list = [...unknown]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([type, name]) => `${type} ("${name}")`);
    throw new GradsyncError('UNIMPLEMENTED', 'Graph', {
      expected: 'operations the embedded runtime knows',
      received: list.join(', '),
      remedy:
        'remove them from the graph, or run it on TensorFlow (gradsync transform writes what that needs)',
    });
  }

  #isKnown(type: string): boolean {
    return type === 'NoOp' || Object.hasOwn(this.#compute, type) || Object.hasOwn(this.#shared, type);
  }

  #make(operation: Operation): Binding {
    if (operation.type === 'NoOp') return TRIVIAL;
    if (passesHandleOn(operation)) return PASSED_ON;
    const table = gatheredVariable(operation);
    if (table !== undefined) {
      return {
        kernel: bindGather(operation, table, this.#resources),
        handles: [],
        unused: [0, 2],
        isPure: true,
      };
    }
    if (Object.hasOwn(this.#shared, operation.type)) {
      const { bind, handles } = this.#shared[operation.type]!;
      return { kernel: bind(operation, this.#resources), handles, unused: [], isPure: false };
    }
    if (Object.hasOwn(this.#compute, operation.type)) {
      const kernel = this.#compute[operation.type]!(operation);
      const isPure = !EFFECTS.test(operation.type) && kernel.generator === undefined;
      return { kernel, handles: handlesThrough(operation), unused: [], isPure };
    }
    throw unknownOperation(operation);
  }
}

/** Identity of a resource handle, or of a reference that stays one. */
function passesHandleOn(operation: Operation): boolean {
  const [input] = operation.inputs;
  if (input === undefined || operation.outputs.length === 0) return false;
  return (
    (operation.type === 'Identity' || operation.type === 'RefIdentity') &&
    handleOf(operation.output(0)) !== undefined
  );
}

/** Which inputs of an operation that passes values on are handles. */
function handlesThrough({ type, inputs }: Operation): readonly number[] {
  if (!PASSES_ON.has(type)) return [];
  return [...inputs.keys()].filter((position) => handleOf(inputs[position]!) !== undefined);
}

/**
 * The variable whose rows an operation gathers, if it may read them from the shared storage: along dimension 0, from a variable or from a
 * read that nothing orders. The read itself, a copy of the whole table, then falls away unless somebody else needs it.
 */
export function gatheredVariable(operation: Operation): Operation | undefined {
  if (operation.type !== 'GatherV2' && operation.type !== 'Gather') return undefined;
  if (operation.controlInputs.length > 0 || !gathersRows(operation)) return undefined;
  const [table] = operation.inputs;
  return table === undefined ? undefined : variableRead(table);
}

function variableRead(tensor: Tensor): Operation | undefined {
  for (let at = tensor; ; ) {
    const { operation } = at;
    const referenced = referencedVariable(at);
    // Only the variable itself: a reference that comes out of an update is read after it.
    if (referenced !== undefined) return referenced === operation ? referenced : undefined;
    const [input] = operation.inputs;
    if (operation.controlInputs.length > 0 || input === undefined) return undefined;
    if (operation.type === 'ReadVariableOp') return handleOf(input);
    if (operation.type !== 'Identity') return undefined;
    at = input;
  }
}

function gathersRows(operation: Operation): boolean {
  const batch = operation.attributes.get('batch_dims');
  if (batch?.kind === 'int' && batch.value !== 0n) return false;
  const axis = operation.inputs[2];
  if (axis === undefined) return true;
  // An axis that waits for an update orders the gather behind it.
  if (axis.operation.controlInputs.length > 0) return false;
  const value = axis.operation.type === 'Const' ? axis.operation.attributes.get('value') : undefined;
  return value?.kind === 'tensor' && value.value.bytes.every((byte) => byte === 0);
}

function unknownOperation(operation: Operation): GradsyncError {
  const saves = INPUT_OUTPUT.has(operation.type);
  return new GradsyncError('UNIMPLEMENTED', `Operation "${operation.name}"`, {
    expected: 'a type the embedded runtime runs',
    received: operation.type,
    remedy: saves
      ? 'use save() and restore() of the session; do not fetch what needs it'
      : 'run it on TensorFlow',
    operation: operation.name,
  });
}
