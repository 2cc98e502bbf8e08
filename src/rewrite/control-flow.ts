/** ControlFlow: what of a graph runs once in every step, and what is in a loop, or in a branch that may not be taken. */
import type { Graph } from '../graph/graph.js';
import { closesFrame, opensLoop } from '../graph/op-catalog.js';
import type { Operation } from '../graph/operation.js';
import { eachConsumer, Marks } from './walk.js';

export class ControlFlow {
  readonly #inside: Marks;

  constructor(graph: Graph) {
    this.#inside = new Marks(graph);
    const enter = (operation: Operation): void => {
      if (!closesFrame(operation.type) && !isBranchEnd(operation)) this.#inside.add(operation);
    };
    for (const operation of graph.operations()) if (opens(operation)) eachConsumer(operation, true, enter);
    for (let i = 0, operation = this.#inside.at(0); operation !== undefined; operation = this.#inside.at(++i))
      eachConsumer(operation, true, enter);
  }

  /** Whether an operation runs more than once or not at all. What opens a loop or a branch runs as what is around it. */
  isInside(operation: Operation): boolean {
    return this.#inside.has(operation);
  }

  /** Whether a tensor is there, and taken, once in every step. */
  isOnce(producer: Operation, taker: Operation): boolean {
    return !opens(producer) && !this.isInside(producer) && !this.isInside(taker);
  }
}

function opens({ type }: Operation): boolean {
  return opensLoop(type) || type === 'Switch' || type === 'RefSwitch';
}

/** A Merge after a branch; that of a loop begins with an Enter. */
function isBranchEnd({ type, inputs }: Operation): boolean {
  return (
    (type === 'Merge' || type === 'RefMerge') && !inputs.some(({ operation }) => opensLoop(operation.type))
  );
}
