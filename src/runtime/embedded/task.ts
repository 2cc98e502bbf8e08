/**
 * Task: one task's graph in its thread: compiles programs and runs them, one step after the other. What the thread's message loop calls.
 */
import { GradsyncError } from '../../errors.js';
import type { Graph } from '../../graph/graph.js';
import { parseFetchName, parseTensorName } from '../../graph/name.js';
import type { Operation, Tensor } from '../../graph/operation.js';
import type { PreparedProgram, ProgramRequest, TaskProgress, TensorData, VariableInfo } from '../executor.js';
import type { Binder } from './binding.js';
import type { BoardRow } from './board.js';
import { allNodes, type ExecutionPlan } from './execution-plan.js';
import type { Arrival } from './failure.js';
import { checkFeedShapes } from './feed-shapes.js';
import { addressOf, resourceKey, resourceKind } from './handles.js';
import type { Generator, TaskRuntime } from './kernel.js';
import { changesState, spanKind } from './kernels/resource-kernels.js';
import { meetingsIn, meetingsOf } from './meetings.js';
import { feedSpec, outputAt, refuseRepeated } from './outputs.js';
import { compile } from './plan.js';
import { variablesRead } from './reads.js';
import type { Recorder } from './recorder.js';
import type { TaskResources } from './resources.js';
import { runStep, type Spans, type StepObserver } from './step.js';
import type { TrafficRow } from './traffic-board.js';
import { bytesMoved } from './transfers.js';
import { Value } from './value.js';
import type { VariableAccess } from './variable-access.js';

/** What a task is made of; all of it belongs to its thread. */
export interface TaskParts {
  readonly graph: Graph;
  readonly resources: TaskResources;
  readonly binder: Binder;
  readonly runtime: TaskRuntime;
  readonly row: BoardRow;
  readonly traffic: TrafficRow;
  /** Undefined where nobody wants to know where the time goes. */
  readonly recorder?: Recorder | undefined;
}

interface Program {
  readonly plan: ExecutionPlan;
  readonly feeds: readonly Tensor[];
  /** Whether a run is a training step. */
  readonly isStep: boolean;
}

export class Task {
  readonly #parts: TaskParts;
  readonly #programs: Program[] = [];
  /** Position of each operation in the graph, for the board. */
  readonly #positions = new Map<Operation, number>();
  readonly #observer: StepObserver;
  #isInStep = false;

  constructor(parts: TaskParts) {
    this.#parts = parts;
    for (const operation of parts.graph.operations()) this.#positions.set(operation, this.#positions.size);
    const { row, traffic, recorder } = parts;
    const position = (operation: Operation): number => this.#positions.get(operation)!;
    this.#observer = {
      enter: (operation) => row.enter(position(operation)),
      moves: (transfer, value) => {
        if (this.#isInStep) traffic.move(transfer.from, transfer.to, bytesMoved(transfer, value));
      },
      ...(recorder === undefined ? {} : { spans: recordSpans(recorder, position) }),
    };
  }

  variables(): VariableInfo[] {
    return this.#variables(undefined);
  }

  meetings(): string[] {
    return meetingsOf(this.#parts.graph, this.#parts.resources.task);
  }

  /** Variables of the graph; with `wanted`, those of numbers among them. */
  #variables(wanted: ReadonlySet<VariableAccess> | undefined): VariableInfo[] {
    const { graph, resources } = this.#parts;
    const result: VariableInfo[] = [];
    for (const operation of graph.operations()) {
      if (resourceKind(operation) !== 'variable') continue;
      const address = addressOf(operation, resources.task);
      const variable = resources.variable(operation);
      const { dtype, shape } = variable;
      // Strings identify the run: only initializers read them.
      if (wanted !== undefined && (dtype === 'string' || !wanted.has(variable))) continue;
      const key = resourceKey('variable', address);
      result.push({ name: operation.name, key, task: address.task, dtype, shape });
    }
    return result;
  }

