/**
 * Typed declarations of everything the native addon exports. Native objects belong to a NativeSession and are reached by key from every
 * worker thread that attached to it; a second request for a key gives the same object, a request that disagrees (dtype, shape, kind)
 * throws INVALID_ARGUMENT. Every call throws an Error with a `code` of ErrorCode. Nothing here blocks: what waits gives a promise, which
 * settles from the addon's own threads.
 */
import type { DType } from '../graph/dtype.js';
import type { NativeDenseRounds, NativeSparseRounds, RoundsSpec } from './native-rounds.js';

/** Elements of a dense value: BigInt64Array for int64, Uint8Array for bool and uint8, Uint16Array for half types. */
export type NumericArray =
  | Float32Array
  | Float64Array
  | Int32Array
  | BigInt64Array
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | BigUint64Array;
/** The array that holds elements of a dtype. */
export type ArrayOf<D extends NativeDType> = D extends 'float32'
  ? Float32Array<ArrayBuffer>
  : D extends 'float64'
    ? Float64Array<ArrayBuffer>
    : D extends 'int32'
      ? Int32Array<ArrayBuffer>
      : D extends 'int64'
        ? BigInt64Array<ArrayBuffer>
        : D extends 'float16' | 'bfloat16' | 'uint16'
          ? Uint16Array<ArrayBuffer>
          : NumericArray;
export type IndexArray = Int32Array | BigInt64Array;
export type NativeDType = Exclude<DType, 'string' | 'resource' | 'variant' | 'complex64' | 'complex128'>;

export type InstructionSet = 'baseline' | 'avx2' | 'avx512';

export interface NativeAddon {
  readonly version: string;
  /** What this build can do; nothing falls back silently. */
  capabilities(): Readonly<{
    cuda: boolean;
    nccl: boolean;
    gloo: boolean;
    /** What sessions use unless they say otherwise: the best, or what GRADSYNC_INSTRUCTION_SET named when the addon was loaded. */
    instructionSet: InstructionSet;
    /** Those this machine has, ascending. */
    instructionSets: readonly InstructionSet[];
    /**
     * Whether arrays may lie on native memory. Where the runtime forbids it (Electron; or GRADSYNC_EXTERNAL_MEMORY=off when the addon was
     * loaded) results are copied, `allocate` gives ordinary arrays, and `applyLeased` copies as `apply` does.
     */
    externalMemory: boolean;
  }>;
  createSession(options: {
    name: string;
    threads?: number;
    /** Of its kernels. All give the same bits; INVALID_ARGUMENT for one that the machine lacks. */
    instructionSet?: InstructionSet;
  }): NativeSession;
  /**
   * Blocks this thread until one of the promises that it waits for is settled, or the deadline (20 ms at most) has passed. `waiting`: how
   * many it waits for; with fewer pending one has been settled already, and it returns at once. For threads that serve nobody meanwhile.
   */
  awaitSettlement(waiting: number, options: WaitOptions): void;
  /**
   * `table[indices[i]] += rows[i]`, one row of `width` elements after the other. `table` is changed in place and overlaps no other argument.
   * INVALID_ARGUMENT for an index that is no row of the table, or other numbers of elements; then nothing is changed.
   */
  addRows(
    dtype: NativeDType,
    width: number,
    table: NumericArray,
    indices: IndexArray,
    rows: NumericArray,
  ): void;
  /** The session of that id, made in any thread of this process; NOT_FOUND once it is closed. */
  attachSession(id: string): NativeSession;
}

