/**
 * Contestants that run in processes of their own, native programs and Python rivals, and rounds of several in turn. Both kinds speak the
 * protocol of bench/native/contest.h; how to write a case with them is said in bench/README.md.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { type BenchOptions, type BenchRow, median, summarize } from './case.js';

/** Milliseconds of one round of a contestant, the mean of `count`. */
export type Contestant = (count: number) => number | Promise<number>;

interface Ready {
  readonly contestants: readonly string[];
  readonly note: string;
}

/** What a process writes, line by line; its errors are shown only when it ends too early. */
class Lines {
  readonly #lines: AsyncIterator<string>;
  #errors = '';

  constructor(
    child: ChildProcessWithoutNullStreams,
    readonly program: string,
  ) {
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    child.on('error', (error) => {
      this.#errors += error.message;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#errors = (this.#errors + text).slice(-8000);
    });
  }

  async next(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`${this.program} ended: ${this.#errors}`);
    return value;
  }
}

/** A program that has set up and verified its contestants and waits to run them. */
export class ContestProcess {
  readonly note: string;
  readonly contestants: Readonly<Record<string, Contestant>>;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: Lines;

  private constructor(child: ChildProcessWithoutNullStreams, lines: Lines, ready: Ready) {
    this.#child = child;
    this.#lines = lines;
    this.note = ready.note;
    this.contestants = Object.fromEntries(
      ready.contestants.map((name) => [name, (count: number) => this.#run(name, count)]),
    );
  }

  /** Starts `command ...args --name=value ...`; rejects when it ends before it is ready. */
  static async open(
    command: readonly [string, ...string[]],
    options: Readonly<Record<string, string | number>>,
  ): Promise<ContestProcess> {
    const values = Object.entries(options).map(([name, value]) => `--${name}=${value}`);
    const [program, ...args] = command;
    const child = spawn(program, [...args, ...values]);
    const lines = new Lines(child, program);
    return new ContestProcess(child, lines, JSON.parse(await lines.next()) as Ready);
  }

  async #run(name: string, count: number): Promise<number> {
    this.#child.stdin.write(`run ${name} ${count}\n`);
    return (JSON.parse(await this.#lines.next()) as { ms: number }).ms;
  }

  async close(): Promise<void> {
    const ended = this.#child.exitCode === null ? once(this.#child, 'exit') : undefined;
    this.#child.stdin.end();
    await ended;
  }
}

export interface Field {
  readonly ours: Contestant;
  readonly rival: Contestant | null;
  /** The fastest of them in each round is the limit. */
  readonly limits: readonly Contestant[];
}

/** How long one contestant runs in one round, and how many rounds there are. */
const ROUND_MS = { full: 40, quick: 5 };
const ROUNDS = { full: 41, quick: 3 };

/**
 * A row: rounds of ours, rival and limit in turn, so that what slows the machine slows them all; each ratio is the median of the ratios of
 * the rounds.
 */
export async function contest(
  head: { case: string; size: string; rival: string; note?: string },
  { ours, rival, limits }: Field,
  { quick }: BenchOptions,
): Promise<BenchRow> {
  const timed = [ours, ...(rival === null ? [] : [rival]), ...limits];
  const counts: number[] = [];
  for (const contestant of timed) counts.push(await repetitions(contestant, quick));
  const times = timed.map(() => [] as number[]);
  for (let round = 0; round < (quick ? ROUNDS.quick : ROUNDS.full); round++) {
    for (const [i, contestant] of timed.entries()) times[i]!.push(await contestant(counts[i]!));
  }
  return toRow(head, times, rival !== null);
}

/** How often a contestant is run in one round to fill it. */
async function repetitions(contestant: Contestant, quick: boolean): Promise<number> {
  await contestant(1);
  const wanted = quick ? ROUND_MS.quick : ROUND_MS.full;
  return Math.max(1, Math.min(10_000, Math.round(wanted / (await contestant(1)))));
}

function toRow(
  head: { case: string; size: string; rival: string; note?: string },
  [ours, ...others]: readonly number[][],
  hasRival: boolean,
): BenchRow {
  const rivals = hasRival ? others[0]! : null;
  const limits = hasRival ? others.slice(1) : others;
  const best = ours!.map((_, round) => Math.min(...limits.map((times) => times[round]!)));
  const ratioTo = (times: readonly number[]) => median(times.map((time, round) => time / ours![round]!));
  const samples = summarize(ours!);
  return {
    ...head,
    oursMs: samples.median,
    rivalMs: rivals === null ? null : median(rivals),
    ratio: rivals === null ? null : ratioTo(rivals),
    limitRatio: limits.length === 0 ? null : ratioTo(best),
    oursP99Ms: samples.p99,
  };
}
