/**
 * StepRun: one run of an execution plan. Operations run one after the other without promises; one that waits is started as soon as its
 * inputs are there, and the others go on. Values do not depend on the order in which waits end: every operation gets the same inputs.
 */
import { GradsyncError } from '../../errors.js';
import type { Operation } from '../../graph/operation.js';
import type { ExecutionPlan, Flow, LoopPlan, PlanNode, Source, Transfer } from './execution-plan.js';
import type { TaskRuntime } from './kernel.js';
import { ReadyHeap } from './ready-heap.js';
import { DEAD, HANDLE, type Value } from './value.js';

/** An operation failed while it ran. */
export class OperationFailure extends Error {
  readonly operation: Operation;

  constructor(operation: Operation, cause: unknown) {
    super(`Operation "${operation.name}" failed`, { cause });
    this.operation = operation;
  }
}

/** Whoever watches a step. */
export interface StepObserver {
  /** An operation begins. */
  enter(operation: Operation): void;
  /** A value goes from one task to another. */
  moves(transfer: Transfer, value: Value): void;
  /** Told where the time goes, if given. */
  readonly spans?: Spans;
}

/** Spans of time that end now and began at a `now()`. */
export interface Spans {
  now(): number;
  ran(operation: Operation, begin: number): void;
  /** From when an operation was asked to wait until what it waited for was there; others ran meanwhile. */
  waited(operation: Operation, begin: number): void;
  /** No operation could run. */
  idled(begin: number): void;
}

/** Runs a plan. Gives the fetched values, which the caller owns. Takes the feeds over. */
export function runStep(
  plan: ExecutionPlan,
  feeds: readonly Value[],
  runtime: TaskRuntime,
  observer: StepObserver,
): Promise<readonly Value[]> {
  return new StepRun(plan, feeds, runtime, observer).run();
}

/** Who runs what is in a loop: all that a plan's nodes are given beside their inputs. */
interface Surroundings {
  readonly runtime: TaskRuntime;
  readonly observer: StepObserver;
}

/** Iterates until no variable goes on. Gives what the Exits let out, which the caller owns; DEAD where one let nothing out. */
function runLoop(
  { body, variables }: LoopPlan,
  inputs: readonly Value[],
  { runtime, observer }: Surroundings,
): readonly Value[] {
  const same = inputs.slice(variables);
  let current = inputs.slice(0, variables).map((value) => value.retain());
  for (;;) {
    const feeds = [...current, ...same.map((value) => value.retain())];
    const fetched = new StepRun(body, feeds, runtime, observer).runAtOnce();
    current = fetched.slice(0, variables);
    if (current.every((value) => value === DEAD)) return fetched.slice(variables);
    if (current.some((value) => value === DEAD)) {
      for (const value of fetched) value.release();
      throw new GradsyncError('UNIMPLEMENTED', 'Loop', {
        expected: 'one condition that all of its variables go on with',
        received: 'variables of which some went on and some did not',
        remedy: 'run this graph on TensorFlow',
      });
    }
  }
}

class StepRun {
  readonly #plan: ExecutionPlan;
  readonly #runtime: TaskRuntime;
  readonly #observer: StepObserver;
  readonly #values: (Value | undefined)[];
  readonly #uses: Int32Array;
  /** Per node, how many of those it waits for have not finished. */
  readonly #missing: Int32Array;
  /** Nodes before `#cursor` that became ready after it had passed them. */
  readonly #late = new ReadyHeap();
  /** Nodes that a branch left out in this run. */
  #leftOut: Set<number> | undefined;
  #cursor = 0;
  #waiting = 0;
  #wake: (() => void) | undefined;
  #failure: unknown;

  constructor(plan: ExecutionPlan, feeds: readonly Value[], runtime: TaskRuntime, observer: StepObserver) {
    this.#plan = plan;
    this.#runtime = runtime;
    this.#observer = observer;
    this.#uses = plan.uses.slice();
    this.#values = new Array<Value | undefined>(plan.uses.length);
    this.#missing = Int32Array.from(plan.nodes, (node) => node.predecessors);
    plan.feeds.forEach((slot, i) => {
      this.#store(slot, feeds[i]!);
    });
  }

