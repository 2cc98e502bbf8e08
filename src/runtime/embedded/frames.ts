/**
 * Frames: which operations belong to which loop. What an Enter lets in is in its frame, and so is all that depends on that, up to the Exits.
 * A plan is made per frame: in that of the frame around it the whole loop is one node.
 */
import { GradsyncError } from '../../errors.js';
import { closesFrame, closesLoop, opensLoop } from '../../graph/op-catalog.js';
import type { Operation, Tensor } from '../../graph/operation.js';
import { boolAttr, stringAttr } from './kernels/attributes.js';
import { type Needed, orderOf } from './plan-order.js';

/** One loop; `undefined` is what stands outside of all loops. */
export interface Frame {
  readonly parent: Frame | undefined;
  readonly depth: number;
  readonly enters: readonly Operation[];
  /** Merges that begin with what an Enter lets in and go on with what a NextIteration gives. */
  readonly merges: readonly LoopMerge[];
  readonly exits: readonly Operation[];
  /** Stands for the whole loop in the plan around it. */
  readonly unit: Operation;
}

export interface LoopMerge {
  readonly merge: Operation;
  readonly enter: Operation;
  readonly next: Operation;
}

type Draft = {
  readonly parent: Frame | undefined;
  readonly depth: number;
  readonly enters: Operation[];
  readonly merges: LoopMerge[];
  readonly exits: Operation[];
  readonly unit: Operation;
};

export class Frames {
  readonly #frames = new Map<Operation, Frame>();
  readonly #entered = new Map<Frame | undefined, Map<string, Draft>>();

  /** Frames of all that `roots` need; undefined where none of it is in a loop, which costs a look at each operation. */
  static of(roots: readonly Operation[], needed: Needed): Frames | undefined {
    const reached = new Set(roots);
    for (const operation of reached) for (const other of needed(operation)) reached.add(other);
    for (const { type } of reached) if (opensLoop(type)) return new Frames(reached, needed);
    return undefined;
  }

  private constructor(reached: ReadonlySet<Operation>, needed: Needed) {
    const forward = (operation: Operation) => needed(operation).filter(({ type }) => !closesLoop(type));
    for (const operation of orderOf([...reached], forward)) this.#place(operation, forward(operation));
    for (const operation of reached) this.#noteMerge(operation);
  }

  frameOf(operation: Operation): Frame | undefined {
    return this.#frames.get(operation);
  }

  /** What stands for an operation in the plan of `frame`: itself, or the loop of that frame which it is in. */
  unitIn(frame: Frame | undefined, operation: Operation): Operation {
    let at = this.frameOf(operation);
    if (at === frame) return operation;
    while (at !== undefined && at.parent !== frame) at = at.parent;
    return at?.unit ?? operation;
  }

  /** The loop that `operation` stands for in the plan of `frame`. */
  loopAt(frame: Frame | undefined, operation: Operation): Frame | undefined {
    const own = this.frameOf(operation);
    return own !== undefined && own.unit === operation && own.parent === frame ? own : undefined;
  }

  /** Whether an operation is in a loop, or in one inside it. */
  isWithin(operation: Operation, frame: Frame): boolean {
    const own = this.frameOf(operation);
    return isWithin(closesFrame(operation.type) ? own?.parent : own, frame);
  }

  *operationsOf(frame: Frame): Iterable<Operation> {
    for (const [operation, own] of this.#frames) if (isWithin(own, frame)) yield operation;
  }

  #place(operation: Operation, before: readonly Operation[]): void {
    const around = this.#deepest(operation, before);
    if (!opensLoop(operation.type)) {
      if (around === undefined) return;
      this.#frames.set(operation, around);
      if (closesFrame(operation.type)) (around as Draft).exits.push(operation);
      return;
    }
    const frame = this.#enter(around, operation);
    frame.enters.push(operation);
    this.#frames.set(operation, frame);
  }

  #deepest(operation: Operation, before: readonly Operation[]): Frame | undefined {
    let deepest: Frame | undefined;
    for (const other of before) {
      const own = this.#frames.get(other);
      const frame = closesFrame(other.type) ? own?.parent : own;
      if (isWithin(frame, deepest)) deepest = frame;
      else if (!isWithin(deepest, frame)) throw mixedFrames(operation, other);
    }
    return deepest;
  }

  #enter(around: Frame | undefined, operation: Operation): Draft {
    const name = stringAttr(operation, 'frame_name');
    const inside = this.#entered.get(around) ?? new Map<string, Draft>();
    this.#entered.set(around, inside);
    let frame = inside.get(name);
    if (frame === undefined) {
      const depth = (around?.depth ?? 0) + 1;
      frame = { parent: around, depth, enters: [], merges: [], exits: [], unit: operation };
      inside.set(name, frame);
    }
    return frame;
  }

  #noteMerge(operation: Operation): void {
    if (operation.type !== 'Merge') return;
    const next = operation.inputs.find((input) => closesLoop(input.operation.type))?.operation;
    if (next === undefined) return;
    const enter = operation.inputs.find((input) => opensLoop(input.operation.type))?.operation;
    const frame = this.#frames.get(operation) as Draft | undefined;
    if (enter === undefined || frame === undefined) throw notALoop(operation);
    frame.merges.push({ merge: operation, enter, next });
  }
}

/** Whether an Enter lets in what is the same in all iterations. */
export function isInvariant(enter: Operation): boolean {
  return boolAttr(enter, 'is_constant');
}

/** Whether a frame is another one or lies inside it; all lie inside `undefined`. */
function isWithin(inner: Frame | undefined, outer: Frame | undefined): boolean {
  let at = inner;
  while (at !== undefined && at.depth > (outer?.depth ?? 0)) at = at.parent;
  return at === outer;
}

/** What an Enter lets in. */
export function entered(enter: Operation): Tensor {
  return enter.inputs[0]!;
}

function mixedFrames(operation: Operation, other: Operation): GradsyncError {
  return new GradsyncError('INVALID_ARGUMENT', `Operation "${operation.name}" (${operation.type})`, {
    expected: 'inputs from one loop, or from loops around it',
    received: `"${other.name}", which is in another loop`,
    remedy: 'let values out of a loop through an Exit',
    operation: operation.name,
  });
}

function notALoop({ name, type }: Operation): GradsyncError {
  return new GradsyncError('UNIMPLEMENTED', `Operation "${name}" (${type})`, {
    expected: 'a loop whose variables each come in by an Enter and go on by a NextIteration',
    received: 'a NextIteration without an Enter beside it',
    remedy: 'run this graph on TensorFlow',
    operation: name,
  });
}
