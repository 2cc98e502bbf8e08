/**
 * Rounds: what the tasks of a training step must have in common: all of them take part, and each with the same share of the batch, as the
 * mean over tasks counts every task the same. Found out before anything of the step begins.
 */
import { GradsyncError } from '../errors.js';
import type { Meeting, PreparedProgram } from './executor.js';

export const UNEVEN_BATCHES = ['refuse', 'allow'] as const;
/** What becomes of a training step in which tasks, or the replicas of one, get unequal shares of the batch. */
export type UnevenBatches = (typeof UNEVEN_BATCHES)[number];

/** A batch that is fed to a task: how many rows it has, along which axis, and to how many replicas they go. */
export interface Share {
  readonly feed: string;
  readonly axis: number;
  readonly rows: number;
  readonly replicas: number;
}

/** What one task is to do in a step. */
export interface Part {
  readonly task: number;
  readonly program: Pick<PreparedProgram, 'id' | 'meetings' | 'changesState'>;
  readonly fetches: readonly string[];
  readonly shares: readonly Share[];
  /** False of a task that has no data for the step. */
  readonly hasData: boolean;
}

/** The part of a task that nothing is asked of. */
export function noPart(task: number): Part {
  const program = { id: -1, meetings: [], changesState: false };
  return { task, program, fetches: [], shares: [], hasData: false };
}

/** A training step that not all tasks have begun yet. */
interface Open {
  readonly first: Part;
  arrived: number;
}

export class Rounds {
  /** Per task, the keys of the meetings that its graph shares with other tasks. */
  readonly #shared: readonly ReadonlySet<string>[];
  /** What a round in the background, which is no step's, gives and takes, by key. */
  readonly #background: ReadonlyMap<string, Meeting>;
  readonly #uneven: UnevenBatches;
  /** Training steps that each task has begun: those with the same number belong together. */
  readonly #begun: number[];
  readonly #open = new Map<number, Open>();
  /** Programs that were found to fit each other: their numbers, in order of tasks. */
  readonly #fitting = new Set<string>();

  constructor(shared: readonly ReadonlySet<string>[], background: readonly Meeting[], uneven: UnevenBatches) {
    this.#shared = shared;
    this.#background = new Map(background.map((meeting) => [meeting.key, meeting]));
    this.#uneven = uneven;
    this.#begun = shared.map(() => 0);
  }