export interface NativeSession {
  readonly id: string;
  /** Cancels everything that waits (CANCELLED with `reason`) and refuses further calls (FAILED_PRECONDITION); may be repeated. */
  close(reason: string): void;
  /**
   * An array of zeros, aligned to 64 bytes, on memory of this session that `applyLeased` can lend without a copy and `take` can write into.
   * It lives as long as somebody has the array or a loan of it, also when the session has closed. RESOURCE_EXHAUSTED when there is no more.
   */
  allocate<D extends NativeDType>(dtype: D, shape: readonly number[]): ArrayOf<D>;
  /** Bytes of what `allocate` gave: now, and the most there ever was. */
  readonly memory: { readonly inUse: number; readonly peak: number };
  variable(key: string, spec: { dtype: NativeDType; shape: readonly number[] | null }): NativeVariable;
  denseAccumulator(
    key: string,
    spec: { dtype: NativeDType; shape: readonly number[] | null; reduction: 'mean' | 'sum' },
  ): NativeDenseAccumulator;
  sparseAccumulator(
    key: string,
    spec: {
      dtype: NativeDType;
      shape: readonly number[] | null;
      reduction: 'mean' | 'sum';
      form: 'combined' | 'concatenated' | 'tensorflow';
      /** What the mean divides by. Default contributors; for the form tensorflow touched, as there. concatenated has no touched mean. */
      mean?: 'contributors' | 'touched';
    },
  ): NativeSparseAccumulator;
  /** Rounds with members, of dense gradients; see NativeRounds. */
  denseRounds(
    key: string,
    spec: RoundsSpec & {
      dtype: NativeDType;
      shape: readonly number[] | null;
      reduction: 'mean' | 'sum';
    },
  ): NativeDenseRounds;
  /** The same of sparse gradients. */
  sparseRounds(
    key: string,
    spec: RoundsSpec & {
      dtype: NativeDType;
      shape: readonly number[] | null;
      reduction: 'mean' | 'sum';
      form: 'combined' | 'concatenated' | 'tensorflow';
      mean?: 'contributors' | 'touched';
    },
  ): NativeSparseRounds;
  tokenQueue(
    key: string,
    spec: {
      dtypes: readonly NativeDType[];
      shapes: readonly (readonly number[])[] | null;
      capacity: number;
      name?: string;
    },
  ): NativeTokenQueue;
  /**
   * The end of one rank of the communicator under `key`, whose ranks are threads of this process. Each rank is given once (ALREADY_EXISTS):
   * a rank leaves when its last communicator is collected or its thread ends, and then the communicator is of no more use (UNAVAILABLE).
   */
  communicator(key: string, spec: { size: number; rank: number }): NativeCommunicator;
  /**
   * One training step of many variables as one call: waits until every accumulator has `numRequired` contributions, then takes, averages,
   * clips, and updates all variables with their slots, each element in one pass over memory. All or nothing: when it fails no variable has
   * changed; when it fails while waiting (DEADLINE_EXCEEDED, CANCELLED) the contributions are back in their accumulators, but for those that
   * do not fit beside gradients of another shape that came since. Everything is of this session, and every accumulator and variable is
   * named once.
   */
  fusedStep(updates: readonly NativeUpdate[], options: FusedStepOptions): Pending<FusedStepResult>;
}

/** A variable, its optimizer and where its gradient comes from. The slots are in the order NativeOptimizer says. */
export interface NativeUpdate {
  readonly variable: NativeVariable;
  readonly slots: readonly NativeVariable[];
  readonly optimizer: NativeOptimizer;
  readonly accumulator: NativeDenseAccumulator | NativeSparseAccumulator;
  readonly numRequired: number;
}

export interface FusedStepOptions extends WaitOptions {
  /**
   * Gradients are scaled so that the norm of all aggregates together does not exceed it: tf.clip_by_global_norm, a norm that is not finite
   * included, which makes every gradient NaN. Costs one more read of the gradients; the sum of squares is taken in float64.
   */
  readonly clipNorm?: number;
  /**
   * What happens when a contribution has an infinite element or a NaN: the step rejects with INVALID_ARGUMENT, or updates nothing, or such
   * elements count as 0. Not given: nothing is looked for. Found by the read that clipping needs;
   * without clipping by one that only looks.
   */
  readonly nonFinite?: 'error' | 'skip' | 'zero';
}

export interface FusedStepResult {
  /** false: skipped, as a contribution was not finite. */
  readonly isApplied: boolean;
  /** Before clipping; null without `clipNorm`. */
  readonly globalNorm: number | null;
  /** What the gradients were multiplied by. */
  readonly scale: number;
  /** The first bad element of every contribution that has one; `contributor` is null where only the sum of all is infinite. */
  readonly nonFinite: readonly {
    readonly variable: string;
    readonly contributor: number | null;
    readonly position: number;
  }[];
}

