/**
 * Scope: what a plan sees of a graph: the operations of one loop's frame, or those outside of all loops, with every loop inside as one unit.
 * It knows what must have run before what.
 */
import { GradsyncError } from '../../errors.js';
import { closesFrame } from '../../graph/op-catalog.js';
import type { Operation, Tensor } from '../../graph/operation.js';
import type { Binder } from './binding.js';
import { type Frame, Frames } from './frames.js';
import { resourceKind } from './handles.js';

export class Scope {
  readonly fed: ReadonlySet<Tensor>;
  readonly frame: Frame | undefined;
  readonly #binder: Binder;
  /** Of the frame's own Enters and Merges: their values are fed. */
  readonly #given: ReadonlySet<Operation>;
  readonly #needed = new Map<Operation, readonly Operation[]>();
  #frames: Frames | undefined;

  /** What stands outside of all loops, as far as `roots` need it. */
  static outer(binder: Binder, fed: readonly Tensor[], roots: readonly Operation[]): Scope {
    const scope = new Scope(binder, fed);
    scope.#frames = Frames.of(roots, (operation) => scope.#find(operation));
    // What was found without frames is not of units.
    scope.#needed.clear();
    return scope;
  }

  private constructor(binder: Binder, fed: readonly Tensor[], frames?: Frames, frame?: Frame) {
    this.#binder = binder;
    this.fed = new Set(fed);
    this.#frames = frames;
    this.frame = frame;
    this.#given = new Set(
      frame === undefined ? [] : [...frame.enters, ...frame.merges.map(({ merge }) => merge)],
    );
  }

  /** The scope of the loop `frame`, with what is fed in each iteration. */
  inside(frame: Frame, fed: readonly Tensor[]): Scope {
    return new Scope(this.#binder, fed, this.#frames, frame);
  }

  /** The operations that must have run before `operation`, which is one of this scope. */
  readonly needed = (operation: Operation): readonly Operation[] => {
    let needed = this.#needed.get(operation);
    if (needed === undefined) {
      const loop = this.loopAt(operation);
      needed = loop === undefined ? this.#units(this.#find(operation)) : this.#before(loop);
      this.#needed.set(operation, needed);
    }
    return needed;
  };

  /** The operation itself, or what stands for the loop it is in. */
  unit(operation: Operation): Operation {
    return this.#frames?.unitIn(this.frame, operation) ?? operation;
  }

  /** The loop that an operation of this scope stands for. */
  loopAt(operation: Operation): Frame | undefined {
    return this.#frames?.loopAt(this.frame, operation);
  }

  /** What a fetch asks for: an operation of this scope, or a loop for what comes out of it. */
  root(operation: Operation): Operation {
    const unit = this.unit(operation);
    if (unit === operation || closesFrame(operation.type)) return unit;
    throw new GradsyncError('INVALID_ARGUMENT', `Fetch "${operation.name}" (${operation.type})`, {
      expected: 'an operation outside of loops',
      received: 'one that runs once in every iteration',
      remedy: 'let its value out of the loop, as one of the loop variables',
      operation: operation.name,
    });
  }

  /** What an operation, or a loop, waits for without taking a value. */
  controls(operation: Operation): readonly Operation[] {
    return this.loopAt(operation) === undefined
      ? this.#units(operation.controlInputs.filter((control) => !isTrivial(control)))
      : this.needed(operation);
  }

  #find(operation: Operation): Operation[] {
    const { unused } = this.#binder.bind(operation);
    const result: Operation[] = [];
    operation.inputs.forEach((tensor, position) => {
      if (!this.fed.has(tensor) && !unused.includes(position)) result.push(tensor.operation);
    });
    result.push(...operation.controlInputs);
    return result.filter((dependency) => !isTrivial(dependency) && !this.#given.has(dependency));
  }

  #units(operations: readonly Operation[]): readonly Operation[] {
    if (this.#frames === undefined) return operations;
    return operations.filter((each) => this.#isHere(each)).map((each) => this.unit(each));
  }

  /** What stands outside of a loop has run before it; a constant is as good inside. */
  #isHere(operation: Operation): boolean {
    const { frame } = this;
    if (frame === undefined || operation.type === 'Const') return true;
    return this.#frames!.isWithin(operation, frame);
  }

  /** What all of a loop needs from around it. */
  #before(loop: Frame): readonly Operation[] {
    const found = new Set<Operation>();
    for (const operation of this.#frames!.operationsOf(loop)) {
      for (const other of this.#find(operation)) {
        if (!this.#frames!.isWithin(other, loop)) found.add(other);
      }
    }
    return this.#units([...found]);
  }
}

/** A handle operation that nothing orders: it has no work to do and is left out of the order. */
export function isTrivial(operation: Operation): boolean {
  return resourceKind(operation) !== undefined && operation.controlInputs.length === 0;
}
