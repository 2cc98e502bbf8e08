/** Update operations of optimizers, each one fused native call on the variable and its slots. Input positions are TensorFlow's. */
import type { IndexArray, NativeOptimizer } from '../../../addon/native.js';
import { GradsyncError } from '../../../errors.js';
import { updateRule } from '../../../graph/op-catalog.js';
import type { Operation } from '../../../graph/operation.js';
import type { TaskResources } from '../resources.js';
import type { Value } from '../value.js';
import { boolAttr } from './attributes.js';
import { sameShape } from './broadcast.js';
import { numeric, scalar } from './host.js';
import { handleAt, NOTHING, type ResourceKernel, type ResourceKernelTable } from './resource-kernel.js';

/** The scalar at an input. */
type Scalar = (position: number) => number;
/** Reads the attributes of an operation once, and its hyperparameters at every step. */
type ReadOptimizer = (operation: Operation) => (at: Scalar) => NativeOptimizer;

interface Optimizer {
  /** As in `ResourceApplyAdam`. */
  readonly name: string;
  readonly dense: ReadOptimizer;
  /** Where there are sparse operations: their hyperparameters' positions may differ. */
  readonly sparse?: ReadOptimizer;
}

const momentum =
  (kind: 'momentum' | 'kerasMomentum', last: number): ReadOptimizer =>
  (operation) => {
    const useNesterov = boolAttr(operation, 'use_nesterov', false);
    return (at) => ({ kind, lr: at(2), momentum: at(last), useNesterov });
  };

const adam: ReadOptimizer = (operation) => {
  const useNesterov = boolAttr(operation, 'use_nesterov', false);
  return (at) => ({ kind: 'adam', ...adamHyper(at, 3), useNesterov });
};

function adamHyper(at: Scalar, first: number) {
  return {
    beta1Power: at(first),
    beta2Power: at(first + 1),
    lr: at(first + 2),
    beta1: at(first + 3),
    beta2: at(first + 4),
    epsilon: at(first + 5),
  };
}

const adaMax: ReadOptimizer = () => (at) => ({
  kind: 'adaMax',
  beta1Power: at(3),
  lr: at(4),
  beta1: at(5),
  beta2: at(6),
  epsilon: at(7),
});

const adagrad: ReadOptimizer = (operation) => {
  const updateSlots = boolAttr(operation, 'update_slots', true);
  return (at) => ({ kind: 'adagrad', lr: at(2), updateSlots });
};

const adagradV2: ReadOptimizer = (operation) => {
  const updateSlots = boolAttr(operation, 'update_slots', true);
  return (at) => ({ kind: 'adagradV2', lr: at(2), epsilon: at(3), updateSlots });
};

const adadelta: ReadOptimizer = () => (at) => ({ kind: 'adadelta', lr: at(3), rho: at(4), epsilon: at(5) });

const rmsProp =
  (kind: 'rmsProp' | 'centeredRmsProp', first: number): ReadOptimizer =>
  () =>
  (at) => ({ kind, lr: at(first), rho: at(first + 1), momentum: at(first + 2), epsilon: at(first + 3) });

/** `first`: where lr is, after the gradient and, in sparse operations, the indices. */
const ftrl =
  (version: 1 | 2, first: number): ReadOptimizer =>
  (operation) => {
    const multiplyLinearByLr = boolAttr(operation, 'multiply_linear_by_lr', false);
    return (at) => ({
      kind: 'ftrl',
      lr: at(first),
      l1: at(first + 1),
      l2: at(first + 2),
      l2Shrinkage: version === 2 ? at(first + 3) : 0,
      lrPower: at(first + version + 2),
      multiplyLinearByLr,
    });
  };

const OPTIMIZERS: readonly Optimizer[] = [
  { name: 'GradientDescent', dense: () => (at) => ({ kind: 'gradientDescent', alpha: at(1) }) },
  { name: 'Momentum', dense: momentum('momentum', 4), sparse: momentum('momentum', 5) },
  { name: 'KerasMomentum', dense: momentum('kerasMomentum', 4), sparse: momentum('kerasMomentum', 5) },
  { name: 'Adam', dense: adam },
  { name: 'AdamWithAmsgrad', dense: () => (at) => ({ kind: 'adamWithAmsgrad', ...adamHyper(at, 4) }) },
  { name: 'AdaMax', dense: adaMax },
  { name: 'Adagrad', dense: adagrad, sparse: adagrad },
  { name: 'AdagradV2', dense: adagradV2, sparse: adagradV2 },
  { name: 'Adadelta', dense: adadelta, sparse: adadelta },
  { name: 'RMSProp', dense: rmsProp('rmsProp', 3), sparse: rmsProp('rmsProp', 3) },
  {
    name: 'CenteredRMSProp',
    dense: rmsProp('centeredRmsProp', 4),
    sparse: rmsProp('centeredRmsProp', 4),
  },
  { name: 'Ftrl', dense: ftrl(1, 4), sparse: ftrl(1, 5) },
  { name: 'FtrlV2', dense: ftrl(2, 4), sparse: ftrl(2, 5) },
];

export const OPTIMIZER_KERNELS: ResourceKernelTable = Object.fromEntries(kernels());

/** One kernel per optimizer and flavour that TensorFlow has. */
function* kernels(): Iterable<[string, ResourceKernel]> {
  for (const { name, dense, sparse } of OPTIMIZERS) {
    for (const flavour of ['Apply', 'ResourceApply', 'SparseApply', 'ResourceSparseApply']) {
      const type = flavour + name;
      const rule = updateRule(type);
      if (rule === undefined) continue;
      const positions = { slots: rule.slots, gradient: rule.gradient, indices: rule.indices };
      yield [type, update(positions, rule.indices === undefined ? dense : (sparse ?? dense))];
    }
  }
}

/** `slots` are the positions of the slot variables; `gradient` that of the gradient, with `indices` if it is sparse. */
interface Positions {
  readonly slots: readonly number[];
  readonly gradient: number;
  readonly indices: number | undefined;
}

function update(positions: Positions, read: ReadOptimizer): ResourceKernel {
  return {
    handles: [0, ...positions.slots],
    bind: (operation, resources: TaskResources) => {
      const variable = resources.variable(handleAt(operation, 0));
      const slots = positions.slots.map((at) => resources.variable(handleAt(operation, at)).native);
      const optimizer = read(operation);
      return (inputs) => {
        checkGradient(operation, variable.currentShape(), inputs, positions);
        const step = optimizer((position) => scalar(inputs[position]!));
        const gradient = numeric(inputs[positions.gradient]!);
        if (positions.indices === undefined) variable.native.applyDense(step, slots, gradient);
        else {
          const indices = inputs[positions.indices]!.host() as IndexArray;
          variable.native.applySparse(step, slots, gradient, indices);
        }
        return NOTHING;
      };
    },
  };
}

function checkGradient(
  operation: Operation,
  shape: readonly number[],
  inputs: readonly Value[],
  positions: Positions,
): void {
  const gradient = inputs[positions.gradient]!.shape;
  const indices = positions.indices === undefined ? undefined : inputs[positions.indices]!.shape;
  const expected = indices === undefined ? shape : [...indices, ...shape.slice(1)];
  if (sameShape(expected, gradient)) return;
  throw new GradsyncError('INVALID_ARGUMENT', `Gradient of "${operation.name}" (${operation.type})`, {
    expected: `shape [${expected}]`,
    received: `[${gradient}]`,
    remedy: 'check that the gradient belongs to this variable',
    operation: operation.name,
  });
}
