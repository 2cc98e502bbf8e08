/** Variables: reading, assigning, asking about them. Resource and reference forms differ in how a value is read, not here. */
import type { NativeVariable, NumericArray } from '../../../addon/native.js';
import { GradsyncError } from '../../../errors.js';
import type { Operation } from '../../../graph/operation.js';
import type { TaskResources } from '../resources.js';
import { Value } from '../value.js';
import type { VariableAccess } from '../variable-access.js';
import { boolAttr, typeAttr } from './attributes.js';
import { sameShape } from './broadcast.js';
import { integerVector, numeric } from './host.js';
import { handleAt, NOTHING, type ResourceKernel, type ResourceKernelTable } from './resource-kernel.js';

/** A kernel on the variable at input 0. */
function onVariable(
  run: (variable: VariableAccess, inputs: readonly Value[], operation: Operation) => readonly Value[],
): ResourceKernel {
  return {
    handles: [0],
    bind: (operation, resources: TaskResources) => {
      const variable = resources.variable(handleAt(operation, 0));
      return (inputs) => run(variable, inputs, operation);
    },
  };
}

const assign = onVariable((variable, inputs) => {
  variable.assign(inputs[1]!);
  return NOTHING;
});

const assignAdd = onVariable((variable, inputs, operation) =>
  change(variable, inputs[1]!, operation, (native, value) => native.assignAdd(value)),
);

const assignSub = onVariable((variable, inputs, operation) =>
  change(variable, inputs[1]!, operation, (native, value) => native.assignSub(value)),
);

const isInitialized = onVariable((variable) => [
  Value.ofHost('bool', [], Uint8Array.of(variable.isInitialized ? 1 : 0)),
]);

const destroy = onVariable((variable, _inputs, operation) => {
  if (!variable.isInitialized && !boolAttr(operation, 'ignore_lookup_error', true)) variable.currentShape();
  variable.destroy();
  return NOTHING;
});

const variableShape: ResourceKernel = {
  handles: [0],
  bind: (operation, resources) => {
    const variable = resources.variable(handleAt(operation, 0));
    const dtype = typeAttr(operation, 'out_type', { fallback: 'int32' });
    return () => [integerVector(dtype, variable.currentShape())];
  },
};

/** The operation that makes a variable: the variable itself exists from then on, without a value. */
const handle: ResourceKernel = { handles: [], bind: () => () => NOTHING };

export const VARIABLE_KERNELS: ResourceKernelTable = {
  VarHandleOp: handle,
  VariableV2: handle,
  Variable: handle,
  ReadVariableOp: onVariable((variable) => [variable.read()]),
  VarIsInitializedOp: isInitialized,
  IsVariableInitialized: isInitialized,
  VariableShape: variableShape,
  DestroyResourceOp: destroy,
  Assign: assign,
  AssignAdd: assignAdd,
  AssignSub: assignSub,
  AssignVariableOp: assign,
  AssignAddVariableOp: assignAdd,
  AssignSubVariableOp: assignSub,
};

function change(
  variable: VariableAccess,
  value: Value,
  operation: Operation,
  apply: (native: NativeVariable, value: NumericArray) => void,
): readonly Value[] {
  const shape = variable.currentShape();
  if (!sameShape(shape, value.shape)) {
    throw new GradsyncError('INVALID_ARGUMENT', `Value of "${operation.name}" (${operation.type})`, {
      expected: `the shape of variable "${variable.name}", [${shape}]`,
      received: `[${value.shape}]`,
      remedy: 'give a value of the same shape',
      operation: operation.name,
      variable: variable.name,
    });
  }
  apply(variable.native, numeric(value));
  return NOTHING;
}
