/**
 * Proves that a tensor is the gradient of another, or of several in sum: by walking backpropagation back step by step, in line with the
 * forward pass. A claim "this tensor is the gradient of the results of that operation" holds if it is a linear function of tensors for
 * which the same holds, or the derivative of a forward operation that those results go into, multiplied with what is the gradient of that
 * one's results. So every factor that varies between workers has to be explained by a forward operation of its own, up to the loss.
 *
 * Claims that other claims need are gone through once, whichever variable they serve. One is refuted when every way to it is; those in
 * a circle (loops) hold as long as nothing refutes them.
 */
import { concatenated } from './concatenation.js';
import { type GraphFacts, incomingGradients } from './derivative.js';
import { carriedFrom, endsOf, type ForwardUse, ForwardUses, unchanged } from './forward-uses.js';
import { linearOperands } from './linear-operations.js';
import { isInputSource, updateRule, variableKind } from './op-catalog.js';
import type { Operation, Tensor } from './operation.js';

export interface ProofFacts extends Omit<GraphFacts, 'endsOf'> {
  /** Whether a tensor may differ between workers by value, or because their shares differ in size. */
  readonly differs: (tensor: Tensor) => boolean;
  /** Whether an operation is needed for the update of a variable. */
  readonly isTraining: (operation: Operation) => boolean;
  /** What changes the variable of that handle during a step. */
  readonly changesOf: (handle: Operation) => readonly Operation[];
}

/** That `tensor` is the gradient of the results of `of`. */
interface Statement {
  readonly tensor: Tensor;
  readonly of: Operation;
  /**
   * Whether the program may have had its hands on it: nothing but linear operations lies between it and an update. Then factors that
   * count a worker's examples have to be explained as well.
   */
  readonly isOuter: boolean;
}

interface Way {
  readonly to: Claim;
  isOpen: boolean;
}

interface Claim extends Statement {
  /** Ways to it that are not refuted; none yet while it has not been looked at. */
  open: number;
  isRefuted: boolean;
  /** Ways of other claims that need this one. */
  readonly neededBy: Way[];
  /** The claims that it holds by, if it is a linear operation. */
  linear: readonly Claim[] | undefined;
}

/** The result of a proof. */
export type Proof =
  /** Where backpropagation ends: tensors that only linear operations separate from the one in question. */
  | { readonly gradients: readonly Tensor[] }
  /** The last operation of which it cannot be told what it does to a gradient. */
  | { readonly impurity: Operation };

export class GradientProofs {
  readonly #facts: ProofFacts & GraphFacts;
  readonly #claims = new Map<Tensor, { outer: Map<Operation, Claim>; inner: Map<Operation, Claim> }>();
  readonly #uses = new Map<Operation, ForwardUses>();
  readonly #objectives = new Map<Operation, boolean>();
  readonly #unexplored: Claim[] = [];

  constructor(facts: ProofFacts) {
    const ends = new Map<Operation, ReadonlySet<Tensor>>();
    this.#facts = { ...facts, endsOf: (forward) => cached(ends, forward, () => endsOf(forward)) };
  }

