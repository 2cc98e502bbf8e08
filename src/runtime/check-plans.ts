/**
 * Plans as they come from outside (plan.json, read by whoever opens a session): that each has what a session needs of it, in the form that
 * gradsync writes, and that together they are those of one run. Names are looked up when they are used.
 */
import {
  COUNT,
  check,
  checkFields,
  either,
  LIST,
  NAMES,
  OBJECT,
  oneOf,
  optional,
  type Rule,
  SIZES,
  TEXT,
  TEXTS,
} from '../check.js';
import { GradsyncError } from '../errors.js';
import type { WithoutData } from '../rewrite/plan.js';
import { ARRAY_TYPES } from './array-types.js';
import type { RunPlan } from './request.js';

const REMEDY = 'give plan.json as gradsync wrote it';

const NOTHING: Rule = { expected: 'null', holds: (value) => value === null };
const exactly = (wanted: unknown): Rule => ({
  expected: String(wanted),
  holds: (value) => value === wanted,
});

const PLAN = {
  format: optional(exactly(1)),
  digest: TEXT,
  task: COUNT,
  initializers: TEXTS,
  feeds: OBJECT,
  fetches: OBJECT,
  notFetchable: OBJECT,
  background: TEXTS,
  partitions: optional(OBJECT),
  rounds: optional(LIST),
  replicas: optional(TEXTS),
  variables: optional(OBJECT),
  residuals: optional(OBJECT),
  withoutData: optional(OBJECT),
};
const FEED = { tensors: NAMES, split: either(COUNT, NOTHING), alike: optional(exactly(true)) };
const FETCHED_TENSORS = { tensors: NAMES, combine: oneOf(['first', 'concat', 'mean']) };
const FETCHED_OPERATIONS = { operations: TEXTS };
const PARTITION = { axis: COUNT, shards: NAMES };
const VARIABLE = { staleness: optional(COUNT) };
const NAME_OR_NULL = either(TEXT, NOTHING);
const WITHOUT_DATA = { counts: OBJECT, nothing: LIST, leftOut: TEXTS, settings: TEXTS };
const COUNTS = { tasks: NAME_OR_NULL, replicas: NAME_OR_NULL };
const ZEROS = { tensor: TEXT, dtype: oneOf(Object.keys(ARRAY_TYPES)), shape: SIZES };
const ROUNDS = { applied: TEXT, steps: TEXT, lag: TEXT, trains: TEXTS, anew: TEXTS };

/** Refuses plans of which one is malformed, or that are not of one run, in order of its tasks. */
export function checkPlans(plans: readonly RunPlan[], taskCount: number): void {
  if (plans.length !== taskCount || plans.length === 0) {
    const received = String(plans.length);
    throw bad('Plans', `one per task (${taskCount})`, received, 'give graph and plan of every task');
  }
  plans.forEach(checkForm);
  for (const [task, plan] of plans.entries()) checkFits(plan, plans[0]!, task);
}

function checkForm(plan: RunPlan, task: number): void {
  const subject = `Plan of task ${task}`;
  checkFields(subject, plan, PLAN, REMEDY);
  for (const [name, feed] of Object.entries(plan.feeds)) {
    checkFields(`${subject}, feed "${name}"`, feed, FEED, REMEDY);
  }
  for (const [name, fetch] of Object.entries(plan.fetches)) {
    const asked = `${subject}, fetch "${name}"`;
    check(asked, fetch, OBJECT, REMEDY);
    checkFields(asked, fetch, 'operations' in fetch ? FETCHED_OPERATIONS : FETCHED_TENSORS, REMEDY);
  }
  for (const [name, partition] of Object.entries(plan.partitions ?? {})) {
    checkFields(`${subject}, partition "${name}"`, partition, PARTITION, REMEDY);
  }
  for (const [name, variable] of Object.entries(plan.variables ?? {})) {
    checkFields(`${subject}, variable "${name}"`, variable, VARIABLE, REMEDY);
  }
  for (const [i, rounds] of (plan.rounds ?? []).entries()) {
    checkFields(`${subject}, rounds ${i}`, rounds, ROUNDS, REMEDY);
  }
  checkResiduals(subject, plan);
  if (plan.withoutData !== undefined) checkWithoutData(subject, plan.withoutData);
}

function checkResiduals(subject: string, { residuals }: RunPlan): void {
  if (residuals === undefined) return;
  checkFields(`${subject}, "residuals"`, residuals, { variables: OBJECT }, REMEDY);
  for (const [name, variable] of Object.entries(residuals.variables))
    check(`${subject}, residual of "${name}"`, variable, TEXT, REMEDY);
}

function checkWithoutData(subject: string, given: WithoutData): void {
  const asked = `${subject}, "withoutData"`;
  checkFields(asked, given, WITHOUT_DATA, REMEDY);
  checkFields(`${asked}, "counts"`, given.counts, COUNTS, REMEDY);
  for (const [i, zeros] of given.nothing.entries()) {
    checkFields(`${asked}, "nothing" ${i}`, zeros, ZEROS, REMEDY);
  }
}

function checkFits(plan: RunPlan, first: RunPlan, task: number): void {
  if (plan.task !== task) {
    const subject = `Plan ${task}`;
    throw bad(
      subject,
      `that of task ${task}`,
      `that of task ${plan.task}`,
      'give the plans in order of tasks',
    );
  }
  if (plan.digest !== first.digest) {
    throw new GradsyncError('FAILED_PRECONDITION', `Plan of task ${task}`, {
      expected: `the digest of task 0, ${first.digest}`,
      received: plan.digest,
      remedy: 'rewrite all tasks from the same graph, strategy and cluster',
      task,
    });
  }
  const [wanted, received] = [first, plan].map(({ rounds = [] }) => rounds.length);
  if (received === wanted) return;
  throw bad(`Plan of task ${task}, "rounds"`, `${wanted}, as many as on task 0`, String(received), REMEDY);
}

function bad(subject: string, expected: string, received: string, remedy: string): GradsyncError {
  return new GradsyncError('INVALID_ARGUMENT', subject, { expected, received, remedy });
}
