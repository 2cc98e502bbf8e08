/**
 * Makers of TensorFlow's collective operations. Members are the tasks; keys are counted in the order of making, which is the same on all of
 * them. Between gRPC processes every member must give the same shape, and one that is not empty.
 */
import { attr, attributes } from '../graph/attributes.js';
import type { DType } from '../graph/dtype.js';
import type { Operation, Tensor } from '../graph/operation.js';
import { constant, newName, operation, type Site } from './make.js';

/** All tasks; of keys that a program's own collectives may have, a high one is the least likely. */
const GROUP_KEY = 0x67726164;

/** Element types that both the reduction and the gathering are made for. */
export const COLLECTIVE_TYPES: ReadonlySet<DType> = new Set<DType>(['float16', 'float32', 'float64']);

/** Which of `count` shapes a step's tensor has: an int32 scalar. */
export interface Variants {
  readonly variant: Tensor;
  readonly count: number;
}

export class Collectives {
  readonly #members: number;
  readonly #made: Operation[] = [];
  /** Constants of each device. */
  readonly #constants = new Map<string, Tensor>();
  #lastKey = 0;

  /** `members`: the number of tasks. */
  constructor(members: number) {
    this.#members = members;
  }

  /** All operations made, in the order of their keys. */
  get made(): readonly Operation[] {
    return this.#made;
  }

  /** The sum over all tasks. */
  sum(site: Site, name: string, input: Tensor, dtype: DType, hint: string): Tensor {
    return this.#add(site, name, 'CollectiveReduceV2', input, dtype, {
      merge_op: attr.string('Add'),
      final_op: attr.string('Id'),
      communication_hint: attr.string(hint),
      max_subdivs_per_device: attr.int(-1),
    });
  }

  /**
   * What all tasks give, one behind the other along axis 0. Under one key TensorFlow takes one shape for ever: where shapes differ from step
   * to step, `variants` tells them apart, alike on all tasks.
   */
  gather(site: Site, name: string, input: Tensor, dtype: DType, hint: string, variants?: Variants): Tensor {
    const own = { communication_hint: attr.string(hint) };
    return this.#add(site, name, 'CollectiveGatherV2', input, dtype, own, variants);
  }

  #add(
    site: Site,
    name: string,
    type: string,
    input: Tensor,
    dtype: DType,
    own: Parameters<typeof attributes>[0],
    variants?: Variants,
  ): Tensor {
    const made = operation(site, newName(site, name), {
      type,
      inputs: [
        input,
        this.#constant(site, 'members', this.#members),
        this.#constant(site, 'group_key', GROUP_KEY),
        this.#key(site, name, variants),
      ],
      attributes: attributes({
        T: attr.type(dtype),
        ...own,
        timeout_seconds: attr.float(0),
        is_stateless: attr.bool(false),
        Nordering_token: attr.int(0),
      }),
    });
    this.#made.push(made);
    return made.output();
  }

  #key(site: Site, name: string, variants: Variants | undefined): Tensor {
    const first = constant(site, newName(site, name, 'key'), 'int32', [this.#lastKey + 1]);
    this.#lastKey += variants?.count ?? 1;
    if (variants === undefined) return first;
    return operation(site, newName(site, name, 'key_of_variant'), {
      type: 'AddV2',
      inputs: [first, variants.variant],
      attributes: attributes({ T: attr.type('int32') }),
    }).output();
  }

  #constant(site: Site, name: string, value: number): Tensor {
    const key = `${name} ${site.device}`;
    let found = this.#constants.get(key);
    if (found === undefined) {
      const shared = { ...site, source: '' };
      found = constant(shared, newName(shared, 'collective', name), 'int32', [value]);
      this.#constants.set(key, found);
    }
    return found;
  }
}
