/**
 * What the tensors of an update have to do with a variable that is split: which can be computed shard by shard from what belongs to that
 * shard. Whatever is not known here is computed whole, and split afterwards.
 */
import { isConstant } from '../../graph/op-catalog.js';
import type { Tensor } from '../../graph/operation.js';
import type { Variable } from '../../graph/training-graph.js';
import { shapeOf } from '../replica-fetches.js';
import type { VariableUses } from '../variable-uses.js';
import { variableRead } from './cut.js';

export interface Known {
  /**
   * `aligned`: has the variable's shape, element for element. `indices`, `rows`: of slices, which are divided by the shard they fall into.
   * `own`: a number or a list of each shard's own, which makes no sense of the whole.
   */
  readonly kind: 'aligned' | 'rows' | 'indices' | 'own';
  /** Whether it is computed from the gradient, or from state that is. */
  readonly fromGradient: boolean;
}

/** Operations that compute each element from the elements at the same place. */
const ELEMENTWISE =
  /^(Identity|Neg|Square|Sqrt|Rsqrt|Reciprocal|Inv|Abs|Sign|Exp|Expm1|Log|Log1p|Tanh|Sigmoid|Relu|Cast|CheckNumerics|StopGradient|Floor|Ceil|Round|IsNan|IsInf|IsFinite|LogicalNot|ZerosLike|OnesLike|Add|AddV2|AddN|Sub|Mul|RealDiv|Div|DivNoNan|MulNoNan|Maximum|Minimum|Pow|SquaredDifference|Less|LessEqual|Greater|GreaterEqual|Equal|NotEqual|LogicalAnd|LogicalOr|SelectV2|ClipByValue)$/;
const RENUMBERING = /^(Identity|Cast)$/;

/** A chain longer than that is computed whole: it cannot be an optimizer's. */
const DEEPEST = 500;

export class Kinds {
  readonly #known = new Map<Tensor, Known | undefined>();
  readonly #shape: readonly number[];
  readonly #uses: VariableUses;
  readonly #members: ReadonlyMap<Variable, boolean>;

  /** `members`: the variables that are split, and whether their values come from the gradient. `given`: tensors of which it is known. */
  constructor(
    shape: readonly number[],
    members: ReadonlyMap<Variable, boolean>,
    uses: VariableUses,
    given: Iterable<readonly [Tensor, Known]>,
  ) {
    this.#shape = shape;
    this.#members = members;
    this.#uses = uses;
    for (const [tensor, known] of given) this.#known.set(tensor, known);
  }

  /** Undefined for what has to be computed whole. */
  of(tensor: Tensor, depth = 0): Known | undefined {
    if (this.#known.has(tensor)) return this.#known.get(tensor);
    if (depth > DEEPEST) return undefined;
    // In a loop a tensor is met again while it is looked at.
    this.#known.set(tensor, undefined);
    const known = this.#valueOf(tensor) ?? this.#computed(tensor, depth + 1);
    this.#known.set(tensor, known);
    return known;
  }

  #valueOf(tensor: Tensor): Known | undefined {
    const variable = variableRead(tensor, this.#uses);
    const fromGradient = variable && this.#members.get(variable);
    return fromGradient === undefined ? undefined : { kind: 'aligned', fromGradient };
  }

  #computed({ operation, index }: Tensor, depth: number): Known | undefined {
    const { type, inputs } = operation;
    const [first, second, third] = inputs.map((input) => this.of(input, depth));
    if (first?.kind === 'indices') {
      if (type === 'Unique') return index === 0 ? first : { ...first, kind: 'own' };
      if (RENUMBERING.test(type)) return first;
    }
    if (type === 'Shape' && first !== undefined && first.kind !== 'aligned') return { ...first, kind: 'own' };
    if (type === 'StridedSlice' && first?.kind === 'own' && second === undefined) return first;
    if (type === 'UnsortedSegmentSum' && first?.kind === 'rows') {
      return second?.kind === 'own' && third?.kind === 'own' ? first : undefined;
    }
    if (type === 'ResourceGather' && second?.kind === 'indices') return this.#gathered(inputs[0]!, second);
    if (/^Gather(V2)?$/.test(type) && first?.kind === 'aligned' && second?.kind === 'indices') {
      return { kind: 'rows', fromGradient: true };
    }
    return ELEMENTWISE.test(type) && index === 0 ? this.#elementwise(inputs, depth) : undefined;
  }

  #gathered(handle: Tensor, indices: Known): Known | undefined {
    const variable = this.#uses.variableOf(handle);
    return variable !== undefined && this.#members.has(variable) ? { ...indices, kind: 'rows' } : undefined;
  }

  /** All inputs of one kind, or scalars, or constants of the variable's shape. */
  #elementwise(inputs: readonly Tensor[], depth: number): Known | undefined {
    const known = inputs.map((input) => this.of(input, depth));
    const kinds = new Set(known.flatMap((each) => each?.kind ?? []));
    const [kind] = kinds;
    if (kinds.size !== 1 || (kind !== 'aligned' && kind !== 'rows')) return undefined;
    const fits = inputs.every(
      (input, i) =>
        known[i] !== undefined || isScalar(input) || (kind === 'aligned' && this.isConstantAlike(input)),
    );
    return fits ? { kind, fromGradient: known.some((each) => each?.fromGradient) } : undefined;
  }

  /** Whether it is a constant of the variable's shape. */
  isConstantAlike(tensor: Tensor): boolean {
    const shape = constantShape(tensor);
    return shape?.length === this.#shape.length && shape.every((dim, axis) => dim === this.#shape[axis]);
  }
}

function isScalar(tensor: Tensor): boolean {
  return (constantShape(tensor) ?? shapeOf(tensor))?.length === 0;
}

function constantShape({ operation }: Tensor): readonly number[] | undefined {
  const value = isConstant(operation.type) ? operation.attributes.get('value') : undefined;
  return value?.kind === 'tensor' ? value.value.shape : undefined;
}
