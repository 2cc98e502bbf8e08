/**
 * Plan: what plan.json holds. With it and graph.pb a stranger runs the rewritten graph on TensorFlow without gradsync.
 * All names are those of the rewritten graph; tensors are `operation:index`.
 */
import type { DType } from '../graph/dtype.js';

export interface FeedPlan {
  readonly tensors: readonly string[];
  /** The axis along which the value is split over `tensors`; null feeds the whole value to each. */
  readonly split: number | null;
  /** Present where all tasks must be fed the same value in a step. */
  readonly alike?: true;
}

export type FetchPlan =
  | { readonly tensors: readonly string[]; readonly combine: 'first' | 'concat' | 'mean' }
  | { readonly operations: readonly string[] };

/** From when on the rows of a sparse gradient are summed over the tasks as a dense gradient. */
export interface DenseFrom {
  /** The rows of one task in a step, each counted once; 0: always. */
  readonly rows: number;
  /** What every task then sends of the gradient, in place of bytes per row. */
  readonly bytes: number;
}

export interface VariablePlanReport {
  readonly gradient: 'dense' | 'sparse';
  /** Null for a dense gradient. */
  readonly sparseForm: 'combined' | 'concatenated' | null;
  /** Why this form. */
  readonly sparseFormReason?: string;
  /** Present where every task sums its own repeated rows before it sends them: each row is sent once. */
  readonly distinctRows?: true;
  /** Of gathered rows: when they are fewer bytes as a dense gradient, and so sent as one. One, or one for each shard; null or left out is never. */
  readonly denseFrom?: readonly (DenseFrom | null)[];
  readonly synchronizer: 'parameter-server' | 'collective';
  /** Of a collective: what is done to the gradient on the way, and the number of the variables that travel with it. */
  readonly compressor?: string;
  /** Of top-k: how many elements of the gradient are sent. */
  readonly k?: number;
  readonly group?: number;
  /** Present where every task updates the variable by itself. */
  readonly sync?: false;
  /** Rounds that may be missing in what a step reads, where there may be any. */
  readonly staleness?: number;
  /** Present where tasks other than its server's read a copy of their own. */
  readonly proxy?: true;
  /** How much each replica counts in the mean, where not all count the same. */
  readonly weights?: string;
  /** One; of a variable that is split, one for each shard. */
  readonly devices: readonly string[];
  readonly shards: number;
  readonly bytes: number;
}

export interface PartitionReport {
  readonly axis: number;
  /** The variables it has become, in order. */
  readonly shards: readonly string[];
}

/** Of an update group whose rounds are run in the background. */
export interface BackgroundRounds {
  /** Variable on the chief: the rounds that are applied. */
  readonly applied: string;
  /** Variable of this task: the steps it has contributed. */
  readonly steps: string;
  /** Tensor: the rounds that were missing in the variables when a step read them. To be fetched together with one of `trains`. */
  readonly lag: string;
  /** The fetches with which a step contributes. */
  readonly trains: readonly string[];
  /** Operations that the updates take and rounds compute anew: what a step that contributes feeds in their place would not reach these. */
  readonly anew: readonly string[];
}

/** What the compressors of a task keep back of gradients. */
export interface ResidualPlan {
  /** By the variable whose gradients they are: the task's variable that holds it, which begins as zeros. */
  readonly variables: Readonly<Record<string, string>>;
  /** A string tensor, fed with the prefix of a checkpoint; the task's files begin with that and `.residuals-<task>`. */
  readonly filename: string;
  /** Operations that write and read them, between two steps of the task. */
  readonly save: string;
  readonly restore: string;
}

/** How a task takes part in rounds for which it has no data while others have. */
export interface WithoutData {
  /** Placeholders, int32 scalars, that every step that trains is fed: how many tasks have data for it, how many replicas these have. */
  readonly counts: { readonly tasks: string | null; readonly replicas: string | null };
  /** Fed in place of what the task would give: zeros of this type and shape. */
  readonly nothing: readonly {
    readonly tensor: string;
    readonly dtype: DType;
    readonly shape: readonly number[];
  }[];
  /** Operations that are not run, nor is what takes their values. */
  readonly leftOut: readonly string[];
  /** Operations whose feeds it is given as a task that has data is: updates take them. Nothing runs that takes another one's feed. */
  readonly settings: readonly string[];
}

/**
 * How tasks on TensorFlow find out before each of their steps who has data for it: every task fetches `tasks` and `replicas`, fed `hasData`.
 * A task may ask for steps ahead, one after the other; the answer comes when all have asked for that step.
 */
export interface RollCall {
  /** `stop`: training ends before the first step for which not all tasks have data; `join`: before the first for which none has. */
  readonly uneven: 'stop' | 'join';
  /** A bool scalar: whether this task has data for the step. */
  readonly hasData: string;
  /** int32 scalars: how many tasks have data for it, and how many replicas these have. Null where no step needs to know. */
  readonly tasks: string;
  readonly replicas: string | null;
  /**
   * A GraphDef in a file of this name beside graph.pb: what a task runs in a step for which it has no data, in place of graph.pb and in a session
   * of its own on the same server, those of its fetches that are operations of it. Left out where such a task has nothing to do: under
   * `join` it is then done.
   */
  readonly withoutData?: string;
}

export interface Plan {
  readonly format: 1;
  /** SHA-256, hexadecimal, over input graph, resolved strategy, cluster and format version. */
  readonly digest: string;
  readonly cluster: { readonly worker: readonly string[] };
  readonly task: number;
  readonly chief: 0;
  readonly replicas: readonly string[];
  /** Protobuf JSON of ConfigProto (server, session) and RunOptions. */
  readonly serverConfig: object;
  readonly sessionConfig: object;
  readonly runOptions: object;
  /** Containers the chief resets before its initializers run. */
  readonly containers: readonly string[];
  /** Name of a bool tensor on the chief's device: true once the chief's initializers have run. */
  readonly ready: string;
  readonly initializers: readonly string[];
  readonly feeds: Readonly<Record<string, FeedPlan>>;
  readonly fetches: Readonly<Record<string, FetchPlan>>;
  readonly notFetchable: Readonly<Record<string, string>>;
  /** Run by this task in a loop, each on a thread of its own and without a deadline, until CANCELLED or OUT_OF_RANGE. */
  readonly background: readonly string[];
  /** Run by every task when it is done: ends what is run in the background. */
  readonly close: readonly string[];
  /** What is run in the background counts, by update group; left out where nothing is. */
  readonly rounds?: readonly BackgroundRounds[];
  /** Present where tasks may run out of data while others go on. */
  readonly withoutData?: WithoutData;
  /** Present where tasks on TensorFlow may run out of data at different steps. */
  readonly rollCall?: RollCall;
  /** The program's checkpoint. */
  readonly saver: { readonly filename: string; readonly save: string; readonly restore: string } | null;
  /** Left out where nothing is kept back. */
  readonly residuals?: ResidualPlan;
  readonly variables: Readonly<Record<string, VariablePlanReport>>;
  readonly placement: Readonly<Record<string, { readonly device: string; readonly why: string }>>;
  /** Variables of the program that the graph has as shards, optimizer state among them: put together along the axis they are the variable. */
  readonly partitions?: Readonly<Record<string, PartitionReport>>;
}
