/**
 * An executor as the program sees it: a variable that a rewriting has split is one variable again, under its own name. Reading puts its
 * shards together, writing takes a value apart; programs run as they are.
 */
import { GradsyncError } from '../errors.js';
import { isFullyKnown, type Shape } from '../graph/shape.js';
import type { PartitionReport } from '../rewrite/plan.js';
import type { Executor, TensorData, TrafficRecord, VariableInfo } from './executor.js';
import { joinAlong, partsAlong } from './replica-values.js';
import type { RunPlan } from './request.js';

/** A variable with what it is made of. */
interface WholeVariable extends VariableInfo {
  readonly axis: number;
  readonly shards: readonly VariableInfo[];
}

/** `plans`: of the executor's tasks, in order. The executor itself where nothing is split. */
export function withWholeVariables(executor: Executor, plans: readonly RunPlan[]): Executor {
  if (plans.every(({ partitions }) => partitions === undefined)) return executor;
  const wholes = new Map<string, WholeVariable>();
  const joined = executor.variables.map((all, task) => joinVariables(all, plans[task]?.partitions ?? {}));
  for (const whole of joined.flat()) if (isWhole(whole)) wholes.set(whole.key, whole);
  // A task may know shards of another's variable under names of its own, to begin with their values.
  const inside = new Set([...wholes.values()].flatMap(({ shards }) => shards.map(({ key }) => key)));
  const variables = joined.map((all) => all.filter((each) => isWhole(each) || !inside.has(each.key)));
  return new PartitionedExecutor(executor, variables, wholes);
}

function isWhole(variable: VariableInfo): variable is WholeVariable {
  return 'shards' in variable;
}

/** In the place of the first of its shards. */
function joinVariables(
  all: readonly VariableInfo[],
  partitions: Readonly<Record<string, PartitionReport>>,
): readonly VariableInfo[] {
  const byName = new Map(all.map((variable) => [variable.name, variable]));
  const owners = new Map(
    Object.entries(partitions).flatMap(([name, { shards }]) => shards.map((shard) => [shard, name] as const)),
  );
  return all.flatMap((variable): readonly VariableInfo[] => {
    const owner = owners.get(variable.name);
    if (owner === undefined) return [variable];
    const { axis, shards } = partitions[owner]!;
    return variable.name === shards[0] ? [joined(owner, axis, shards, byName)] : [];
  });
}

function joined(
  name: string,
  axis: number,
  names: readonly string[],
  byName: ReadonlyMap<string, VariableInfo>,
): WholeVariable {
  const shards = names.map((shard) => byName.get(shard) ?? missing(name, shard));
  const [first] = shards;
  if (shards.some(({ shape }) => axis >= (shape?.length ?? Infinity)))
    throw unlike(name, 'an axis of its shards', String(axis));
  return {
    name,
    key: JSON.stringify(shards.map(({ key }) => key)),
    task: first!.task,
    dtype: first!.dtype,
    shape: joinShapes(shards, axis),
    axis,
    shards,
  };
}

function joinShapes(shards: readonly VariableInfo[], axis: number): Shape {
  const shapes = shards.map(({ shape }) => shape);
  if (!shapes.every(isFullyKnown)) return null;
  const size = shapes.reduce((sum, shape) => sum + (shape?.[axis] ?? 0), 0);
  return shapes[0]!.with(axis, size);
}

function missing(variable: string, shard: string): never {
  throw unlike(variable, 'variables of the graph', `"${shard}"`);
}

function unlike(variable: string, expected: string, received: string): GradsyncError {
  const remedy = 'open graph and plan of one rewriting';
  return new GradsyncError('INVALID_ARGUMENT', `Plan, partition of "${variable}"`, {
    expected,
    received,
    remedy,
    variable,
  });
}

class PartitionedExecutor implements Executor {
  readonly #executor: Executor;
  readonly variables: Executor['variables'];
  readonly #wholes: ReadonlyMap<string, WholeVariable>;

  constructor(
    executor: Executor,
    variables: Executor['variables'],
    wholes: ReadonlyMap<string, WholeVariable>,
  ) {
    this.#executor = executor;
    this.variables = variables;
    this.#wholes = wholes;
  }

  get taskCount(): number {
    return this.#executor.taskCount;
  }

  get deadlineMs(): number {
    return this.#executor.deadlineMs;
  }

  get over(): AbortSignal {
    return this.#executor.over;
  }

  get meetings(): Executor['meetings'] {
    return this.#executor.meetings;
  }

  get backgroundMeetings(): Executor['backgroundMeetings'] {
    return this.#executor.backgroundMeetings;
  }

  startBackground(): void {
    this.#executor.startBackground();
  }

  nextRound(): Promise<void> {
    return this.#executor.nextRound();
  }

  hasValue(variable: VariableInfo): boolean {
    return this.#shardsOf(variable).every((shard) => this.#executor.hasValue(shard));
  }

  readVariable(variable: VariableInfo): TensorData | undefined {
    const whole = this.#wholes.get(variable.key);
    if (whole === undefined) return this.#executor.readVariable(variable);
    const values = whole.shards.flatMap((shard) => this.#executor.readVariable(shard) ?? []);
    return values.length < whole.shards.length ? undefined : joinAlong(values, whole.axis);
  }

  writeVariable(variable: VariableInfo, value: TensorData): void {
    const whole = this.#wholes.get(variable.key);
    if (whole === undefined) {
      this.#executor.writeVariable(variable, value);
      return;
    }
    const sizes = whole.shards.map(({ shape }) => shape?.[whole.axis] ?? 0);
    for (const [i, part] of partsAlong(value, whole.axis, sizes).entries()) {
      this.#executor.writeVariable(whole.shards[i]!, part);
    }
  }

  #shardsOf(variable: VariableInfo): readonly VariableInfo[] {
    return this.#wholes.get(variable.key)?.shards ?? [variable];
  }

  prepare(...args: Parameters<Executor['prepare']>): ReturnType<Executor['prepare']> {
    return this.#executor.prepare(...args);
  }

  checkShapes(...args: Parameters<Executor['checkShapes']>): ReturnType<Executor['checkShapes']> {
    return this.#executor.checkShapes(...args);
  }

  run(...args: Parameters<Executor['run']>): ReturnType<Executor['run']> {
    return this.#executor.run(...args);
  }

  traffic(task: number): TrafficRecord {
    return this.#executor.traffic(task);
  }

  progress(): ReturnType<Executor['progress']> {
    return this.#executor.progress();
  }

  setProgress(...args: Parameters<Executor['setProgress']>): Promise<void> {
    return this.#executor.setProgress(...args);
  }

  close(): Promise<void> {
    return this.#executor.close();
  }
}