/** Something under way: `cancel`, called as its method, settles the promise with CANCELLED unless it has settled. */
export interface Pending<T> {
  readonly promise: Promise<T>;
  cancel(): void;
}

export interface NativeTensor {
  readonly dtype: NativeDType;
  readonly shape: readonly number[];
  readonly data: NumericArray;
}

/** A number or, for int64 steps, a bigint. */
export type Step = number | bigint;

export interface WaitOptions {
  /** Milliseconds until DEADLINE_EXCEEDED; Infinity waits until it is settled, cancelled or the session closes. */
  readonly deadlineMs: number;
}

export interface NativeVariable {
  /** Grows by one with every change; 0 until initialized. */
  readonly version: number;
  readonly isInitialized: boolean;
  /** Shape of the current version; null until initialized. */
  readonly shape: readonly number[] | null;
  assign(value: NumericArray, shape: readonly number[]): void;
  assignAdd(value: NumericArray): void;
  assignSub(value: NumericArray): void;
  /** Copies the current version into `out` unless it is `known`; returns the version that `out` now holds. One version, never torn. */
  copyTo(out: NumericArray, known: number): number;
  /** A copy of the current version. */
  read(): NativeTensor;
  /** Rows of the current version along dimension 0 into `out` ([indices.length, ...]); returns the version read. */
  gather(indices: IndexArray, out: NumericArray): number;
  scatterAdd(indices: IndexArray, rows: NumericArray): void;
  scatterSub(indices: IndexArray, rows: NumericArray): void;
  scatterUpdate(indices: IndexArray, rows: NumericArray): void;

  /**
   * One step of an optimizer, in one pass over memory: this variable, its slots (in the order of TensorFlow's inputs) and the gradient, which
   * has this variable's dtype and number of elements. Formulas and order of operations are those of TensorFlow's ResourceApply* kernels, to
   * the last bit but for reciprocal roots and powers; denormals count as zero, as there. float32, float64, float16 and bfloat16, the last two
   * rounded after every operation, as there. On an error nothing changes.
   */
  applyDense(optimizer: NativeOptimizer, slots: readonly NativeVariable[], gradient: NumericArray): void;
  /**
   * The same for the rows along dimension 0 that `indices` names, by TensorFlow's ResourceSparseApply* kernels; those it has none of
   * (gradientDescent, adam, adamW, adamWithAmsgrad, adaMax) are the dense step on these rows alone, so other rows' moments do not decay. Repeated
   * rows are applied one after another, in order.
   */
  applySparse(
    optimizer: NativeOptimizer,
    slots: readonly NativeVariable[],
    gradient: NumericArray,
    indices: IndexArray,
  ): void;
}

interface AdamHyper {
  readonly beta1Power: number;
  readonly beta2Power: number;
  readonly lr: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
}
interface MomentumHyper {
  readonly lr: number;
  readonly momentum: number;
  readonly useNesterov: boolean;
}
interface RmsPropHyper {
  readonly lr: number;
  readonly rho: number;
  readonly momentum: number;
  readonly epsilon: number;
}

/** An optimizer with its hyperparameters, named as TensorFlow's inputs and attributes are. Behind each, its slots in order. */
export type NativeOptimizer =
  /** None. */
  | { readonly kind: 'gradientDescent'; readonly alpha: number }
  /** accum. */
  | ({ readonly kind: 'momentum' | 'kerasMomentum' } & MomentumHyper)
  /** m, v. */
  | ({ readonly kind: 'adam'; readonly useNesterov: boolean } & AdamHyper)
  /** m, v. Before Adam's step the variable loses variable * weightDecay * lr. */
  | ({ readonly kind: 'adamW'; readonly weightDecay: number } & AdamHyper)
  /** m, v, vhat. */
  | ({ readonly kind: 'adamWithAmsgrad' } & AdamHyper)
  /** m, v. */
  | ({ readonly kind: 'adaMax' } & Omit<AdamHyper, 'beta2Power'>)
  /** accum. */
  | { readonly kind: 'adagrad'; readonly lr: number; readonly updateSlots: boolean }
  /** accum. */
  | {
      readonly kind: 'adagradV2';
      readonly lr: number;
      readonly epsilon: number;
      readonly updateSlots: boolean;
    }
  /** accum, accum_update. */
  | { readonly kind: 'adadelta'; readonly lr: number; readonly rho: number; readonly epsilon: number }
  /** ms, mom. */
  | ({ readonly kind: 'rmsProp' } & RmsPropHyper)
  /** mg, ms, mom. */
  | ({ readonly kind: 'centeredRmsProp' } & RmsPropHyper)
  /** accum, linear. An l2Shrinkage other than 0 is V2's. */
  | {
      readonly kind: 'ftrl';
      readonly lr: number;
      readonly l1: number;
      readonly l2: number;
      readonly l2Shrinkage: number;
      readonly lrPower: number;
      readonly multiplyLinearByLr: boolean;
    };

