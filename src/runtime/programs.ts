/** Programs: what tasks compiled of requests, once for the same names of feeds and fetches, and the checks of what is fed to them. */
import type { Executor, PreparedProgram, TensorData } from './executor.js';
import { checkSplit, splitFeed, splitShape, wholeSpec } from './replica-values.js';
import { checkFeed, programRequest, type RequestNames, type RunPlan } from './request.js';
import type { RunRequest } from './session.js';
import { type Counts, namesWithoutData, scalarOf, settingsAmong } from './without-data.js';

/** Shapes of feeds that are remembered for a program. */
const MOST_SHAPES = 1000;

export interface Prepared extends PreparedProgram {
  readonly names: RequestNames;
  /** Shapes of feeds that were found to fit together. */
  readonly fitting: Set<string>;
}

export class Programs {
  readonly #executor: Executor;
  readonly #plans: readonly RunPlan[];
  /** By task, compiled programs by what was asked. */
  readonly #programs: readonly Map<string, Promise<Prepared>>[];

  constructor(executor: Executor, plans: readonly RunPlan[]) {
    this.#executor = executor;
    this.#plans = plans;
    this.#programs = plans.map(() => new Map());
  }

  /** Rejects, and leaves all as it is, where the request cannot be run. */
  async prepare(task: number, request: RunRequest): Promise<Prepared> {
    const feeds = Object.keys(request.feeds);
    const { fetches } = request;
    const prepared = await this.#compiled(task, JSON.stringify([feeds, fetches]), () =>
      programRequest(this.#plans[task]!, feeds, fetches),
    );
    await this.#check(task, prepared, request);
    return prepared;
  }

  /**
   * What a task without data runs where `request` is that of one that has some, and what it is fed of it; undefined if the plan knows nothing
   * of tasks without data.
   */
  async prepareWithoutData(
    task: number,
    request: RunRequest,
  ): Promise<{ readonly program: Prepared; readonly request: RunRequest } | undefined> {
    const plan = this.#plans[task]!;
    const { withoutData } = plan;
    if (withoutData === undefined) return undefined;
    const feeds = Object.keys(request.feeds);
    const { fetches } = request;
    const key = JSON.stringify([feeds, fetches, 'without data']);
    const program = await this.#compiled(task, key, () =>
      namesWithoutData(plan, withoutData, feeds, fetches),
    );
    const own = settingsAmong(feeds, withoutData).map((name) => [name, copyOf(request.feeds[name]!)]);
    return { program, request: { feeds: Object.fromEntries(own) as RunRequest['feeds'], fetches } };
  }

  async #compiled(task: number, key: string, names: () => RequestNames): Promise<Prepared> {
    const programs = this.#programs[task]!;
    let program = programs.get(key);
    if (program === undefined) {
      program = this.#compile(task, names());
      programs.set(key, program);
      program.catch(() => programs.delete(key));
    }
    return program;
  }

  async #compile(task: number, names: RequestNames): Promise<Prepared> {
    return { ...(await this.#executor.prepare(task, names.program)), names, fitting: new Set() };
  }

  async #check(task: number, program: Prepared, request: RunRequest): Promise<void> {
    let tensor = 0;
    for (const target of program.names.feeds) {
      const value = request.feeds[target.name]!;
      checkFeed(target.name, value, wholeSpec(program.feeds[tensor]!, target));
      checkSplit(value, target);
      tensor += target.count;
    }
    await this.#checkShapes(task, program, request);
  }

  /** Asks the task whether the feeds fit together, once for the same shapes. */
  async #checkShapes(task: number, { id, names, fitting }: Prepared, { feeds }: RunRequest): Promise<void> {
    const key = names.feeds.map(({ name }) => feeds[name]!.shape.join()).join(';');
    if (names.feeds.length === 0 || fitting.has(key)) return;
    const shapes = names.feeds.flatMap((target) => splitShape(feeds[target.name]!.shape, target));
    const counts = names.counts.map((): readonly number[] => []);
    await this.#executor.checkShapes(task, id, [...shapes, ...counts]);
    if (fitting.size >= MOST_SHAPES) fitting.clear();
    fitting.add(key);
  }
}

/** All that a program is fed, in its order. */
export function fedTo({ names }: Prepared, { feeds }: RunRequest, counts: Counts): readonly TensorData[] {
  return [
    ...names.feeds.flatMap((target) => splitFeed(feeds[target.name]!, target)),
    ...names.fixed,
    ...names.counts.map((counted) => scalarOf(counts[counted])),
  ];
}

function copyOf(value: TensorData): TensorData {
  return { ...value, data: value.data.slice() as TensorData['data'] };
}
