/**
 * Reads that are late: what takes the value of a reference variable by an operation that may run before the variable's update, and itself runs
 * after it, sees the new value on one device, where both have the same memory. From another task's device it would see the old one.
 */
import { GradsyncError } from '../errors.js';
import type { Graph } from '../graph/graph.js';
import type { Operation } from '../graph/operation.js';
import type { GradientPair, Variable } from '../graph/training-graph.js';
import type { Closure } from './closure.js';
import type { VariableUses } from './variable-uses.js';
import { descendants, type Marks } from './walk.js';

/** @throws GradsyncError UNIMPLEMENTED for such a read of a variable on a server. With one task all memory is one. */
export function checkLateReads(
  graph: Graph,
  onServers: readonly GradientPair[],
  { members }: Closure,
  uses: VariableUses,
): void {
  for (const { variable } of onServers) {
    if (variable.kind !== 'reference') continue;
    const takers = takersOf(variable, uses).filter((taker) => !members.has(taker));
    if (takers.length === 0) continue;
    const updates = uses.mutatorsOf(variable).filter((mutator) => members.has(mutator));
    const after = descendants(graph, updates, { control: true });
    const late = takers.find((taker) => after.has(taker) && isLate(taker, variable, after, uses));
    if (late !== undefined) throw lateRead(variable, late);
  }
}

/** What takes the variable's value, from the variable or from a copy. */
function takersOf(variable: Variable, uses: VariableUses): readonly Operation[] {
  const readers = readersOf(variable, uses);
  const copies = readers.filter(({ type }) => type === 'Identity');
  return [...new Set([...readers, ...copies.flatMap((copy) => [...copy.output().consumers])])];
}

function readersOf(variable: Variable, uses: VariableUses): readonly Operation[] {
  const holders = uses.holdersOf(variable);
  const held = new Set(holders);
  const aliases = holders.flatMap(({ outputs }) =>
    outputs.filter((output) => output !== undefined && uses.variableOf(output) === variable),
  );
  return aliases.flatMap((alias) => [...alias!.consumers].filter((consumer) => !held.has(consumer)));
}

/** Whether it takes the variable itself, or a copy that does not wait for the update. A copy that waits lies beside the variable. */
function isLate({ type, inputs }: Operation, variable: Variable, after: Marks, uses: VariableUses): boolean {
  return inputs.some(
    (tensor) =>
      (uses.variableOf(tensor) === variable && type !== 'Identity') ||
      (!after.has(tensor.operation) &&
        tensor.operation.type === 'Identity' &&
        uses.variableOf(tensor.operation.inputs[0]!) === variable),
  );
}

function lateRead(variable: Variable, { name, type }: Operation): GradsyncError {
  return new GradsyncError('UNIMPLEMENTED', `Variable "${variable.name}"`, {
    expected:
      'reads after its update that are operations after it, as a task reads a reference variable of another when a step begins',
    received: `"${name}" (${type}), which waits for the update and takes a value that was read without waiting`,
    remedy:
      'use resource variables (tf.compat.v1.enable_resource_variables), or a strategy that keeps copies (all-reduce)',
    variable: variable.name,
    operation: name,
  });
}