  /** Notes that these tasks begin a step. Throws, and notes nothing, where they do not fit each other or a task that has begun it. */
  begin(parts: readonly Part[]): void {
    if (parts.length === this.#shared.length) this.#checkAllMeet(parts);
    const training = parts.filter((part) => this.meets(part));
    if (this.#uneven === 'refuse') {
      for (const part of parts) if (part.program.changesState) checkReplicas(part);
      for (const part of training) checkAlike(this.#firstOf(part, training), part);
    }
    for (const part of training) this.#note(part);
  }

  /** A task that comes to a meeting without the others would wait for them until its deadline. */
  #checkAllMeet(parts: readonly Part[]): void {
    const programs = parts.map(({ program }) => program.id).join();
    if (this.#fitting.has(programs)) return;
    for (const part of parts) {
      for (const meeting of part.program.meetings) {
        if (!this.#shared[part.task]!.has(meeting.key) || this.#comesAbout(meeting, parts)) continue;
        throw apart(part, this.#absent(meeting.key, parts) ?? part);
      }
    }
    const contributes = (part: Part): boolean =>
      part.program.meetings.some(({ key }) => this.#background.has(key));
    const [present, absent] = [parts.find(contributes), parts.find((part) => !contributes(part))];
    if (present !== undefined && absent !== undefined) throw apart(present, absent);
    this.#fitting.add(programs);
  }

  /** Of an accumulator: that all tasks with data give and somebody takes. Of a queue: that as much goes in as comes out. */
  #comesAbout({ key, kind }: Meeting, parts: readonly Part[]): boolean {
    const found = [...parts.flatMap((part) => find(key, part) ?? []), ...this.#inBackground(key)];
    const taken = found.reduce((sum, { takes }) => sum + takes, 0);
    if (kind === 'queue') return found.reduce((sum, { gives }) => sum + gives, 0) === taken;
    // Of an accumulator, as many are taken as have data.
    const givers = parts.filter(
      (part) => this.#shared[part.task]!.has(key) && (part.hasData || kind === 'collective'),
    );
    return taken > 0 && givers.every((part) => (find(key, part)?.gives ?? 0) > 0);
  }

  #inBackground(key: string): readonly Meeting[] {
    const meeting = this.#background.get(key);
    return meeting === undefined ? [] : [meeting];
  }

  /** The task that does not come: one that meets nobody, else one that does not come to this meeting. */
  #absent(key: string, parts: readonly Part[]): Part | undefined {
    const misses = (part: Part): boolean =>
      this.#shared[part.task]!.has(key) && find(key, part) === undefined;
    return parts.find((part) => !this.meets(part)) ?? parts.find(misses);
  }

  /** Whether a part waits for other tasks. */
  meets({ task, program }: Part): boolean {
    return program.meetings.some(({ key }) => this.#shared[task]!.has(key));
  }

  /** The task that came first to the step that this one is about to begin. */
  #firstOf({ task }: Part, parts: readonly Part[]): Part {
    const step = this.#begun[task]!;
    return this.#open.get(step)?.first ?? parts.find((other) => this.#begun[other.task] === step)!;
  }

  #note(part: Part): void {
    const step = this.#begun[part.task]!++;
    const open = this.#open.get(step) ?? { first: part, arrived: 0 };
    open.arrived++;
    if (open.arrived === this.#shared.length) this.#open.delete(step);
    else this.#open.set(step, open);
  }
}

function find(key: string, { program }: Part): Meeting | undefined {
  return program.meetings.find((meeting) => meeting.key === key);
}

function apart(present: Part, absent: Part): GradsyncError {
  if (!absent.hasData) return withoutData(present, absent);
  const names = ({ fetches }: Part): string =>
    fetches.map((name) => JSON.stringify(name)).join(', ') || 'nothing';
  return new GradsyncError('INVALID_ARGUMENT', 'Requests of a step', {
    expected: 'all tasks to train the same variables, or none',
    received: `${names(present)} for task ${present.task}, which would wait for task ${absent.task}, that is asked for ${names(absent)}`,
    remedy:
      'fetch the training operation on every task, or call runTask for one that is to do something else',
    task: absent.task,
  });
}

function withoutData(present: Part, { task }: Part): GradsyncError {
  return new GradsyncError('FAILED_PRECONDITION', 'Requests of a step', {
    expected: 'data for every task, as each would wait for the others',
    received: `null for task ${task}, while task ${present.task} trains`,
    remedy: 'end the training, or open the session with { uneven: "join" } to go on without that task',
    task,
  });
}

const ALLOW =
  'or open the session with { unevenBatches: "allow" }, and examples of a small share weigh more than those of a large one';

function checkAlike(first: Part, part: Part): void {
  for (const { feed, axis, rows, replicas } of part.shares) {
    const other = first.shares.find((share) => share.feed === feed);
    // Collectives count every replica the same, whatever task it is on.
    const isAlike = part.program.meetings.every(({ kind }) => kind === 'collective')
      ? other !== undefined && other.rows * replicas === rows * other.replicas
      : other?.rows === rows;
    if (other === undefined || isAlike) continue;
    throw new GradsyncError('INVALID_ARGUMENT', `Feed "${feed}"`, {
      expected: `as many rows (axis ${axis}) on every task of a training step, as their mean counts each task the same`,
      received: `${other.rows} on task ${first.task} and ${rows} on task ${part.task}`,
      remedy: `share the batch out evenly; or say { feeds: { ${JSON.stringify(feed)}: "all" } } of a feed that is no batch; ${ALLOW}`,
      task: part.task,
    });
  }
}

function checkReplicas({ task, shares }: Part): void {
  const uneven = shares.find(({ rows, replicas }) => rows % replicas !== 0);
  if (uneven === undefined) return;
  const { feed, axis, rows, replicas } = uneven;
  throw new GradsyncError('INVALID_ARGUMENT', `Feed "${feed}"`, {
    expected: `a multiple of ${replicas} rows (axis ${axis}) in a training step, as the mean of the replicas counts each the same`,
    received: `${rows} on task ${task}`,
    remedy: `feed the replicas evenly; ${ALLOW}`,
    task,
  });
}
