/**
 * Which operations of the forward pass a tensor goes into, unchanged but for linear operations: the derivatives of these are what its
 * gradient is made of.
 */
import { isLinearIn, isProduct, isQuotient } from './linear-operations.js';
import { updateRule } from './op-catalog.js';
import type { Operation, Tensor } from './operation.js';
import type { Varies } from './worker-dependence.js';

/** A forward operation, and the tensor among its inputs whose derivative is in question. */
export interface ForwardUse {
  readonly forward: Operation;
  readonly taken: Tensor;
}

/** Tensors that are looked at for one search; beyond, the pair is asked for. */
const MOST_TENSORS = 2000;

/** What is asked of the whole graph again and again. */
export interface ForwardFacts {
  readonly varies: Varies;
  /** Inputs and outputs of an operation, as they were before they were reshaped. */
  readonly endsOf: (forward: Operation) => ReadonlySet<Tensor>;
}

/** Forward operations that the values of one operation go into, with the tensors that they take. Nearest first. */
export class ForwardUses {
  readonly sums: readonly Operation[];
  readonly concatenations: readonly ForwardUse[];
  /** Those whose derivative the program defines (tf.custom_gradient). */
  readonly custom: readonly Operation[];
  readonly #facts: ForwardFacts;
  readonly #byEnd = new Map<Tensor, ForwardUse[]>();

  constructor(operation: Operation, facts: ForwardFacts) {
    this.#facts = facts;
    const found = new Set<Operation>();
    const concatenations: ForwardUse[] = [];
    for (const taken of carriedFrom(operation, facts.varies)) {
      for (const forward of taken.consumers) {
        if (updateRule(forward.type) !== undefined) continue;
        found.add(forward);
        this.#add({ forward, taken });
        if (/^Concat(V2)?$/.test(forward.type)) concatenations.push({ forward, taken });
      }
    }
    this.sums = [...found].filter(({ type }) => type === 'Sum' || type === 'Mean');
    this.concatenations = concatenations;
    this.custom = [...found].filter(hasCustomGradient);
  }

  #add(use: ForwardUse): void {
    for (const end of this.#facts.endsOf(use.forward)) {
      const uses = this.#byEnd.get(end);
      if (uses === undefined) this.#byEnd.set(end, [use]);
      else uses.push(use);
    }
  }

  /** Those with an input or result that `derivative` is, takes, or takes a factor computed from. */
  meeting(derivative: Tensor): readonly ForwardUse[] {
    const found = new Set<ForwardUse>();
    const seen = new Set([derivative, ...derivative.operation.inputs].map(unchanged));
    for (const tensor of seen) {
      for (const use of this.#byEnd.get(tensor) ?? []) found.add(use);
      const isFactor = seen.size <= MOST_FACTOR_TENSORS && isElementwise(tensor.operation);
      if (!isFactor || !this.#facts.varies(tensor)) continue;
      for (const input of tensor.operation.inputs) seen.add(unchanged(input));
    }
    return [...found];
  }
}

export function endsOf(forward: Operation): ReadonlySet<Tensor> {
  return new Set([...forward.inputs, ...outputsOf(forward)].map(unchanged));
}

export function hasCustomGradient(operation: Operation): boolean {
  return operation.type === 'IdentityN' && operation.attributes.get('_gradient_op_type') !== undefined;
}

/** Tensors that a factor such as `2 * v` or `1 / (1 + v * v)` is computed from at most. */
export const MOST_FACTOR_TENSORS = 24;
const ELEMENTWISE =
  /^(Mul|MulNoNan|Neg|Square|Reciprocal|Inv|Sign|Abs|Exp|Expm1|Log|Log1p|Pow|Sqrt|Rsqrt|Sin|Cos|Tan|Sinh|Cosh|Tanh|Sigmoid|Digamma|Add|AddV2|Sub|RealDiv|Div|DivNoNan|Greater|GreaterEqual|Less|LessEqual|Equal|NotEqual|Logical.*|Select|SelectV2|Sum|Max|Cumprod|Cumsum|Prod|Cast|Reshape|Transpose|Identity|Softmax|BroadcastTo|Tile)$/;

/** Whether a derivative may have a factor that is computed so. */
export function isElementwise({ type }: Operation): boolean {
  return ELEMENTWISE.test(type);
}

/** The values of an operation, and what linear operations make of them. */
export function carriedFrom(operation: Operation, varies: Varies): ReadonlySet<Tensor> {
  const carried = new Set(valuesOf(operation));
  for (const taken of carried) {
    for (const forward of taken.consumers) {
      if (carried.size > MOST_TENSORS) return carried;
      if (updateRule(forward.type) !== undefined || !handsOn(forward, taken, varies)) continue;
      const outputs = outputsOf(forward);
      for (const output of outputs.length > 0 ? outputs : [forward.output()]) carried.add(output);
    }
  }
  return carried;
}

/**
 * Whether the derivative for an input follows from that for the outputs by a linear operation: all but products of two tensors that vary.
 * (A function of variables alone is the same for all workers, whatever it does.)
 */
function handsOn(forward: Operation, taken: Tensor, varies: Varies): boolean {
  if (!outputsOf(forward).some(varies)) return true;
  if (forward.type === 'LogSoftmax') return true;
  const position = forward.inputs.indexOf(taken);
  if (!isLinearIn(forward, position)) return false;
  const others = forward.inputs.filter((input) => input !== taken && varies(input));
  const isScaled = isProduct(forward) || isQuotient(forward);
  return !isScaled || (others.length === 0 && forward.inputs.lastIndexOf(taken) === position);
}

/** Losses that give their derivative along, as output 1. */
export function givesDerivativeAlong({ type }: Operation): boolean {
  return /^((Sparse)?SoftmaxCrossEntropyWithLogits|CTCLoss(V2)?)$/.test(type);
}

/** The results of an operation that a loss can be computed from. */
function valuesOf(operation: Operation): readonly Tensor[] {
  return givesDerivativeAlong(operation) ? [operation.output(0)] : outputsOf(operation);
}

export function outputsOf({ outputs }: Operation): readonly Tensor[] {
  return outputs.filter((output) => output !== undefined);
}

const SAME_VALUES =
  /^(Identity|StopGradient|PreventGradient|Snapshot|Reshape|Transpose|ConjugateTranspose|Conj|Cast|Squeeze|ExpandDims|BroadcastTo|Enter)$/;

/** The tensor behind operations that keep its values, such as a reshape, or a stack that carries it from one loop to another. */
export function unchanged(tensor: Tensor): Tensor {
  let at = tensor;
  for (let i = 0; i < 100; i++) {
    const earlier = before(at);
    if (earlier === undefined) return at;
    at = earlier;
  }
  return at;
}

function before(tensor: Tensor): Tensor | undefined {
  const { type, inputs } = tensor.operation;
  if (SAME_VALUES.test(type)) return inputs[0];
  if (type === 'IdentityN') return inputs[tensor.index];
  if (type !== 'StackPopV2') return undefined;
  const [value, ...others] = poppedFrom(tensor.operation);
  return others.length === 0 ? value : undefined;
}

/** What a loop pushes on the stack that its derivative pops from. */
export function poppedFrom({ inputs }: Operation): readonly Tensor[] {
  const found: Tensor[] = [];
  const aliases = new Set(inputs.slice(0, 1).map(unchanged));
  for (const alias of aliases) {
    for (const consumer of alias.consumers) {
      if (consumer.type === 'StackPushV2') found.push(...consumer.inputs.slice(1, 2));
      if (/^(Enter|Identity)$/.test(consumer.type)) aliases.add(consumer.output(0));
    }
  }
  return found;
}
