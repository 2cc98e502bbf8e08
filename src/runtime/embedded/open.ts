/** Opens a session on the embedded runtime. */
import {
  BYTES,
  checkFields,
  checkOptions,
  FUNCTION,
  LIST,
  MILLISECONDS,
  OBJECT,
  oneOf,
  optional,
  SIGNAL,
} from '../../check.js';
import { checkPlans } from '../check-plans.js';
import type { RunPlan } from '../request.js';
import { UNEVEN_BATCHES } from '../rounds.js';
import { Session, type SessionSettings } from '../session.js';
import { UNEVEN } from '../train.js';
import { EmbeddedExecutor, type EmbeddedOptions } from './executor.js';

export interface EmbeddedTask {
  /** The rewritten graph of the task: a GraphDef. */
  readonly graph: Uint8Array;
  readonly plan: RunPlan;
}

export interface EmbeddedSessionOptions
  extends Omit<EmbeddedOptions, 'graphs' | 'background'>,
    SessionSettings {
  /** In order of tasks. */
  readonly tasks: readonly EmbeddedTask[];
}

const OPTIONS = {
  tasks: LIST,
  deadlineMs: optional(MILLISECONDS),
  signal: optional(SIGNAL),
  onTrace: optional(FUNCTION),
  unevenBatches: optional(oneOf(UNEVEN_BATCHES)),
  uneven: optional(oneOf(UNEVEN)),
};

/**
 * Opens a session: one worker thread per task, variables and accumulators shared between them. Close it when done;
 * one with nothing under way does not keep the process alive.
 *
 * @throws GradsyncError UNIMPLEMENTED naming all operation types of the graph the runtime does not know; INVALID_ARGUMENT for a
 * plan that is malformed, FAILED_PRECONDITION for plans that are not of one run.
 *
 * @example
 * ```ts
 * await using session = await openEmbeddedSession({ tasks });
 * await session.initialize();
 * const [result] = await session.run(tasks.map(() => ({ feeds: { x }, fetches: ['loss:0', 'train_op'] })));
 * ```
 */
export async function openEmbeddedSession(given: EmbeddedSessionOptions): Promise<Session> {
  checkOptions('Options of openEmbeddedSession', given, OPTIONS, 'give { tasks: [{ graph, plan }] }');
  const { tasks, unevenBatches, uneven, ...options } = given;
  tasks.forEach((task, i) => {
    checkFields(`Task ${i}`, task, { graph: BYTES, plan: OBJECT }, 'give graph and plan of every task');
  });
  const plans = tasks.map((task) => task.plan);
  checkPlans(plans, tasks.length);
  const graphs = tasks.map((task) => task.graph);
  const background = plans.map((plan) => plan.background);
  const executor = await EmbeddedExecutor.open({ ...options, graphs, background });
  try {
    return new Session(executor, plans, { unevenBatches, uneven });
  } catch (error) {
    await executor.close();
    throw error;
  }
}
