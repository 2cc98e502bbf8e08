/**
 * Reads of reference variables. In TensorFlow an Identity of a reference shares the variable's memory, so whoever takes it behind an update
 * sees the new value (`with tf.control_dependencies([train_op]): average.assign(variable)`). Here an Identity is a version of its own; what
 * is ordered behind a change of the variable therefore reads the variable again.
 */
import { writtenInputs } from '../../graph/op-catalog.js';
import type { Operation, Tensor } from '../../graph/operation.js';
import { referencedVariable } from './handles.js';

export class ReferenceReads {
  /** What control edges order behind a change, by variable. */
  readonly #behind = new Map<Operation, ReadonlySet<Operation>>();
  readonly #needed: ReadonlySet<Operation>;
  readonly #fed: ReadonlySet<Tensor>;

  /** `needed` is what the program runs. */
  constructor(needed: Iterable<Operation>, fed: ReadonlySet<Tensor>) {
    this.#needed = new Set(needed);
    this.#fed = fed;
  }

  /** The variable that `consumer` has to read again in place of `tensor`, if it is such a case. */
  readAgain(consumer: Operation, tensor: Tensor): Operation | undefined {
    const variable = this.#identityOf(tensor);
    if (variable === undefined) return undefined;
    let behind = this.#behind.get(variable);
    if (behind === undefined) {
      behind = this.#findBehind(variable);
      this.#behind.set(variable, behind);
    }
    return behind.has(consumer) ? variable : undefined;
  }

  /** The variable that Identities without an order of their own lead back to. */
  #identityOf(tensor: Tensor): Operation | undefined {
    for (let at: Tensor | undefined = tensor; at !== undefined; ) {
      const { type, controlInputs, inputs }: Operation = at.operation;
      if (this.#fed.has(at)) return undefined;
      if (at !== tensor && type !== 'Identity') {
        const variable = referencedVariable(at);
        return variable === at.operation ? variable : undefined;
      }
      if (type !== 'Identity' || controlInputs.length > 0) return undefined;
      at = inputs[0];
    }
    return undefined;
  }

  /** From the changes on, over at least one control edge: data alone is the old value beside the new one. */
  #findBehind(variable: Operation): ReadonlySet<Operation> {
    const data = new Set(this.#changesOf(variable));
    const behind = new Set<Operation>();
    for (const operation of data) {
      for (const waiting of operation.controlConsumers) if (this.#needed.has(waiting)) behind.add(waiting);
      for (const consumer of this.#consumers(operation)) data.add(consumer);
    }
    for (const operation of behind) {
      for (const next of operation.controlConsumers) if (this.#needed.has(next)) behind.add(next);
      for (const next of this.#consumers(operation)) behind.add(next);
    }
    return behind;
  }

  #changesOf(variable: Operation): Operation[] {
    const changes: Operation[] = [];
    for (const operation of this.#needed) {
      const writes = writtenInputs(operation.type).some((position) => {
        const written = operation.inputs[position];
        return written !== undefined && referencedVariable(written) === variable;
      });
      if (writes || isToken(operation)) changes.push(operation);
    }
    return changes;
  }

  *#consumers(operation: Operation): Iterable<Operation> {
    for (const output of operation.outputs) {
      for (const consumer of output?.consumers ?? []) if (this.#needed.has(consumer)) yield consumer;
    }
  }
}

/** Taken for the wait alone: it tells that another task has changed what they share. */
function isToken({ type, outputs }: Operation): boolean {
  return /^QueueDequeue(V2)?$/.test(type) && outputs.every((output) => (output?.consumers.size ?? 0) === 0);
}
