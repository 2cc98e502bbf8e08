/**
 * The order in which variables are initialized: in levels, as an initial value may read other variables (a slot that starts as its variable,
 * `initialized_value`). All initializers of one level can run at once.
 */
import type { Operation } from '../graph/operation.js';
import type { Variable } from '../graph/training-graph.js';
import type { VariableUses } from './variable-uses.js';

/** An operation that must have run before, and by how many levels it comes earlier. */
interface Need {
  readonly operation: Operation;
  readonly levels: 0 | 1;
}

export interface InitializerOrder {
  /** Each level in the order of the variables. */
  readonly levels: readonly (readonly Operation[])[];
  /** What waits for an initializer of an earlier level, which would therefore run a second time and draw other values. */
  readonly repeats: readonly (readonly [waiting: Operation, initializer: Operation])[];
}

/** The initializers of `variables`, level by level. Other variables have their values already. */
export function orderInitializers(variables: readonly Variable[], uses: VariableUses): InitializerOrder {
  const depths = new Map<Operation, number>();
  const initialized = { uses, variables: new Set(variables) };
  const levels: Operation[][] = [];
  for (const { initializer } of variables) {
    if (initializer === undefined) continue;
    const depth = depthOf(initializer, depths, initialized);
    while (levels.length <= depth) levels.push([]);
    levels[depth]!.push(initializer);
  }
  return { levels: levels.filter((level) => level.length > 0), repeats: findRepeats(levels, depths) };
}

function findRepeats(
  levels: readonly (readonly Operation[])[],
  depths: ReadonlyMap<Operation, number>,
): readonly (readonly [Operation, Operation])[] {
  const repeats: [Operation, Operation][] = [];
  for (const [level, initializers] of levels.entries()) {
    for (const initializer of initializers) {
      for (const waiting of initializer.controlConsumers) {
        if ((depths.get(waiting) ?? level) > level) repeats.push([waiting, initializer]);
      }
    }
  }
  return repeats;
}

/** The level of an operation; visits every operation once, whatever variables share it. */
function depthOf(start: Operation, depths: Map<Operation, number>, initialized: Initialized): number {
  const stack = [start];
  const open = new Set<Operation>();
  for (let operation = stack.at(-1); operation !== undefined; operation = stack.at(-1)) {
    if (depths.has(operation)) {
      stack.pop();
      continue;
    }
    const needs = needsOf(operation, initialized);
    // An operation met again while it is open is in a loop (a variable that keeps its value if it has one): no level more for it.
    const missing = needs.filter((need) => !depths.has(need.operation) && !open.has(need.operation));
    if (missing.length > 0 && !open.has(operation)) {
      open.add(operation);
      for (const need of missing) stack.push(need.operation);
      continue;
    }
    stack.pop();
    depths.set(
      operation,
      Math.max(0, ...needs.map((need) => (depths.get(need.operation) ?? 0) + need.levels)),
    );
  }
  return depths.get(start)!;
}

/** The variables that are being initialized, and who reads them. */
interface Initialized {
  readonly uses: VariableUses;
  readonly variables: ReadonlySet<Variable>;
}

function needsOf(operation: Operation, { uses, variables }: Initialized): readonly Need[] {
  const needs: Need[] = operation.controlInputs.map((control) => ({ operation: control, levels: 0 }));
  for (const tensor of operation.inputs) {
    const variable = uses.variableOf(tensor);
    if (variable === undefined) needs.push({ operation: tensor.operation, levels: 0 });
    else if (variables.has(variable) && variable.initializer && variable.initializer !== operation) {
      // What waits for the initializer itself runs with it.
      const waits = operation.controlInputs.includes(variable.initializer);
      needs.push({ operation: variable.initializer, levels: waits ? 0 : 1 });
    }
  }
  return needs;
}
