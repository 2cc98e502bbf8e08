/**
 * Which variables are split together: the trained one, and those of its shape that are changed with it: as slots of its update, or in the
 * arithmetic of an optimizer that is composed of single operations.
 */
import { updateRule } from '../../graph/op-catalog.js';
import type { Operation, Tensor } from '../../graph/operation.js';
import type { TrainingGraph, Variable } from '../../graph/training-graph.js';
import type { VariableUses } from '../variable-uses.js';
import type { Cut } from './cut.js';
import { notSplittable } from './errors.js';
import { Kinds, type Known } from './kinds.js';

export interface Members {
  readonly members: ReadonlySet<Variable>;
  readonly kinds: Kinds;
}

export interface MembersInput {
  readonly training: TrainingGraph;
  readonly uses: VariableUses;
  /** Of which it is known what they have to do with the variable: its gradient. */
  readonly gradient: ReadonlyMap<Tensor, Known>;
  /** Variables that no other one may take with it. */
  readonly taken: ReadonlySet<Variable>;
}

export function findMembers({ variable, shape }: Cut, input: MembersInput): Members {
  const { training, uses, gradient, taken } = input;
  // The optimizer's state comes from gradients; that of a variable that is only looked at may come from elsewhere.
  const members = new Map([[variable, false]]);
  const kindsWith = (more: readonly Variable[]): Kinds =>
    new Kinds(shape, new Map([...members, ...more.map((each) => [each, false] as const)]), uses, gradient);
  for (const update of uses.mutatorsOf(variable)) {
    for (const slot of slotsOf(update, uses)) {
      if (slot === variable) continue;
      if (!hasShape(slot, shape)) throw unlike(variable, slot, update);
      members.set(slot, true);
    }
  }
  const candidates = training.variables.filter((each) => !taken.has(each) && hasShape(each, shape));
  for (let size = 0; size !== members.size; ) {
    size = members.size;
    for (const candidate of candidates) {
      if (members.has(candidate) || candidate === variable) continue;
      const kinds = kindsWith([candidate]);
      if (uses.mutatorsOf(candidate).some((change) => followsGradient(change, candidate, kinds, uses))) {
        members.set(candidate, true);
      }
    }
  }
  return { members: new Set(members.keys()), kinds: kindsWith([]) };
}

/** The variables that an update changes besides the one it is of. */
function slotsOf(update: Operation, uses: VariableUses): readonly Variable[] {
  const slots = updateRule(update.type)?.slots ?? [];
  return slots.flatMap((position) => uses.variableOf(update.inputs[position]!) ?? []);
}

/** Whether a change puts into its variable what is computed, element by element or row by row, from the gradient. */
function followsGradient(change: Operation, variable: Variable, kinds: Kinds, uses: VariableUses): boolean {
  const rule = updateRule(change.type);
  if (rule === undefined || uses.variableOf(change.inputs[0]!) !== variable) return false;
  const operand = kinds.of(change.inputs[rule.gradient]!);
  if (!operand?.fromGradient || (rule.indices === undefined) !== (operand.kind === 'aligned')) return false;
  return rule.indices === undefined || kinds.of(change.inputs[rule.indices]!)?.kind === 'indices';
}

function hasShape({ shape }: Variable, wanted: readonly number[]): boolean {
  return shape?.length === wanted.length && shape.every((dim, axis) => dim === wanted[axis]);
}

function unlike(variable: Variable, slot: Variable, operation: Operation) {
  const expected = `optimizer state of its own shape, [${variable.shape}]`;
  return notSplittable(variable, expected, `"${slot.name}" of shape [${slot.shape}]`, operation);
}
