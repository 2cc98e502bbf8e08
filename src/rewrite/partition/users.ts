/** What uses a variable that is to be split, by how; what has no counterpart on shards is refused. */
import { isHandleAlias, isReferenceAlias, updateRule, writtenInputs } from '../../graph/op-catalog.js';
import type { Operation } from '../../graph/operation.js';
import type { Variable } from '../../graph/training-graph.js';
import type { VariableUses } from '../variable-uses.js';
import { variableRead } from './cut.js';
import { described, notSplittable } from './errors.js';

export interface Users {
  /** The handle, and operations that hand it or the reference on. */
  readonly carriers: readonly Operation[];
  readonly changes: readonly Operation[];
  readonly reads: readonly Operation[];
  /** Others, which take the handle, or the value through a reference. */
  readonly others: readonly Operation[];
}

const CONTROL_FLOW =
  /^(Ref)?(Enter|Exit|Switch|Merge|NextIteration)$|^(Stateless|Stateful)?(While|If|Case|PartitionedCall|For)$/;
/** Questions whether a variable has a value. */
export const ASKS = /^(VarIsInitializedOp|IsVariableInitialized)$/;
const SCATTERS = /^(Resource)?Scatter(Update|Add|Sub|Mul|Div|Min|Max)$/;
const OF_HANDLES = /^(ResourceGather|VarIsInitializedOp|ReadVariableOp|Identity|VariableShape)$/;

/** `axis`: along which the variable is to be split. */
export function findUsers(variable: Variable, axis: number, uses: VariableUses): Users {
  const carriers = new Set([variable.handle]);
  const found = { changes: new Set<Operation>(), reads: new Set<Operation>(), others: new Set<Operation>() };
  for (const carrier of carriers) {
    for (const user of carrier.output().consumers) {
      checkUser(variable, user, axis);
      const alias = variable.kind === 'resource' ? isHandleAlias(user.type) : isReferenceAlias(user.type);
      const handsOn = alias && user.inputs[0]?.operation === carrier;
      if (handsOn) carriers.add(user);
      const changes = writtenInputs(user.type).some((i) => uses.variableOf(user.inputs[i]!) === variable);
      if (changes) found.changes.add(user);
      else if (isRead(user, variable, uses)) found.reads.add(user);
      else if (!handsOn) found.others.add(user);
    }
  }
  const { changes, reads, others } = found;
  return { carriers: [...carriers], changes: [...changes], reads: [...reads], others: [...others] };
}

function isRead(user: Operation, variable: Variable, uses: VariableUses): boolean {
  const type = variable.kind === 'resource' ? 'ReadVariableOp' : 'Identity';
  return user.type === type && variableRead(user.output(), uses) === variable;
}

function checkUser(variable: Variable, user: Operation, axis: number): void {
  const refuse = (expected: string): never => {
    throw notSplittable(variable, expected, described(user), user);
  };
  if (CONTROL_FLOW.test(user.type)) refuse('a variable that no loop, condition or function takes');
  const rule = updateRule(user.type);
  if (rule !== undefined) {
    if (rule.indices !== undefined && axis !== 0) refuse('axis 0, as single rows are changed');
    const isSlice =
      rule.kind === 'scatter' ? !SCATTERS.test(user.type) : rule.kind === 'assign' && rule.gradient !== 1;
    if (isSlice) refuse('changes of the whole or of rows');
  } else if (variable.kind === 'resource' && !OF_HANDLES.test(user.type)) {
    refuse('reads, gathers of rows and updates as its only uses');
  }
}
