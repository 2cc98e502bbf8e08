/**
 * The conditions under which operations run in a step, where branches are operations of the graph (Switch, Merge): whatever takes something
 * of a branch, or waits for it, runs where the branch does. Loops are no conditions: what comes after one runs in every step.
 */
import { closesLoop } from '../graph/op-catalog.js';
import type { Operation, Tensor } from '../graph/operation.js';

export interface Condition {
  readonly predicate: Tensor;
  /** 1 where it has to be true. */
  readonly branch: number;
}

const ALWAYS: ReadonlySet<Condition> = new Set();

export class Conditions {
  readonly #of = new Map<Operation, ReadonlySet<Condition>>();
  /** The same condition is the same object. */
  readonly #known = new Map<Tensor, [Condition, Condition]>();

  /** `order`: all operations, in an order in which they can run. */
  constructor(order: readonly Operation[]) {
    if (!order.some(({ type }) => isSwitch(type))) return;
    for (const operation of order) {
      const conditions = this.#conditionsFor(operation);
      if (conditions.size > 0) this.#of.set(operation, conditions);
    }
  }

  of(operation: Operation): ReadonlySet<Condition> {
    return this.#of.get(operation) ?? ALWAYS;
  }

  #conditionsFor({ type, inputs, controlInputs }: Operation): ReadonlySet<Condition> {
    const waits = controlInputs.map((control) => this.of(control));
    if (!isMerge(type)) return union([...inputs.map((tensor) => this.#ofTensor(tensor)), ...waits]);
    const entries = inputs.filter(({ operation }) => !closesLoop(operation.type));
    return union([intersection(entries.map((tensor) => this.#ofTensor(tensor))), ...waits]);
  }

  #ofTensor({ operation, index }: Tensor): ReadonlySet<Condition> {
    const predicate = operation.inputs[1];
    if (!isSwitch(operation.type) || predicate === undefined || predicate.operation.type === 'LoopCond') {
      return this.of(operation);
    }
    return new Set([...this.of(operation), this.#condition(predicate, index)]);
  }

  #condition(given: Tensor, branch: number): Condition {
    let predicate = given;
    while (predicate.operation.type === 'Identity') predicate = predicate.operation.inputs[0]!;
    let both = this.#known.get(predicate);
    if (both === undefined) {
      both = [
        { predicate, branch: 0 },
        { predicate, branch: 1 },
      ];
      this.#known.set(predicate, both);
    }
    return both[branch === 0 ? 0 : 1];
  }
}

function isSwitch(type: string): boolean {
  return type === 'Switch' || type === 'RefSwitch';
}

function isMerge(type: string): boolean {
  return type === 'Merge' || type === 'RefMerge';
}

function union(sets: readonly ReadonlySet<Condition>[]): ReadonlySet<Condition> {
  const some = sets.filter(({ size }) => size > 0);
  return some.length < 2 ? (some[0] ?? ALWAYS) : new Set(some.flatMap((set) => [...set]));
}

function intersection([first = ALWAYS, ...rest]: readonly ReadonlySet<Condition>[]): ReadonlySet<Condition> {
  return new Set([...first].filter((condition) => rest.every((set) => set.has(condition))));
}
