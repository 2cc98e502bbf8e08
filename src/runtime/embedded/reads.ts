/** Which variables must have a value before a program runs, so that a missing one is found out before the step begins. */
import type { Operation } from '../../graph/operation.js';
import { gatheredVariable } from './binding.js';
import { allNodes, type ExecutionPlan, type PlanNode } from './execution-plan.js';
import { handleOf, resourceKind } from './handles.js';
import type { TaskResources } from './resources.js';
import type { VariableAccess } from './variable-access.js';

/** Operations that give the variable at input 0 a value whether it has one or not. */
const SETS = new Set(['Assign', 'AssignVariableOp']);
/** Operations that take a variable without looking at its value. */
const ONLY_NAMES = new Set([
  'VarIsInitializedOp',
  'IsVariableInitialized',
  'DestroyResourceOp',
  'Identity',
  'RefIdentity',
]);

/** Variables a program reads or changes, without those it sets itself. */
export function variablesRead(plan: ExecutionPlan, resources: TaskResources): ReadonlySet<VariableAccess> {
  const read = new Set<VariableAccess>();
  const set = new Set<VariableAccess>();
  for (const node of allNodes(plan)) {
    const target = SETS.has(node.operation.type) ? set : read;
    for (const variable of variablesOf(node)) target.add(resources.variable(variable));
    for (const source of node.sources) if (typeof source === 'object' && source !== null) read.add(source);
  }
  for (const variable of set) read.delete(variable);
  return read;
}

function variablesOf({ operation, sources }: PlanNode): Operation[] {
  if (ONLY_NAMES.has(operation.type)) return [];
  const gathered = gatheredVariable(operation);
  if (gathered !== undefined) return [gathered];
  return operation.inputs
    .filter((_, position) => sources[position] === null)
    .flatMap((tensor) => handleOf(tensor) ?? [])
    .filter((handle) => resourceKind(handle) === 'variable');
}
