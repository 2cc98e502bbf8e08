/** The facts of the catalog, where others rely on them. test/tensorflow compares all of them with the registry. */
import test from 'ava';
import {
  isStateful,
  outputCount,
  takesGradient,
  updateRule,
  variableKind,
  writtenInputs,
} from '../../src/graph/index.js';

test('updates take their gradient where TensorFlow does', (t) => {
  const rows = [
    ['ResourceApplyAdam', 9, undefined, 2],
    ['ApplyMomentum', 3, undefined, 1],
    ['ResourceSparseApplyAdagrad', 3, 4, 1],
    ['ResourceSparseApplyAdagradV2', 4, 5, 1],
    ['SparseApplyFtrlV2', 3, 4, 2],
    ['ResourceApplyCenteredRMSProp', 8, undefined, 3],
    ['ApplyGradientDescent', 2, undefined, 0],
    ['ScatterSub', 2, 1, 0],
    ['AssignSubVariableOp', 1, undefined, 0],
    ['ResourceStridedSliceAssign', 4, undefined, 0],
  ] as const;
  for (const [type, gradient, indices, slots] of rows) {
    const rule = updateRule(type);
    t.is(rule?.gradient, gradient, type);
    t.is(rule?.indices, indices, type);
    t.is(rule?.slots.length, slots, type);
    t.is(writtenInputs(type).length, slots + 1, type);
  }
});

test('operations that do not exist, or update nothing, have no rule', (t) => {
  for (const type of [
    'SparseApplyAdam',
    'SparseApplyGradientDescent',
    'ApplyKerasMomentum',
    'MatMul',
    'ReadVariableOp',
  ]) {
    t.is(updateRule(type), undefined, type);
    t.deepEqual(writtenInputs(type), []);
  }
});

test('assignments and most scatters take no gradient', (t) => {
  for (const type of ['Assign', 'AssignSub', 'ScatterUpdate', 'ResourceScatterMul'])
    t.false(takesGradient(type), type);
  for (const type of ['ScatterSub', 'ResourceScatterAdd', 'ApplyAdam']) t.true(takesGradient(type), type);
});

test('handles, state and numbers of outputs', (t) => {
  t.is(variableKind('VarHandleOp'), 'resource');
  t.is(variableKind('VariableV2'), 'reference');
  t.is(variableKind('Const'), undefined);
  for (const type of ['RandomUniform', 'AssignVariableOp', 'FIFOQueueV2', 'CollectiveReduceV2'])
    t.true(isStateful(type), type);
  for (const type of ['MatMul', 'NoOp', 'Identity', 'Const']) t.false(isStateful(type), type);
  t.deepEqual(
    ['NoOp', 'ResourceSparseApplyAdagrad', 'Unique', 'FusedBatchNormV3', 'MatMul', 'Unheard'].map(
      outputCount,
    ),
    [0, 0, 2, 6, 1, undefined],
  );
});