  async run(): Promise<readonly Value[]> {
    try {
      this.#runReady();
      while (this.#waiting > 0) {
        const begin = this.#observer.spans?.now() ?? 0;
        const woken = new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#runtime.awaitSettlement(this.#waiting);
        await woken;
        this.#observer.spans?.idled(begin);
        if (this.#failure !== undefined) throw this.#failure;
        this.#runReady();
      }
      const fetched = this.#plan.fetches.map((slot) => this.#fetched(slot));
      if (fetched.includes(DEAD)) throw this.#notTaken(fetched);
      return fetched;
    } finally {
      this.#releaseAll();
    }
  }

  /** Runs a plan in which nothing waits: what a loop does in one iteration. */
  runAtOnce(): readonly Value[] {
    try {
      this.#runReady();
      if (this.#waiting > 0) throw waitsInLoop();
      return this.#plan.fetches.map((slot) => this.#fetched(slot));
    } finally {
      this.#releaseAll();
    }
  }

  #releaseAll(): void {
    for (const value of this.#values) value?.release();
  }

  #notTaken(fetched: readonly Value[]): GradsyncError {
    for (const value of fetched) value.release();
    return new GradsyncError('INVALID_ARGUMENT', `Fetch ${fetched.indexOf(DEAD)}`, {
      expected: 'a tensor that has a value in this step',
      received: 'one of a branch that was not taken',
      remedy: 'fetch what comes out of the Merge',
    });
  }

  #runReady(): void {
    const { nodes } = this.#plan;
    for (;;) {
      const index = this.#late.pop() ?? this.#cursor++;
      const node = nodes[index];
      if (node === undefined) {
        this.#cursor = nodes.length;
        return;
      }
      if (this.#missing[index] === 0) this.#execute(node);
    }
  }

  #execute(node: PlanNode): void {
    const { flow } = node;
    if (flow !== undefined && this.#isLeftOut(node, flow)) {
      this.#leaveOut(node, flow);
      return;
    }
    const { enter, spans } = this.#observer;
    enter(node.operation);
    const begin = spans?.now() ?? 0;
    const inputs = node.sources.map((source) => this.#input(source));
    if (node.transfers !== undefined) this.#move(node.transfers, inputs);
    try {
      if (flow?.loop !== undefined) {
        this.#finish(
          node,
          inputs,
          runLoop(flow.loop, inputs, { runtime: this.#runtime, observer: this.#observer }),
        );
        return;
      }
      const result = node.kernel(inputs, this.#runtime);
      spans?.ran(node.operation, begin);
      if (result instanceof Promise) this.#await(node, inputs, result);
      else this.#finish(node, inputs, result);
    } catch (error) {
      throw error instanceof OperationFailure ? error : new OperationFailure(node.operation, error);
    }
  }

  /** A Merge has values only at the inputs that were taken. */
  #move(transfers: readonly Transfer[], inputs: readonly (Value | undefined)[]): void {
    for (const transfer of transfers) {
      const value = inputs[transfer.input];
      if (value !== undefined) this.#observer.moves(transfer, value);
    }
  }

  #isLeftOut({ sources }: PlanNode, { runsWith, controls }: Flow): boolean {
    if (runsWith === 'none') return false;
    if (runsWith === 'any') return sources.every((source) => this.#isEmpty(source));
    return (
      sources.some((source) => this.#isEmpty(source)) ||
      controls.some((control) => this.#leftOut?.has(control))
    );
  }

  #isEmpty(source: Source): boolean {
    return typeof source === 'number' && this.#values[source] === undefined;
  }

  /** A branch that was not taken: gives nothing, and lets others go on. */
  #leaveOut(node: PlanNode, { index }: Flow): void {
    this.#leftOut ??= new Set();
    this.#leftOut.add(index);
    for (const source of node.sources) if (typeof source === 'number') this.#release(source);
    this.#letGoOn(node);
  }

  #await(node: PlanNode, inputs: readonly Value[], result: Promise<readonly Value[]>): void {
    this.#waiting++;
    const { spans } = this.#observer;
    const begin = spans?.now() ?? 0;
    result
      .then((outputs) => {
        spans?.waited(node.operation, begin);
        this.#finish(node, inputs, outputs);
      })
      .catch((error: unknown) => {
        this.#failure ??=
          error instanceof OperationFailure ? error : new OperationFailure(node.operation, error);
      })
      .finally(() => {
        this.#waiting--;
        this.#wake?.();
      });
  }

  #finish(node: PlanNode, inputs: readonly Value[], outputs: readonly Value[]): void {
    node.sources.forEach((source, i) => {
      if (typeof source === 'number') this.#release(source);
      else if (source !== null) inputs[i]!.release();
    });
    node.outputs.forEach((slot, i) => {
      const value = outputs[i];
      if (value === undefined && slot >= 0) throw noOutput(node.operation, i);
      if (slot >= 0) this.#store(slot, value!);
    });
    outputs.forEach((value, i) => {
      if ((node.outputs[i] ?? -1) < 0) value.release();
    });
    this.#letGoOn(node);
  }

  #letGoOn({ successors }: PlanNode): void {
    for (const successor of successors) {
      if (--this.#missing[successor]! === 0 && successor < this.#cursor) this.#late.push(successor);
    }
  }

  #input(source: Source): Value {
    if (source === null) return HANDLE;
    return typeof source === 'number' ? this.#values[source]! : source.read();
  }

  #store(slot: number, value: Value): void {
    if (value === DEAD) return;
    if (this.#uses[slot] === 0) value.release();
    else this.#values[slot] = value;
  }

  #release(slot: number): void {
    if (--this.#uses[slot]! > 0) return;
    this.#values[slot]?.release();
    this.#values[slot] = undefined;
  }

  /** A fetched value; one fetched twice has two owners. */
  #fetched(slot: number): Value {
    return this.#values[slot]?.retain() ?? DEAD;
  }
}

function noOutput(operation: Operation, index: number): GradsyncError {
  return new GradsyncError('NOT_FOUND', `Output ${index} of "${operation.name}" (${operation.type})`, {
    expected: 'an output the operation has',
    received: `output ${index}`,
    remedy: 'check the number after the colon',
    operation: operation.name,
  });
}

function waitsInLoop(): GradsyncError {
  return new GradsyncError('UNIMPLEMENTED', 'Loop', {
    expected: 'operations that do not wait for other tasks',
    received: 'one that waits',
    remedy: 'run this graph on TensorFlow',
  });
}