  /** Whether `tensor`, which an update takes, is linear in gradients of the variable with coefficients that are the same for all workers. */
  prove(tensor: Tensor, variable: Operation): Proof {
    const claim = this.#claim({ tensor, of: variable, isOuter: true });
    for (let next = this.#unexplored.pop(); next !== undefined; next = this.#unexplored.pop())
      this.#explore(next);
    const gradients = gradientsOf(claim);
    const isProven = !claim.isRefuted || isFedGradient(gradients);
    return isProven ? { gradients } : { impurity: impurityOf(claim) };
  }

  #claim({ tensor, of, isOuter }: Statement): Claim {
    const claims = cached(this.#claims, tensor, () => ({ outer: new Map(), inner: new Map() }));
    const known = claims[isOuter ? 'outer' : 'inner'];
    const found = known.get(of);
    if (found !== undefined) return found;
    const claim: Claim = { tensor, of, isOuter, open: 0, isRefuted: false, neededBy: [], linear: undefined };
    known.set(of, claim);
    this.#unexplored.push(claim);
    return claim;
  }

  #explore(claim: Claim): void {
    const linear = this.#linearWay(claim)?.map((statement) => this.#claim(statement));
    claim.linear = linear;
    if (linear !== undefined) addWay(claim, linear);
    if (linear?.length !== 0) {
      for (const way of this.#derivativeWays(claim))
        addWay(
          claim,
          way.map((statement) => this.#claim(statement)),
        );
    }
    if (claim.open === 0) refute(claim);
  }

  /** What it is linear in; nothing, if it is the same for all workers. */
  #linearWay({ tensor, of, isOuter }: Statement): readonly Statement[] | undefined {
    const { varies, differs, changesOf } = this.#facts;
    const matters = isOuter ? differs : varies;
    const { operation } = tensor;
    // The gradient of an array begins with zeros.
    if (!matters(tensor) || /^TensorArrayGrad/.test(operation.type)) return [];
    const operands =
      variableKind(operation.type) !== undefined
        ? accumulated(changesOf(operation))
        : (linearOperands(operation, matters, varies) ?? assigned(operation));
    return operands?.map((operand) => ({ tensor: operand, of, isOuter }));
  }

  *#derivativeWays({ tensor, of, isOuter }: Statement): Iterable<readonly Statement[]> {
    if (isInputSource(tensor.operation.type)) return;
    const uses = this.#usesOf(of);
    for (const use of uses.meeting(tensor)) {
      if (isOuter && isSeed(tensor, use)) yield [];
      for (const incoming of this.#incoming(tensor, use))
        yield incoming.map((each) => ({ tensor: each, of: use.forward, isOuter: false }));
    }
    if (isOuter) {
      yield* wholes(tensor, uses.sums);
      yield* parts(tensor, uses.concatenations);
    } else yield* this.#customWays(tensor, uses.custom);
  }

  /** As incomingGradients, for what is no input of the forward operation. A constant comes from behind only what a loss is linear in. */
  #incoming(tensor: Tensor, use: ForwardUse): readonly (readonly Tensor[])[] {
    const { operation } = tensor;
    const ways = incomingGradients(tensor, use, this.#facts);
    if (ways.length === 0 || (operation !== use.forward && this.#facts.needs(use.forward, operation)))
      return [];
    return ways.filter((way) => way.length > 0 || this.#isObjective(use.forward));
  }

  /** Whether the results reach, by linear operations, what no update needs: a loss. */
  #isObjective(forward: Operation): boolean {
    const { isTraining, varies } = this.#facts;
    return cached(this.#objectives, forward, () =>
      [...carriedFrom(forward, varies)].some(({ operation }) => !isTraining(operation)),
    );
  }

  #usesOf(operation: Operation): ForwardUses {
    return cached(this.#uses, operation, () => new ForwardUses(operation, this.#facts));
  }

  /**
   * The program may have defined the derivative of an operation as it likes (tf.custom_gradient), as long as that is computed from the
   * operation's inputs and results and from gradients of these results.
   */
  *#customWays(tensor: Tensor, custom: readonly Operation[]): Iterable<readonly Statement[]> {
    for (const forward of custom) {
      const way = this.#customWay(tensor, forward);
      if (way !== undefined) yield way;
    }
  }

  #customWay(tensor: Tensor, forward: Operation): readonly Statement[] | undefined {
    const { varies } = this.#facts;
    const ends = this.#facts.endsOf(forward);
    const uses = this.#usesOf(forward);
    const found: Statement[] = [];
    const seen = new Set([tensor]);
    for (const at of seen) {
      if (!varies(at) || ends.has(unchanged(at))) continue;
      if (uses.meeting(at).some((use) => this.#incoming(at, use).length > 0)) {
        found.push({ tensor: at, of: forward, isOuter: false });
        continue;
      }
      if (at.operation.inputs.length === 0 || isInputSource(at.operation.type) || seen.size > MOST_TENSORS)
        return undefined;
      for (const input of at.operation.inputs) seen.add(input);
    }
    return found;
  }
}

/** Tensors of one derivative that a program defines; beyond, the pair is asked for. */
const MOST_TENSORS = 64;

function addWay(to: Claim, claims: readonly Claim[]): void {
  const way: Way = { to, isOpen: claims.every(({ isRefuted }) => !isRefuted) };
  if (!way.isOpen) return;
  to.open++;
  for (const claim of claims) claim.neededBy.push(way);
}

function refute(claim: Claim): void {
  const refuted = [claim];
  claim.isRefuted = true;
  for (let next = refuted.pop(); next !== undefined; next = refuted.pop()) {
    for (const way of next.neededBy) {
      if (!way.isOpen) continue;
      way.isOpen = false;
      way.to.open--;
      if (way.to.open > 0 || way.to.isRefuted) continue;
      way.to.isRefuted = true;
      refuted.push(way.to);
    }
  }
}

/** What has been added up in a variable: linear in all that was assigned, added and subtracted, and in nothing else. */
function accumulated(changes: readonly Operation[]): readonly Tensor[] | undefined {
  const operands: Tensor[] = [];
  for (const change of changes) {
    const rule = updateRule(change.type);
    const operand = rule && change.inputs[rule.gradient];
    if (operand === undefined || !/^(Assign|(Resource)?Scatter(Add|Sub)$)/.test(change.type))
      return undefined;
    operands.push(operand);
  }
  return operands;
}

/** An assignment to a reference variable gives the variable back. */
function assigned({ type, inputs }: Operation): readonly Tensor[] | undefined {
  return /^Assign(Add|Sub)?$/.test(type) ? inputs.slice(0, 2) : undefined;
}

/** A loss is differentiated by itself: ones in its shape. */
function isSeed({ operation }: Tensor, { forward }: ForwardUse): boolean {
  return operation.type === 'Fill' && forward.type === 'Shape' && operation.inputs[0]?.operation === forward;
}

/** The derivative of a sum (or mean) over a worker's examples gives every one the whole (or its share of it). */
function* wholes({ operation }: Tensor, sums: readonly Operation[]): Iterable<readonly Statement[]> {
  const share = operation.type === 'RealDiv' ? operation.inputs[0]?.operation : undefined;
  for (const sum of sums) {
    const tensor = spread(sum.type === 'Mean' ? share : operation);
    if (tensor !== undefined) yield [{ tensor, of: sum, isOuter: true }];
  }
}

/** The derivative of a concatenation gives each of its parts what is at its place, which the sizes of all parts tell. */
function* parts(tensor: Tensor, concatenations: readonly ForwardUse[]): Iterable<readonly Statement[]> {
  for (const use of concatenations) {
    const whole = concatenated(tensor, use);
    if (whole !== undefined) yield [{ tensor: whole, of: use.forward, isOuter: true }];
  }
}

function spread(operation: Operation | undefined): Tensor | undefined {
  return operation !== undefined && /^(Tile|BroadcastTo)$/.test(operation.type)
    ? operation.inputs[0]
    : undefined;
}

function cached<K, V>(known: Map<K, V>, key: K, make: () => V): V {
  let value = known.get(key);
  if (value === undefined) {
    value = make();
    known.set(key, value);
  }
  return value;
}

/** Follows linear operations back to where they end: at what cannot be told, or at gradients. */
function impurityOf(claim: Claim): Operation {
  const seen = new Set([claim]);
  for (let at = claim; ; ) {
    const next = at.linear?.find((each) => each.isRefuted && !seen.has(each));
    if (next === undefined) return at.tensor.operation;
    seen.add(next);
    at = next;
  }
}

/** Where linear operations begin; not before what holds without them. */
function gradientsOf(claim: Claim): readonly Tensor[] {
  const seen = new Set([claim]);
  const found: Tensor[] = [];
  for (const at of seen) {
    const { linear = [], isRefuted, tensor } = at;
    const isGradient = !isRefuted && linear.some((each) => each.isRefuted);
    if (linear.length === 0 || isGradient) found.push(tensor);
    else for (const next of linear) seen.add(next);
  }
  return found;
}

/** A gradient may be computed elsewhere and fed; beside another one, what is fed is something else. */
function isFedGradient(tensors: readonly Tensor[]): boolean {
  return tensors.length === 1 && tensors.every(({ operation }) => /^Placeholder/.test(operation.type));
}
