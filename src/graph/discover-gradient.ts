/** Finds the gradient that leads to a variable's update where nobody has named it. */
import type { GradientProofs } from './gradient-proof.js';
import { isHandleAlias, isReferenceAlias, isRowScaling, type UpdateRule, updateRule } from './op-catalog.js';
import type { Operation, Tensor } from './operation.js';
import type { Gradient } from './training-graph.js';
import type { Varies, WorkerDependence } from './worker-dependence.js';

export type Discovery =
  | {
      readonly gradient: Gradient;
      /** The tensors it is linear in: where backpropagation ends. */
      readonly origins: readonly Tensor[];
    }
  /** The operation because of which the earlier gradient has to be named. */
  | { readonly impurity: Operation };

export interface DiscoveryQuery extends WorkerDependence {
  /** The variable's handle. */
  readonly variable: Operation;
  readonly proofs: GradientProofs;
}

/** The gradient of an update whose type tells where it takes one (`takesGradient`). */
export function discoverGradient(update: Operation, query: DiscoveryQuery): Discovery {
  const rule = updateRule(update.type);
  const operand = rule && update.inputs[rule.gradient];
  if (rule === undefined || operand === undefined) return { impurity: update };
  const indices = rule.indices === undefined ? undefined : update.inputs[rule.indices];
  const gradient: Gradient =
    indices === undefined
      ? { kind: 'dense', tensor: operand }
      : sliceGradient(indices, operand, query.differs);
  const impurity =
    unresolvedSum(gradient) ??
    branchOrLoop(update, query.varies) ??
    varyingHyperparameter(update, rule, query.differs);
  if (impurity !== undefined) return { impurity };
  const tensor = gradient.kind === 'dense' ? gradient.tensor : gradient.values;
  const proof = query.proofs.prove(tensor, query.variable);
  return 'impurity' in proof ? proof : { gradient, origins: proof.gradients };
}

/** Where the update is in a loop, or is made on a condition of a worker's own: rounds of different workers would not be the same steps. */
function branchOrLoop(update: Operation, varies: Varies): Operation | undefined {
  let at: Operation | undefined = update.inputs[0]?.operation;
  for (let i = 0; i < MOST_STEPS && at !== undefined && isAlias(at.type); i++) {
    if (/Enter$|Merge$/.test(at.type)) return at;
    if (/Switch$/.test(at.type) && at.inputs[1] !== undefined && varies(at.inputs[1])) return at;
    at = at.inputs[0]?.operation;
  }
  return undefined;
}

function isAlias(type: string): boolean {
  return isHandleAlias(type) || isReferenceAlias(type);
}

/** A learning rate (momentum, decay, ...) that is computed from a worker's own values: one device would compute it from all. */
function varyingHyperparameter(update: Operation, rule: UpdateRule, varies: Varies): Operation | undefined {
  const others = new Set([0, ...rule.slots, rule.gradient, rule.indices]);
  return update.inputs.find((input, position) => !others.has(position) && varies(input))?.operation;
}

/**
 * The slices before the optimizer scaled them or added up repeated rows: added up per worker, they would come repeated once more from
 * every worker, to an update that expects each row once.
 */
function sliceGradient(indices: Tensor, values: Tensor, varies: Varies): Gradient {
  let at = { indices, values };
  for (let i = 0; i < MOST_STEPS; i++) {
    at = beforeSum(at.indices, at.values) ?? beforeScaling(at.indices, at.values, varies) ?? at;
  }
  return { kind: 'sparse', ...at, denseShape: undefined };
}

interface Slices {
  readonly indices: Tensor;
  readonly values: Tensor;
}

/** `UnsortedSegmentSum(values, Unique(indices))` with the unique indices: undone. */
function beforeSum(indices: Tensor, values: Tensor): Slices | undefined {
  const sum = behindIdentity(values).operation;
  const unique = behindIdentity(indices).operation;
  const isPair = sum.type === 'UnsortedSegmentSum' && /^Unique(V2)?$/.test(unique.type);
  const [rows, slots] = sum.inputs;
  const [repeated] = unique.inputs;
  if (!isPair || rows === undefined || repeated === undefined || slots !== unique.output(1)) return undefined;
  return { indices: repeated, values: rows };
}

/** A sum of repeated rows that could not be undone: aggregating behind it would give every row once per worker. */
function unresolvedSum(gradient: Gradient): Operation | undefined {
  if (gradient.kind === 'dense') return undefined;
  const { operation } = behindIdentity(gradient.values);
  return /SegmentSum/.test(operation.type) ? operation : undefined;
}

/** Values times what is the same for all workers, such as the negated learning rate: before that. */
function beforeScaling(indices: Tensor, values: Tensor, varies: Varies): Slices | undefined {
  const { operation } = behindIdentity(values);
  const [a, b] = operation.inputs;
  if (operation.type === 'Neg' && a !== undefined) return { indices, values: a };
  if (!isRowScaling(operation.type) || a === undefined || b === undefined) return undefined;
  if (!varies(b)) return { indices, values: a };
  return operation.type === 'Mul' && !varies(a) ? { indices, values: b } : undefined;
}

/** Longest chain that is followed: a damaged graph may have cycles. */
const MOST_STEPS = 100;

function behindIdentity(tensor: Tensor): Tensor {
  let at = tensor;
  for (let i = 0; i < MOST_STEPS && at.operation.type === 'Identity'; i++) at = at.operation.inputs[0] ?? at;
  return at;
}
