/**
 * What a checkpoint of a session holds: every variable of every task, the steps each has begun, the state of its random numbers. Which of a
 * file's tensors a session takes, and whether they fit it.
 */
import { type ErrorCode, GradsyncError } from '../errors.js';
import { joinName } from '../graph/name.js';
import type { BackgroundRounds } from './background-rounds.js';
import type { Executor, TaskProgress, TensorData, VariableInfo } from './executor.js';
import { type Residuals, zerosFor } from './residuals.js';
import type { TensorFile } from './safetensors.js';

const FORMAT = 'gradsync-1';
const CHIEF = 0;

/** The parts of a session that a checkpoint is about. */
export interface SavedSession {
  readonly executor: Executor;
  readonly rounds: BackgroundRounds;
  readonly residuals: Residuals;
}

/**
 * Variables by the name they have in a file: those that the chief's graph knows under their own name, the copies that another task keeps
 * for itself below `task_<k>`. One that tasks share is there once.
 */
function variablesByName({ executor, rounds }: SavedSession): Map<string, VariableInfo> {
  const keys = new Set<string>();
  const result = new Map<string, VariableInfo>();
  for (const [task, variables] of executor.variables.entries()) {
    for (const variable of variables) {
      // Strings identify the run, and rounds are counted from its beginning; they are no state of the training.
      if (keys.has(variable.key) || variable.dtype === 'string' || rounds.counts(variable)) continue;
      keys.add(variable.key);
      result.set(task === CHIEF ? variable.name : joinName(`task_${task}`, variable.name), variable);
    }
  }
  return result;
}

/** Variables without a value are left out; FAILED_PRECONDITION if none has one. */
export async function stateToSave(session: SavedSession): Promise<TensorFile> {
  const { executor } = session;
  const tensors = new Map<string, TensorData>();
  const variables = variablesByName(session);
  for (const [name, variable] of variables) {
    const value = executor.readVariable(variable);
    if (value !== undefined) tensors.set(name, value);
  }
  if (variables.size > 0 && tensors.size === 0) throw nothingToSave();
  return { tensors, metadata: { format: FORMAT, progress: JSON.stringify(await executor.progress()) } };
}

/**
 * What a checkpoint that TensorFlow may have written gives to a session: the name of its tensor for every variable. One that a task keeps
 * for itself goes on from the program's own value where the file has none of that task. Further tensors are left alone, as TensorFlow does.
 */
export function tensorsToRestore(
  session: SavedSession,
  has: (name: string) => boolean,
): ReadonlyMap<string, string> {
  return new Map(
    [...variablesByName(session)].map(([name, variable]) => [
      name,
      // What another task has kept back is its own, and may be there but once.
      has(name) || session.residuals.has(variable) ? name : variable.name,
    ]),
  );
}

/**
 * Nothing is changed unless everything fits. Without metadata steps and random numbers go on as they are; where nothing was kept back, nothing
 * is.
 */
export async function restoreState(
  session: SavedSession,
  { tensors, metadata }: Pick<TensorFile, 'tensors'> & Partial<TensorFile>,
  file: string,
): Promise<void> {
  const variables = variablesByName(session);
  const { executor } = session;
  const progress = metadata && savedProgress(metadata, executor.taskCount, file);
  const values = new Map(tensors);
  for (const [name, variable] of variables) {
    const zeros = session.residuals.has(variable) && !values.has(name) ? zerosFor(variable) : undefined;
    if (zeros !== undefined) values.set(name, zeros);
    checkFits(variable, values.get(name), name, file);
  }
  for (const name of tensors.keys()) {
    if (!variables.has(name))
      throw mismatch(file, 'only variables of this session', `also "${name}"`, 'NOT_FOUND');
  }
  if (progress !== undefined) await setProgress(executor, progress, file);
  for (const [name, value] of values) executor.writeVariable(variables.get(name)!, value);
}

/** How many tasks the session had that wrote a file; undefined if it does not say. */
export function savedTaskCount({ progress = '' }: TensorFile['metadata']): number | undefined {
  return parseList(progress)?.length;
}

/** All tasks go on where the file says, or all stay where they are. */
async function setProgress(
  executor: Executor,
  progress: readonly TaskProgress[],
  file: string,
): Promise<void> {
  const before = await executor.progress();
  try {
    await executor.setProgress(progress);
  } catch (error) {
    if (!(error instanceof GradsyncError)) throw error;
    // A session that has ended has nothing to go back to.
    await executor.setProgress(before).catch(() => undefined);
    const { expected = 'generators of this session', received = error.message } = error.details;
    throw mismatch(file, expected, received, error.code, error);
  }
}

function savedProgress(
  { format, progress = '' }: Readonly<Record<string, string>>,
  tasks: number,
  file: string,
): readonly TaskProgress[] {
  if (format !== FORMAT) throw mismatch(file, `format ${FORMAT}`, String(format), 'INVALID_ARGUMENT');
  const list = parseList(progress);
  if (list?.length === tasks && list.every(isProgress)) return list;
  const received = list === undefined ? 'none' : String(list.length);
  throw mismatch(file, `the progress of ${tasks} tasks`, received, 'INVALID_ARGUMENT');
}

function parseList(text: string): unknown[] | undefined {
  try {
    const list: unknown = JSON.parse(text);
    return Array.isArray(list) ? list : undefined;
  } catch {
    return undefined;
  }
}

function isProgress(value: unknown): value is TaskProgress {
  const { steps, generators } = (value ?? {}) as Partial<TaskProgress>;
  if (!Number.isSafeInteger(steps) || typeof generators !== 'object' || generators === null) return false;
  return Object.values(generators).every(
    (state) => Array.isArray(state) && state.every(Number.isSafeInteger),
  );
}

function checkFits(variable: VariableInfo, value: TensorData | undefined, name: string, file: string): void {
  if (value === undefined) throw mismatch(file, `a value of "${name}"`, 'none', 'NOT_FOUND');
  const { dtype, shape } = variable;
  const fits = value.dtype === dtype && (shape === null || String(shape) === String(value.shape));
  if (fits) return;
  const received = `${value.dtype} [${value.shape}]`;
  throw mismatch(file, `${dtype} [${shape}] for "${name}"`, received, 'INVALID_ARGUMENT');
}

function nothingToSave(): GradsyncError {
  return new GradsyncError('FAILED_PRECONDITION', 'Saving', {
    expected: 'a variable with a value',
    received: 'a session that was not initialized',
    remedy: 'call initialize() or restore() first',
  });
}

function mismatch(
  file: string,
  expected: string,
  received: string,
  code: ErrorCode,
  cause?: unknown,
): GradsyncError {
  const remedy = 'restore into a session of the same graph, strategy and number of tasks';
  return new GradsyncError(code, `Checkpoint ${file}`, { expected, received, remedy, file }, { cause });
}
