/**
 * Variables that a program trains though none of their changes takes a gradient (an optimizer that is composed of assignments), in a graph
 * that does not say which variables are trainable. Taken for what every worker has for itself, they would be trained on one share of the
 * batch and nobody would know.
 */

import { operandOf } from './handle-uses.js';
import type { Operation, Tensor } from './operation.js';
import type { FoundVariable } from './read-variables.js';
import { ancestors, descendants } from './traverse.js';
import type { Varies } from './worker-dependence.js';

/**
 * The first variable that the gradients of others are computed from, and that is changed by what is in turn computed from it as they are. (A
 * moving average is changed by values from before it, a slot is read by updates alone.)
 *
 * @param gradients Those of the variables that are known to be trained.
 */
export function findUnseenTraining(
  found: readonly FoundVariable[],
  gradients: readonly Tensor[],
  varies: Varies,
): FoundVariable | undefined {
  const others = found.filter(({ variable }) => !variable.trainable);
  const candidates = others.flatMap((entry) => {
    const operands = entry.updates.flatMap((update) => operandOf(update) ?? []).filter(varies);
    return operands.length > 0 ? [{ entry, operands }] : [];
  });
  if (candidates.length === 0) return undefined;
  const backpropagation = ancestors(
    gradients.map(({ operation }) => operation),
    { edges: 'data' },
  );
  const isTrained = ({ entry, operands }: (typeof candidates)[number]): boolean => {
    const { handle } = entry.variable;
    if (!backpropagation.has(handle)) return false;
    const behind = ancestors(operands.map(({ operation }) => operation));
    const own = new Set<Operation>([handle, ...entry.uses.reads]);
    return [...descendants([handle], { edges: 'data' })].some(
      (operation) => !own.has(operation) && backpropagation.has(operation) && behind.has(operation),
    );
  };
  return candidates.find(isTrained)?.entry;
}
