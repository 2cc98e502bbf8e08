/** Who reads and who writes a variable, found by following its handle (or reference) through operations that hand it on. */
import { isHandleAlias, isReferenceAlias, updateRule, writtenInputs } from './op-catalog.js';
import type { Operation, Tensor } from './operation.js';

export interface HandleUses {
  /** Operations that read the whole value. */
  readonly reads: readonly Operation[];
  /** Operations that change it as the variable at input 0: updates, assignments, scatters. */
  readonly changes: readonly Operation[];
  /** Operations that change it as a slot of another variable's update. */
  readonly slotChanges: readonly Operation[];
}

type Kind = 'resource' | 'reference';

/** The tensors that are a variable itself: what its handle operation makes, and what others hand on. Nearest first. */
export function aliasesOf(handle: Operation, kind: Kind): ReadonlySet<Tensor> {
  const aliases = new Set([handle.output(0)]);
  for (const tensor of aliases) {
    for (const consumer of tensor.consumers) {
      if (isAlias(consumer, tensor, kind)) for (const alias of aliasOutputs(consumer)) aliases.add(alias);
    }
  }
  return aliases;
}

/** Uses of the variable a handle operation makes, in the order they are met from the handle. */
export function usesOf(handle: Operation, kind: Kind): HandleUses {
  const uses = { reads: [] as Operation[], changes: [] as Operation[], slotChanges: [] as Operation[] };
  for (const tensor of aliasesOf(handle, kind)) {
    for (const consumer of tensor.consumers) classify(consumer, tensor, kind, uses);
  }
  return uses;
}

function isAlias(consumer: Operation, tensor: Tensor, kind: Kind): boolean {
  if (kind === 'resource') return isHandleAlias(consumer.type);
  return consumer.inputs[0] === tensor && isReferenceAlias(consumer.type);
}

/** Both branches of a switch hand the variable on; the second output of a merge is an index. */
function aliasOutputs(consumer: Operation): Tensor[] {
  const isSwitch = consumer.type === 'Switch' || consumer.type === 'RefSwitch';
  return isSwitch ? [consumer.output(0), consumer.output(1)] : [consumer.output(0)];
}

interface Uses {
  readonly reads: Operation[];
  readonly changes: Operation[];
  readonly slotChanges: Operation[];
}

function classify(consumer: Operation, tensor: Tensor, kind: Kind, uses: Uses): void {
  if (consumer.type === (kind === 'resource' ? 'ReadVariableOp' : 'Identity')) uses.reads.push(consumer);
  for (const position of writtenInputs(consumer.type)) {
    if (consumer.inputs[position] === tensor)
      (position === 0 ? uses.changes : uses.slotChanges).push(consumer);
  }
}

/** What a change puts into its variable: the value, the gradient or the rows. */
export function operandOf(change: Operation): Tensor | undefined {
  const rule = updateRule(change.type);
  return rule === undefined ? undefined : change.inputs[rule.gradient];
}