/**
 * Answer of apply. A stale contribution (local step before the accumulator's, or after its quorum round) is dropped. One that came late and
 * counts all the same, as it is (`accepted`) or multiplied by `factor` (`scaled`), tells the step of the round it entered.
 */
export type Receipt =
  | { readonly status: 'accepted'; readonly localStep?: bigint; readonly globalStep?: bigint }
  | {
      readonly status: 'scaled';
      readonly factor: number;
      readonly localStep: bigint;
      readonly globalStep: bigint;
    }
  | { readonly status: 'stale'; readonly localStep: bigint; readonly globalStep: bigint };

interface NativeAccumulator<Taken, Options = WaitOptions> {
  /** Takes the reduction of all contributions accepted since the last take, once there are `numRequired`. Strict FIFO. */
  take(numRequired: number, options: Options): Pending<Taken>;
  readonly numAccumulated: number;
  setGlobalStep(step: Step): void;
}

export interface TakeOptions extends WaitOptions {
  /**
   * Where the result goes, of as many elements; `data` of what is taken is this very array. Memory of `allocate` is written to directly and
   * is lent to the take until it settles; any other gets a copy then. A round of another size stays in the accumulator (INVALID_ARGUMENT),
   * but where gradients of another shape came meanwhile, beside which it does not fit.
   */
  readonly into?: NumericArray;
}

export interface NativeDenseAccumulator extends NativeAccumulator<NativeTensor, TakeOptions> {
  /** Copies the gradient. `contributor` orders the reduction: the same contributions give the same bits in any order of arrival. */
  apply(localStep: Step, contributor: number, gradient: NumericArray, shape: readonly number[]): Receipt;
  /**
   * The same without a copy, for memory of `allocate`: it is lent until the round has been taken or the contribution refused, and then free
   * again. What is lent must be left alone: a call that would write to it, or lend it again, is FAILED_PRECONDITION naming both sides. A
   * program's own writes cannot be refused; they change what is summed, and nothing else. Detaching or transferring the array does no harm.
   */
  applyLeased(
    localStep: Step,
    contributor: number,
    gradient: NumericArray,
    shape: readonly number[],
  ): Receipt;
}

export interface SparseSlices {
  readonly indices: BigInt64Array;
  readonly values: NativeTensor;
  /** Dense shape: dimension 0 is -1 where it is not known. */
  readonly shape: BigInt64Array;
}

export interface NativeSparseAccumulator extends NativeAccumulator<SparseSlices> {
  /** `denseShape` is checked where given. `valuesShape` is [indices.length, ...]. */
  apply(
    localStep: Step,
    contributor: number,
    indices: IndexArray,
    values: NumericArray,
    valuesShape: readonly number[],
    denseShape: readonly number[] | null,
  ): Receipt;
  /** The same with the values lent, as NativeDenseAccumulator.applyLeased does; indices are copied. */
  applyLeased: NativeSparseAccumulator['apply'];
}

/** A bounded first-in first-out queue of tuples of tensors, with TensorFlow's FIFOQueue semantics. */
export interface NativeTokenQueue {
  enqueue(element: readonly NativeTensor[], options: WaitOptions): Pending<void>;
  /** Components are batches along dimension 0; elements enter as there is room, none of others between them. */
  enqueueMany(batch: readonly NativeTensor[], options: WaitOptions): Pending<void>;
  dequeue(options: WaitOptions): Pending<readonly NativeTensor[]>;
  /** A batch of `count` elements; needs shapes. One that ends early (closed: OUT_OF_RANGE) leaves the queue as it was. */
  dequeueMany(count: number, options: WaitOptions): Pending<readonly NativeTensor[]>;
  readonly size: number;
  readonly isClosed: boolean;
  /** Waits for the enqueues before it, or cancels them. CANCELLED when the queue is closed already, unless it cancels. */
  close(cancelPendingEnqueues: boolean, options: WaitOptions): Pending<void>;
}