  prepare(request: ProgramRequest): PreparedProgram {
    const { binder, resources } = this.#parts;
    const feeds = request.feeds.map((name) => this.#tensor(name));
    refuseRepeated(feeds, request.feeds);
    const tensors = request.tensors.map((name) => this.#tensor(name));
    const operations = request.operations.map((name) => this.#operation(name));
    tensors.forEach(refuseHandle);
    const without = (request.without ?? []).map((name) => this.#operation(name));
    const plan = compile({ feeds, tensors, operations, without }, binder, resources);
    if (request.guarded.length > 0) {
      const guarded = new Set(request.guarded.map((name) => this.#operation(name)));
      const rest = {
        feeds,
        tensors: tensors.filter(({ operation }) => !guarded.has(operation)),
        operations: operations.filter((operation) => !guarded.has(operation)),
      };
      checkGuarded(plan, compile(rest, binder, resources), request.guarded);
    }
    const changes = [...allNodes(plan)].some(({ operation }) => changesState(operation.type));
    const isStep = changes && request.initializes !== true;
    return {
      id: this.#programs.push({ plan, feeds, isStep }) - 1,
      feeds: feeds.map(feedSpec),
      reads: this.#variables(variablesRead(plan, resources)),
      meetings: meetingsIn(plan, resources.task),
      changesState: changes,
      defaults: [...allNodes(plan)]
        .filter(({ operation }) => operation.type === 'PlaceholderWithDefault')
        .map(({ operation }) => operation.output().name),
    };
  }

  /** Refuses shapes of a program's feeds that do not fit together. */
  checkShapes(program: number, shapes: readonly (readonly number[])[]): void {
    const { plan, feeds } = this.#programs[program]!;
    checkFeedShapes(plan, feeds, shapes, this.#parts.resources.task);
  }

  /** Runs a program once. The arrays that come back belong to the caller. */
  async run(program: number, feeds: readonly TensorData[]): Promise<TensorData[]> {
    const { row, traffic, runtime, recorder } = this.#parts;
    const { plan, isStep } = this.#programs[program]!;
    const activity = isStep ? 'step' : 'run';
    const begin = recorder?.now() ?? 0;
    row.begin(activity);
    this.#isInStep = isStep;
    const values = feeds.map(({ dtype, shape, data }) => Value.ofHost(dtype, shape, data));
    const fetched = await runStep(plan, values, runtime, this.#observer);
    row.end();
    if (isStep) traffic.endStep();
    const results = fetched.map(takeOut);
    recorder?.add(activity, begin);
    return results;
  }

  get progress(): TaskProgress {
    const { binder, row } = this.#parts;
    return { steps: row.steps, generators: binder.generators() };
  }

  set progress({ steps, generators }: TaskProgress) {
    const { row } = this.#parts;
    const found = Object.entries(generators).map(([name, state]) => ({
      generator: this.#generator(name),
      state,
    }));
    for (const { generator, state } of found) generator.state = state;
    row.steps = steps;
  }

  /** This task's traffic with one accumulator or queue, and its gifts to all of them. */
  arrival(key: string): Arrival {
    const { resources } = this.#parts;
    const { given, taken } = resources.traffic(key);
    return { given, taken, gifts: resources.gifts };
  }

  #tensor(name: string): Tensor {
    return outputAt(this.#operation(name), parseTensorName(name).index, name);
  }

  #generator(name: string): Generator {
    const operation = this.#parts.graph.find(name);
    const generator = operation && this.#parts.binder.bind(operation).kernel.generator;
    if (generator !== undefined) return generator;
    throw new GradsyncError('NOT_FOUND', 'Random numbers', {
      expected: `operations of task ${this.#parts.resources.task} that draw them`,
      received: `"${name}"`,
      remedy: 'use what a session of the same graph gave',
      operation: name,
    });
  }

  /** The operation that a tensor name or operation name is about. */
  #operation(name: string): Operation {
    const operation = this.#parts.graph.find(parseFetchName(name).operation);
    if (operation !== undefined) return operation;
    throw new GradsyncError('NOT_FOUND', 'Feed or fetch', {
      expected: 'the name of an operation of the graph',
      received: `"${name}"`,
      remedy: 'check the spelling; names are those of the original graph',
      operation: name,
      task: this.#parts.resources.task,
    });
  }
}

function recordSpans(recorder: Recorder, position: (operation: Operation) => number): Spans {
  return {
    now: () => recorder.now(),
    ran: (operation, begin) => recorder.add(spanKind(operation.type), begin, position(operation)),
    waited: (operation, begin) => recorder.add('wait', begin, position(operation)),
    idled: (begin) => recorder.add('idle', begin),
  };
}

/** A copy in an array of its own: what a kernel gave may be shared, or a view of the wasm heap. */
function takeOut(value: Value): TensorData {
  const data = value.host().slice() as TensorData['data'];
  value.release();
  return { dtype: value.dtype, shape: value.shape, data };
}

/** Guarded fetches may add no exchange and no change to what the rest of the request runs: alone they would hang or eat a round. */
function checkGuarded(whole: ExecutionPlan, rest: ExecutionPlan, names: readonly string[]): void {
  const run = new Set(Array.from(allNodes(rest), ({ operation }) => operation));
  const added = [...allNodes(whole)].find(
    ({ operation }) => changesState(operation.type) && !run.has(operation),
  );
  if (added === undefined) return;
  throw new GradsyncError('FAILED_PRECONDITION', `Fetch ${names.map((name) => `"${name}"`).join(', ')}`, {
    expected: 'a request that also runs the train operation, on a task that runs what is fetched',
    received: `one that would run "${added.operation.name}" (${added.operation.type}) by itself`,
    remedy: 'fetch it together with the train operation; the plan says why under notFetchable',
    operation: added.operation.name,
  });
}

function refuseHandle(tensor: Tensor): void {
  const kind = resourceKind(tensor.operation);
  const isReference = tensor.operation.type === 'VariableV2' || tensor.operation.type === 'Variable';
  if (kind === undefined || isReference) return;
  throw new GradsyncError('INVALID_ARGUMENT', `Fetch "${tensor.name}"`, {
    expected: 'a tensor with a value',
    received: `the handle of a ${kind}`,
    remedy: kind === 'variable' ? 'fetch a read of it, or call readVariables()' : 'fetch something else',
    operation: tensor.operation.name,
  });
}
