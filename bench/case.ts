/** What a benchmark case is, and the ways to time one fairly. */

/** One row of the table; one object per line with --json. Times are medians in milliseconds. */
export interface BenchRow {
  readonly case: string;
  readonly size: string;
  readonly rival: string;
  readonly oursMs: number;
  /** Null where the rival is not installed; `note` says so. */
  readonly rivalMs: number | null;
  /** rival / ours: above 1 we are faster. */
  readonly ratio: number | null;
  /** limit / ours: 1 is the physical limit. */
  readonly limitRatio: number | null;
  /** 99th percentile of ours, where there are samples enough. */
  readonly oursP99Ms?: number;
  /** What the limit is, and anything else a reader must know. */
  readonly note?: string;
}

export interface BenchOptions {
  /** Fewer rounds: for a smoke test, not for quoting. */
  readonly quick: boolean;
}

export interface BenchCase {
  readonly name: string;
  /** Each size runs in a fresh process. */
  readonly sizes: readonly string[];
  /** Verifies the result, then times it. */
  run(size: string, options: BenchOptions): Promise<BenchRow>;
}

export interface Samples {
  readonly median: number;
  readonly p99: number;
}

export function median(times: readonly number[]): number {
  return summarize(times).median;
}

export function summarize(times: readonly number[]): Samples {
  const sorted = [...times].sort((a, b) => a - b);
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN;
  return { median: at(0.5), p99: at(0.99) };
}

export type Contestant = () => unknown;

/** Runs all contestants in turn, round after round, so that what slows the machine slows them all. Milliseconds per call. */
export async function timeInTurn<Name extends string>(
  contestants: Readonly<Record<Name, Contestant>>,
  { rounds, warmUp }: { rounds: number; warmUp: number },
): Promise<Record<Name, Samples>> {
  const names = Object.keys(contestants) as Name[];
  const times = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<Name, number[]>;
  for (let round = 0; round < warmUp + rounds; round++) {
    for (const name of names) {
      const begin = performance.now();
      await contestants[name]();
      if (round >= warmUp) times[name].push(performance.now() - begin);
    }
  }
  return Object.fromEntries(names.map((name) => [name, summarize(times[name])])) as Record<Name, Samples>;
}

/** The row of a case from the medians of ours, the rival's and the limit's. */
export function toRow(
  head: { case: string; size: string; rival: string; note?: string },
  ours: Samples,
  rivalMs: number | null,
  limitMs: number | null,
): BenchRow {
  return {
    ...head,
    oursMs: ours.median,
    rivalMs,
    ratio: rivalMs === null ? null : rivalMs / ours.median,
    limitRatio: limitMs === null ? null : limitMs / ours.median,
    oursP99Ms: ours.p99,
  };
}
