/** Names under which tasks find what they share, inside the run's container. They are part of the format: every task must print the same. */
import { joinName } from '../graph/name.js';
import type { Variable } from '../graph/training-graph.js';

/** The step every gradient is stamped with: never stale, as the tokens keep the tasks in step. */
export const MAX_INT64 = 0x7fffffffffffffffn;

/** The accumulator of a variable's gradient. */
export function accumulatorName(variable: Variable): string {
  return joinName(variable.name, 'grad_accum');
}

/** The queue through which a task hands over the slices of a variable's gradient. */
export function gradientQueueName(variable: Variable, task: number): string {
  return joinName(variable.name, 'grad_queue', String(task));
}

/** A task's own copy of a variable. */
export function proxyName(variable: Variable): string {
  return joinName('gradsync', variable.name, 'proxy');
}

/** The queue from which a task takes the tokens of an update group. */
export function tokenQueueName(group: number, task: number): string {
  return joinName('gradsync', 'token', String(group), String(task));
}

/** The queue from which a task takes what the chief publishes of an update that both run parts of. */
export function publicationQueueName(number: number, task: number): string {
  return joinName('gradsync', 'published', String(number), String(task));
}

/** The queue through which the chief's steps hand over to the background run what updates of a group take beside gradients. */
export function stepValueQueueName(group: number): string {
  return joinName('gradsync', 'step_values', String(group));
}

/** A queue between a task's steps and its run of collectives: of what is `given`, or of what was `made` of it. */
export function collectiveQueueName(number: number, way: string): string {
  return joinName('gradsync', 'collective', String(number), way);
}

/** The queue through which a task and the chief tell each other, before a step, who has data: the task's `answer`, and the `result`. */
export function rollQueueName(what: 'answer' | 'result', task: number): string {
  return joinName('gradsync', 'roll', what, String(task));
}

/** The queue on the chief that has an element for each task whose data have ended, where tasks never wait for each other. */
export const ENDED_QUEUE_NAME = 'gradsync/ended';

/** The variable on the chief that counts the rounds of a group that are applied. */
export function roundsName(group: number): string {
  return joinName('gradsync', 'rounds', String(group));
}

/** A task's own variable that counts its steps of a group. */
export function stepsName(group: number): string {
  return joinName('gradsync', 'steps', String(group));
}

/** What a task keeps of what the compression of a variable's gradient has lost. */
export function residualName(variable: string): string {
  return joinName('gradsync', variable, 'residual');
}

/** The string variable that holds the digest of the run. It is in the default container, where tasks of any run find it. */
export const DIGEST_NAME = 'gradsync/digest';
