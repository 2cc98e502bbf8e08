/**
 * Refuses what tasks would not agree on: what stands between the averaged gradients and copies that every task updates, if it takes something
 * of a task's own; and rounds that some tasks or the chief would leave out, while others wait for them.
 */
import { GradsyncError } from '../errors.js';
import type { Graph } from '../graph/graph.js';
import type { Operation } from '../graph/operation.js';
import type { GradientPair, TrainingGraph, Variable } from '../graph/training-graph.js';
import type { Closure } from './closure.js';
import { type Condition, Conditions } from './conditions.js';
import { gradientTensors } from './gradient-region.js';
import type { RoundGroup } from './synchrony.js';
import { type TaskValue, TaskValues } from './task-values.js';
import type { UpdateGroup } from './update-groups.js';
import type { VariableUses } from './variable-uses.js';
import type { Marks } from './walk.js';

export interface AgreementInput {
  readonly graph: Graph;
  readonly training: TrainingGraph;
  /** An order in which the graph can run. */
  readonly order: readonly Operation[];
  readonly closure: Closure;
  /** The operations that hand the gradients on. */
  readonly roots: Marks;
  readonly uses: VariableUses;
  readonly rounds: readonly RoundGroup[];
  /** Groups of variables of which every task has a copy. */
  readonly replicated: readonly UpdateGroup[];
}

/** Of several tasks: one alone always agrees. */
export function checkAgreement(input: AgreementInput): void {
  const agreement = new Agreement(input);
  for (const group of input.rounds) agreement.checkRound(group);
  for (const group of input.replicated) {
    agreement.checkGradients(group);
    agreement.checkCopies(group);
  }
}

class Agreement {
  readonly #input: AgreementInput;
  readonly #conditions: Conditions;

  constructor(input: AgreementInput) {
    this.#input = input;
    this.#conditions = new Conditions(input.order);
  }

  /** Every task computes this for itself, and has to come to the same. */
  checkCopies({ pairs, members }: UpdateGroup): void {
    const { closure, uses } = this.#input;
    const own = new Set(members);
    const values = this.#valuesWhere((operation) => own.has(operation));
    for (const { variable } of pairs) {
      const changes = uses.mutatorsOf(variable).filter((change) => closure.members.has(change));
      const found = values.find(changes);
      if (found !== undefined) throw copiesDiffer(variable, found);
    }
  }

  /** Where gradients are computed on a condition, all tasks have to give them, or none. */
  checkGradients(group: UpdateGroup): void {
    const values = this.#valuesWhere(() => false);
    for (const pair of group.pairs) {
      for (const { predicate } of this.#conditionsOf(rootsOf([pair]))) {
        const found = values.find([predicate.operation]);
        if (found !== undefined) throw givenBySome(pair.variable, predicate.operation, found);
      }
    }
  }

  /** A round ends for all tasks when the updates are done, so they have to be done. */
  checkRound(group: RoundGroup): void {
    if (group.background !== undefined) this.#checkBackground(group);
    this.checkGradients(group);
    const roots = rootsOf(group.pairs);
    const isOfAll = (condition: Condition): boolean =>
      roots.every((root) => this.#conditions.of(root).has(condition));
    const left = [...this.#conditionsOf(group.last)].find((condition) => !isOfAll(condition));
    if (left === undefined) return;
    throw leftOut(group, left, this.#valuesWhere(() => true).find([left.predicate.operation]));
  }

  #checkBackground(group: RoundGroup): void {
    const { uses } = this.#input;
    const changes = group.members.filter((member) => uses.mutatedBy(member).length > 0);
    const [condition] = this.#conditionsOf([...rootsOf(group.pairs), ...changes, ...group.last]);
    if (condition !== undefined) throw inBackground(group, condition);
  }

  #conditionsOf(operations: readonly Operation[]): ReadonlySet<Condition> {
    return new Set(operations.flatMap((operation) => [...this.#conditions.of(operation)]));
  }

  /** Looks at no averaged gradient, and of C only at what `isOwn`. */
  #valuesWhere(isOwn: (member: Operation) => boolean): TaskValues {
    const { graph, training, closure, roots, uses } = this.#input;
    const enter = (operation: Operation): boolean =>
      !roots.has(operation) && (!closure.members.has(operation) || isOwn(operation));
    const changesOf = (variable: Variable): readonly Operation[] => {
      const changes = uses.mutatorsOf(variable).filter((change) => change !== variable.initializer);
      // Whatever else changes what is trained is run apart from steps.
      return closure.shared.has(variable) ? changes.filter((change) => closure.members.has(change)) : changes;
    };
    return new TaskValues({ graph, training, conditions: this.#conditions, uses, enter, changesOf });
  }
}

function rootsOf(pairs: readonly GradientPair[]): readonly Operation[] {
  return pairs.flatMap(gradientTensors).map(({ operation }) => operation);
}

function copiesDiffer({ name }: Variable, found: TaskValue): GradsyncError {
  return new GradsyncError('UNIMPLEMENTED', `Update of variable "${name}"`, {
    expected: 'an update that takes the same on all tasks, as each updates a copy of its own',
    received: `${printValue(found)}, beside the averaged gradients`,
    remedy:
      'use the strategy ps or ps-lb for all variables (there the chief computes it, once), or take what is the same on all tasks: a scalar that ' +
      'is fed, the global step, what is computed from averaged gradients',
    variable: name,
    operation: found.source.name,
  });
}

function givenBySome({ name }: Variable, predicate: Operation, found: TaskValue): GradsyncError {
  return new GradsyncError('UNIMPLEMENTED', `Gradient of variable "${name}"`, {
    expected: 'one that all tasks compute in a step, or none, as they wait for each other',
    received: `a condition on "${predicate.name}", which takes ${printValue(found)}`,
    remedy: `${CHOOSE}, or make the condition the same on all tasks`,
    variable: name,
    operation: predicate.name,
  });
}

function leftOut(group: UpdateGroup, { predicate }: Condition, found: TaskValue | undefined): GradsyncError {
  const { name } = predicate.operation;
  const takes = found === undefined ? '' : `, which takes ${printValue(found)}`;
  const alike =
    found === undefined
      ? ', or use the strategy all-reduce for all variables, as the condition is alike'
      : '';
  return new GradsyncError('UNIMPLEMENTED', updateOf(group), {
    expected: 'an update that runs in every round, as all tasks wait for its end',
    received: `one on the condition "${name}"${takes}`,
    remedy: `${CHOOSE}${alike}`,
    variable: group.pairs[0]!.variable.name,
    operation: name,
  });
}

function inBackground(group: UpdateGroup, { predicate }: Condition): GradsyncError {
  const { name } = predicate.operation;
  return new GradsyncError('UNIMPLEMENTED', updateOf(group), {
    expected: 'an update that runs in every round, as rounds with "staleness" are run apart from the steps',
    received: `one on the condition "${name}"`,
    remedy: `set "staleness" to 0, or ${CHOOSE}`,
    variable: group.pairs[0]!.variable.name,
    operation: name,
  });
}

const CHOOSE = 'let a condition choose the values that the update takes (tf.where), not whether it runs';

function updateOf({ pairs }: UpdateGroup): string {
  return `Update of variable "${pairs[0]!.variable.name}"`;
}

function printValue({ source, state }: TaskValue): string {
  const value = `"${source.name}" (${source.type}), a task's own`;
  return state === undefined ? value : `variable "${state.name}", which changes with ${value}`;
}
