/**
 * Who touches a variable and how, from both sides: the variable of a handle, the variables an operation changes, the operations that must
 * lie beside a variable. Handles are followed through the operations that hand them on.
 */
import { aliasesOf } from '../graph/handle-uses.js';
import { writtenInputs } from '../graph/op-catalog.js';
import type { Operation, Tensor } from '../graph/operation.js';
import type { TrainingGraph, Variable } from '../graph/training-graph.js';

export interface VariableUses {
  /** The variable whose handle or reference this tensor is. */
  variableOf(tensor: Tensor): Variable | undefined;
  /** The variables an operation changes; none for most. */
  mutatedBy(operation: Operation): readonly Variable[];
  /** The operations that change a variable, its initializer among them, in the order of the graph. */
  mutatorsOf(variable: Variable): readonly Operation[];
  /** The operations that must lie on the variable's device: they take its handle or reference. */
  holdersOf(variable: Variable): readonly Operation[];
}

const NONE: readonly never[] = [];

export function findVariableUses({ variables }: TrainingGraph): VariableUses {
  const carried = new Map<Tensor, Variable>();
  const mutated = new Map<Operation, Variable[]>();
  const mutators = new Map<Variable, Operation[]>();
  const holders = new Map<Variable, Operation[]>();
  for (const variable of variables) {
    const found = followHandle(variable, carried);
    mutators.set(variable, found.mutators);
    holders.set(variable, found.holders);
    for (const operation of found.mutators) {
      const all = mutated.get(operation);
      if (all === undefined) mutated.set(operation, [variable]);
      else all.push(variable);
    }
  }
  return {
    variableOf: (tensor) => carried.get(tensor),
    mutatedBy: (operation) => mutated.get(operation) ?? NONE,
    mutatorsOf: (variable) => mutators.get(variable) ?? NONE,
    holdersOf: (variable) => holders.get(variable) ?? NONE,
  };
}

interface Found {
  readonly mutators: Operation[];
  readonly holders: Operation[];
}

function followHandle(variable: Variable, carried: Map<Tensor, Variable>): Found {
  const holders = new Set<Operation>([variable.handle]);
  const mutators = new Set<Operation>();
  const aliases = aliasesOf(variable.handle, variable.kind);
  for (const alias of aliases) {
    carried.set(alias, variable);
    holders.add(alias.operation);
    for (const user of alias.consumers) {
      const writes = writtenInputs(user.type).some((position) => user.inputs[position] === alias);
      if (writes) mutators.add(user);
      if (writes || needsHandle(user, variable.kind)) holders.add(user);
    }
  }
  const byOrder = (a: Operation, b: Operation): number => a.id - b.id;
  return { mutators: [...mutators].sort(byOrder), holders: [...holders].sort(byOrder) };
}

/** Whether an operation takes the variable itself. Others take a copy of a reference variable's value, so they may lie anywhere. */
function needsHandle({ type }: Operation, kind: Variable['kind']): boolean {
  return kind === 'resource' || type === 'IsVariableInitialized';
}
