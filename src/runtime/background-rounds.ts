/**
 * Rounds that are run in the background, as a session sees them: what the reads of each task's steps have missed, whether every round that
 * can be done is done, and whether all tasks have done as many steps.
 */
import { GradsyncError } from '../errors.js';
import type { Executor, TensorData, VariableInfo } from './executor.js';
import type { RunPlan } from './request.js';

/** The lags of a task's steps: how many rounds were missing in the variables when they read them. */
export interface LagRecord {
  readonly reads: number;
  readonly max: number;
  /** `counts[lag]` reads had that lag. */
  readonly counts: Readonly<Record<number, number>>;
}

/** One update group's counters: on the chief, and of each task. */
interface Counters {
  readonly applied: VariableInfo;
  readonly steps: readonly VariableInfo[];
}

export class BackgroundRounds {
  readonly #executor: Executor;
  readonly #groups: readonly Counters[];
  readonly #lags: readonly Map<number, number>[];

  constructor(executor: Executor, plans: readonly RunPlan[]) {
    this.#executor = executor;
    const variable = (task: number, name: string): VariableInfo =>
      executor.variables[task]!.find((each) => each.name === name) ?? noCounter(task, name);
    const [chief] = plans;
    this.#groups = (chief?.rounds ?? []).map(({ applied }, i) => ({
      applied: variable(0, applied),
      steps: plans.map((plan, task) => variable(task, plan.rounds![i]!.steps)),
    }));
    this.#lags = plans.map(() => new Map());
  }

  /** Whether any are run. */
  get areRun(): boolean {
    return this.#groups.length > 0;
  }

  /** Whether a variable only counts rounds or steps: it is none of the program. */
  counts({ key }: VariableInfo): boolean {
    return this.#groups.some(({ applied, steps }) => [applied, ...steps].some((each) => each.key === key));
  }

  record(task: number, lag: TensorData): void {
    const counts = this.#lags[task]!;
    const value = Number(lag.data[0]);
    counts.set(value, (counts.get(value) ?? 0) + 1);
  }

  lags(task: number): LagRecord {
    const counts = [...this.#lags[task]!].sort(([a], [b]) => a - b);
    return {
      reads: counts.reduce((sum, [, count]) => sum + count, 0),
      max: Math.max(0, ...counts.map(([lag]) => lag)),
      counts: Object.fromEntries(counts),
    };
  }

  /** Waits until every round that all tasks have contributed to is applied. No step may be under way. */
  async settle(): Promise<void> {
    for (const { applied, steps } of this.#groups) {
      while (this.#read(applied) < Math.min(...steps.map((each) => this.#read(each)))) {
        await this.#executor.nextRound();
      }
    }
  }

  /** Refuses to go on where a task is ahead: its gradients wait in queues. */
  checkEven(asked: string): void {
    for (const { steps } of this.#groups) {
      const done = steps.map((each) => this.#read(each));
      if (new Set(done).size <= 1) continue;
      throw new GradsyncError('FAILED_PRECONDITION', asked, {
        expected: 'tasks that have done as many steps, as gradients of steps ahead are kept nowhere',
        received: `${done.join(', ')} steps`,
        remedy: 'let the tasks that are behind do theirs first',
      });
    }
  }

  #read(counter: VariableInfo): number {
    return Number(this.#executor.readVariable(counter)?.data[0] ?? 0);
  }
}

function noCounter(task: number, name: string): never {
  throw new GradsyncError('NOT_FOUND', `Plan of task ${task}, "rounds"`, {
    expected: 'variables of its graph',
    received: `"${name}"`,
    remedy: 'open graph and plan of one rewriting',
    task,
  });
}
