/**
 * Executor: what a session needs of whatever runs a rewritten graph. All names here are those of the rewritten graph; a session maps the
 * user's names to them. One implementation: the embedded runtime.
 */
import type { NumericArray } from '../addon/native.js';
import type { DType } from '../graph/dtype.js';
import type { Shape } from '../graph/shape.js';

/**
 * A dense value in host memory, row-major: BigInt64Array for int64, Uint8Array for bool and uint8, Uint16Array for half types, an array
 * of bytes for strings.
 */
export interface TensorData {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: NumericArray | readonly Uint8Array[];
}

/** What a fed tensor admits; null where the graph does not say. */
export interface FeedSpec {
  readonly tensor: string;
  readonly dtype: DType | null;
  readonly shape: Shape;
}

/** A set of feeds and fetches, compiled by a task. */
export interface PreparedProgram {
  readonly id: number;
  readonly feeds: readonly FeedSpec[];
  /** Variables that need a value before it runs; those of strings are not among them. */
  readonly reads: readonly VariableInfo[];
  /** What it gives to accumulators and queues, and takes from them. */
  readonly meetings: readonly Meeting[];
  /** Whether it changes a variable, or gives or takes anything. */
  readonly changesState: boolean;
  /** Placeholders (`name:0`) that it takes the default of, as they are not fed. */
  readonly defaults: readonly string[];
}

/** An accumulator or queue that a program uses, and how often. Tasks that share it give the same key. */
export interface Meeting {
  readonly key: string;
  readonly kind: 'accumulator' | 'queue' | 'collective';
  readonly gives: number;
  readonly takes: number;
}

export interface ProgramRequest {
  readonly feeds: readonly string[];
  /** Tensors (`name:0`) whose values come back, in this order. */
  readonly tensors: readonly string[];
  /** Operations that are run. */
  readonly operations: readonly string[];
  /** Those of both that may only be had where the rest of the request takes part in the exchange they belong to. */
  readonly guarded: readonly string[];
  /** Operations that are not run, nor is what takes their values unless these are fed; whatever waits for one goes on. None if left out. */
  readonly without?: readonly string[];
  /** Present for what runs before training: it changes variables and is no step all the same. */
  readonly initializes?: true;
}

/** A variable as one task's graph knows it. Tasks that share it give the same key. */
export interface VariableInfo {
  readonly name: string;
  readonly key: string;
  /** The task that holds it. */
  readonly task: number;
  readonly dtype: DType;
  readonly shape: Shape;
}

/** What training needs to go on in the same way, beside variables. */
export interface TaskProgress {
  /** Training steps begun: runs that change variables, without those of initializers. */
  readonly steps: number;
  /** State of the random number generators, by the operation that draws. */
  readonly generators: Readonly<Record<string, readonly number[]>>;
}

/** What a task has sent to others and received from them so far. */
export interface TrafficRecord {
  /** Its training steps that have ended. */
  readonly steps: number;
  /** Bytes, in the steps of all tasks. */
  readonly sent: number;
  readonly received: number;
}

export interface Executor {
  readonly taskCount: number;
  /** Milliseconds that one operation may wait for other tasks. */
  readonly deadlineMs: number;
  /** Aborted when nothing runs any more, with the error that ended it as the reason. */
  readonly over: AbortSignal;
  /** Variables of each task's graph, in graph order. */
  readonly variables: readonly (readonly VariableInfo[])[];
  /** Per task, the keys of the accumulators and queues that its graph shares with that of another task. */
  readonly meetings: readonly ReadonlySet<string>[];
  /** Compiles; a bad name, an unfed placeholder or an unsupported operation rejects and does not end the session. */
  prepare(task: number, request: ProgramRequest): Promise<PreparedProgram>;
  /** Rejects, and does not end the session, where feeds of these shapes do not fit together, as far as shapes tell. */
  checkShapes(task: number, program: number, shapes: readonly (readonly number[])[]): Promise<void>;
  /**
   * Runs a compiled program once and takes the fed arrays over (those in shared memory are read where they are). Runs of one task follow
   * each other in the order of the calls. Failure ends the session.
   */
  run(task: number, program: number, feeds: readonly TensorData[]): Promise<readonly TensorData[]>;
  /** What has gone between a task and the others in training steps and rounds in the background. */
  traffic(task: number): TrafficRecord;
  /** What a round in the background gives to accumulators and queues, and takes from them. */
  readonly backgroundMeetings: readonly Meeting[];
  /** Begins what tasks run in the background; it goes on until the executor is closed. May be repeated. */
  startBackground(): void;
  /** Resolves when the next round in the background has ended; rejects when nothing runs any more. */
  nextRound(): Promise<void>;
  /** Whether a variable that is not of strings has a value. */
  hasValue(variable: VariableInfo): boolean;
  /** The current value; undefined while uninitialized, and for strings. */
  readVariable(variable: VariableInfo): TensorData | undefined;
  writeVariable(variable: VariableInfo, value: TensorData): void;
  /** What each task has beside variables. No run may be under way. */
  progress(): Promise<readonly TaskProgress[]>;
  setProgress(progress: readonly TaskProgress[]): Promise<void>;
  /** Ends all threads and native waits; may be repeated. */
  close(): Promise<void>;
}
