/**
 * Typed declarations of rounds with members: bounded staleness and quorum. Round t holds the members' gradients of step t and leaves once,
 * in order. A worker's step: `begin` (waits; then it reads the variables), compute, `apply` with the ticket's step; `leave` when its data
 * has ended. The chief's: `take` (waits), update the variables, `applied`; OUT_OF_RANGE says that every member has left.
 *
 * ```ts
 * const rounds = session.denseRounds('W/grad', {
 *   dtype: 'float32', shape: [2], reduction: 'mean',
 *   members: [0, 1], rule: { kind: 'bounded-staleness', staleness: 1 },
 * });
 * const { step, lag } = await rounds.begin(0, { deadlineMs: 1000 }).promise;
 * rounds.apply(step, 0, new Float32Array([1, 2]), [2]);
 * ```
 */
import type {
  IndexArray,
  NativeTensor,
  NumericArray,
  Pending,
  Receipt,
  SparseSlices,
  Step,
  WaitOptions,
} from './native.js';

export interface RoundsSpec {
  /** Contributors that take part from round 0 on; at least one, each once. */
  readonly members: readonly number[];
  readonly rule: BoundedStalenessRule | QuorumRule;
}

/** Member m begins step t when round t - 1 - staleness is applied; a round needs all members. 0 is synchronous. */
export interface BoundedStalenessRule {
  readonly kind: 'bounded-staleness';
  readonly staleness: number;
}

/** A round waits for all members; after its deadline it leaves as soon as it has `quorum` contributions. */
export interface QuorumRule {
  readonly kind: 'quorum';
  /** At most the number of first members. Members that leave lower it to those who remain, dead ones do not. */
  readonly quorum: number;
  /**
   * From the moment the round's first member began: milliseconds (0: as soon as there is a quorum; Infinity: until all are there), or
   * adaptive: multiplier * median of the last `window` times from begin to apply, within [minMs, maxMs]; maxMs until there is one.
   */
  readonly wait:
    | number
    | {
        readonly multiplier: number;
        readonly minMs: number;
        readonly maxMs: number;
        readonly window: number;
      };
  /**
   * What becomes of a contribution that comes L rounds after its own: dropped; accepted into the current round; or that, multiplied by
   * 1 / (1 + L) or by decay ** L. It never counts for the quorum; the mean divides by all contributions.
   */
  readonly late:
    | 'drop'
    | 'accept'
    | { readonly scale: 'inverse' }
    | { readonly scale: 'exponential'; readonly decay: number };
}

/** What a member that may begin is told: rounds 0 ... applied - 1 are in the variables, lag = step - applied are missing. */
export interface Ticket {
  readonly step: number;
  readonly applied: number;
  readonly lag: number;
}

export interface Contribution {
  readonly contributor: number;
  /** The contributor's step: the round's, or an earlier one if it came late. */
  readonly step: number;
  /** Rounds before this one that were missing in the variables it was computed from. */
  readonly lag: number;
  readonly factor: number;
}

export interface TakenRound<Taken> {
  readonly step: number;
  /** In the order of reduction: by contributor. */
  readonly contributions: readonly Contribution[];
  readonly result: Taken;
}

/** The lags of all reads (tickets) of one contributor; `counts[lag]` of them had that lag. */
export interface LagRecord {
  readonly reads: number;
  readonly max: number;
  readonly counts: Readonly<Record<number, number>>;
}

interface NativeRounds<Taken> {
  /**
   * Waits until the contributor may begin its next step. FAILED_PRECONDITION for one that is no member or owes a contribution; UNAVAILABLE
   * while the quorum is lost.
   */
  begin(contributor: number, options: WaitOptions): Pending<Ticket>;
  /** The next round, when it is complete and the one before is applied. OUT_OF_RANGE at the end, UNAVAILABLE when members died. */
  take(options: WaitOptions): Pending<TakenRound<Taken>>;
  /** Says that the variables now have the round taken last. */
  applied(step: Step): void;
  /** Gives the first round of the new member: `from`, or the first that is not complete. ALREADY_EXISTS for a member. */
  join(contributor: number, from?: Step): number;
  /** Its data has ended: rounds do not wait for it any more; what it contributed stays. Also said of a dead one that is given up. */
  leave(contributor: number): void;
  /** The same for one that cannot say so; may be repeated, also of one that left. */
  die(contributor: number): void;
  lags(contributor: number): LagRecord;
  readonly numApplied: number;
}

export interface NativeDenseRounds extends NativeRounds<NativeTensor> {
  /** Copies the gradient. Needs a begun step; ALREADY_EXISTS for a second time. */
  apply(step: Step, contributor: number, gradient: NumericArray, shape: readonly number[]): Receipt;
  /** As NativeDenseAccumulator.applyLeased. */
  applyLeased: NativeDenseRounds['apply'];
}

export interface NativeSparseRounds extends NativeRounds<SparseSlices> {
  /** As NativeDenseRounds.apply; arguments as those of NativeSparseAccumulator.apply. */
  apply(
    step: Step,
    contributor: number,
    indices: IndexArray,
    values: NumericArray,
    valuesShape: readonly number[],
    denseShape: readonly number[] | null,
  ): Receipt;
  /** As NativeSparseAccumulator.applyLeased. */
  applyLeased: NativeSparseRounds['apply'];
}
