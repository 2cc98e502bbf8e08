/**
 * How many contribute to a round. All tasks, with all their replicas, unless tasks may run out of data while others go on: then it is what
 * each step is fed.
 */
import { attr, attributes } from '../graph/attributes.js';
import type { DType } from '../graph/dtype.js';
import type { Graph } from '../graph/graph.js';
import type { Tensor } from '../graph/operation.js';
import { cast, constant, type NumberType, newName, operation, type Site } from './make.js';

/** What a step is fed: int32 scalars. */
export interface FedCounts {
  readonly tasks?: Tensor;
  readonly replicas?: Tensor;
}

type Counted = keyof FedCounts;

const NAMES: Readonly<Record<Counted, string>> = {
  tasks: 'contributors',
  replicas: 'contributing_replicas',
};

export class Contributors {
  readonly #counts: Readonly<Record<Counted, number>>;
  readonly #joins: boolean;
  readonly #site: Site;
  readonly #fed: { -readonly [Each in Counted]?: Tensor } = {};

  /** `joins`: whether tasks may run out of data while others go on. `cpu` is the task's. */
  constructor(graph: Graph, cpu: string, counts: Readonly<Record<Counted, number>>, joins: boolean) {
    this.#site = { graph, device: cpu, pass: 'join', source: '' };
    this.#counts = counts;
    this.#joins = joins;
  }

  /** Those that something takes. */
  get fed(): FedCounts {
    return this.#fed;
  }

  /** The number of tasks, or of all their replicas, as a scalar called `name`. */
  count(site: Site, name: string, counted: Counted, dtype: NumberType): Tensor {
    if (!this.#joins) return constant(site, newName(site, name), dtype, [this.#counts[counted]]);
    return cast(site, newName(site, name), this.#placeholder(counted), 'int32', dtype satisfies DType);
  }

  #placeholder(counted: Counted): Tensor {
    const types = { dtype: attr.type('int32'), shape: attr.shape([]) };
    const made =
      this.#fed[counted] ??
      operation(this.#site, newName(this.#site, NAMES[counted]), {
        type: 'Placeholder',
        attributes: attributes(types),
      }).output();
    this.#fed[counted] = made;
    return made;
  }
}