/** In rank order. A mean of integers is truncated; half types are reduced in float; the minimum or maximum of anything and a NaN is a NaN. */
export type CollectiveReduction = 'sum' | 'mean' | 'min' | 'max' | 'product';
export type SparseAlgorithm = 'rows' | 'row ranges' | 'dense';

export interface CollectiveOptions extends WaitOptions {
  /** The n-th call under a key is matched with the n-th call under that key of every other rank. */
  readonly key: string;
  /** Which call this is meant to be, e.g. the step: ranks that disagree get INVALID_ARGUMENT. */
  readonly sequence?: Step;
}

/** Rows of several ranks, one behind the other; `counts[r]` of them came from rank r. */
export interface GatheredRows {
  readonly values: NativeTensor;
  readonly counts: readonly number[];
}

export interface ReducedRows {
  /** Ascending, each once. */
  readonly indices: BigInt64Array;
  readonly values: NativeTensor;
  readonly report: {
    readonly algorithm: SparseAlgorithm;
    /** The counts the algorithm was chosen on, and what each was estimated to take. */
    readonly reason: string;
    /** By all ranks, with repeats. */
    readonly rowsGiven: number;
    /** What entered the exchange: the sum over the ranks of their distinct rows. */
    readonly rowsMoved: number;
    readonly rowsResult: number;
    readonly bytesMoved: number;
  };
}

/**
 * One rank's end of a group that computes together. Every call ends on all ranks: with its results, or for all with a failure that names
 * the ranks concerned. INVALID_ARGUMENT: two ranks ask for different things. DEADLINE_EXCEEDED: ranks were missing. CANCELLED for the rank
 * that cancels, ABORTED for the others. UNAVAILABLE: a rank has left. Tensors on a SharedArrayBuffer are read, and written, in place by the
 * threads that do the work, so leave them alone until the promise settles; of all others a copy is made, and written back at the end.
 */
export interface NativeCommunicator {
  readonly rank: number;
  readonly size: number;
  /** In place: the data becomes the reduction of that of all ranks, element by element. */
  allReduce(
    tensor: NativeTensor,
    options: CollectiveOptions & { readonly reduction: CollectiveReduction },
  ): Pending<void>;
  /** Rows of all ranks; their number (dimension 0) may differ, also be 0. */
  allGather(tensor: NativeTensor, options: CollectiveOptions): Pending<GatheredRows>;
  /** This rank's rows of the reduction: as equal a share as can be, the first ranks get one more. */
  reduceScatter(
    tensor: NativeTensor,
    options: CollectiveOptions & { readonly reduction: CollectiveReduction },
  ): Pending<NativeTensor>;
  /** In place: the data becomes that of rank `root`. Any dtype. */
  broadcast(tensor: NativeTensor, options: CollectiveOptions & { readonly root: number }): Pending<void>;
  barrier(options: CollectiveOptions): Pending<void>;
  /** `splits[r]` rows go to rank r; without it equally many. */
  allToAll(
    tensor: NativeTensor,
    options: CollectiveOptions & { readonly splits?: readonly number[] },
  ): Pending<GatheredRows>;
  /** Rows of a table of `tableRows`, summed by index over all ranks; any order and repeats. Without `algorithm` the fastest is chosen. */
  sparseAllReduce(
    indices: IndexArray,
    rows: NativeTensor,
    options: CollectiveOptions & {
      readonly reduction: 'sum' | 'mean';
      readonly tableRows: number;
      readonly algorithm?: SparseAlgorithm;
    },
  ): Pending<ReducedRows>;
  /** The communicator of some ranks, this one among them; `ranks[i]` becomes rank i. Each of them asks for it with the same list. */
  subgroup(ranks: readonly number[]): NativeCommunicator;
  /** Ends this rank's part in the group and all groups made of it; everything that waits for it fails with UNAVAILABLE. */
  leave(reason: string): void;
}
