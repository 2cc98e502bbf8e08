/**
 * Makers of TensorFlow's collective operations. Members are the tasks; keys are counted in the order of making, which is the same on all of
 * them. Between gRPC processes every member must give the same shape, and one that is not empty. Keys that are known are attributes: by
 * these TensorFlow tells one run with collectives from another, and those of different update groups may be under way together.
 */
import { attr, attributes } from '../graph/attributes.js';
import type { DType } from '../graph/dtype.js';
import type { Operation, Tensor } from '../graph/operation.js';
import type { BackgroundCollectives } from './background-collectives.js';
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

/** What a task gives to a collective. */
export interface Given {
  readonly tensor: Tensor;
  readonly dtype: DType;
  /** The hint of how to communicate. */
  readonly hint: string;
}

/** What has become of it. */
export interface Collected {
  readonly tensor: Tensor;
  /** The collective itself; `tensor` may be another's output. */
  readonly operation: Operation;
}

type Values = Parameters<typeof attributes>[0];

export class Collectives {
  readonly #members: number;
  readonly #background: BackgroundCollectives | undefined;
  readonly #made: Operation[] = [];
  /** Constants of each device. */
  readonly #constants = new Map<string, Tensor>();
  #lastKey = 0;

  /** `members`: the number of tasks. `background`: what runs them, where it is not the step. */
  constructor(members: number, background?: BackgroundCollectives) {
    this.#members = members;
    this.#background = background;
  }

  /** All operations made, in the order of their keys. */
  get made(): readonly Operation[] {
    return this.#made;
  }

  /** The sum over all tasks. */
  sum(site: Site, name: string, given: Given): Collected {
    return this.#add(site, name, 'CollectiveReduce', given, {
      ...this.#keys(),
      merge_op: attr.string('Add'),
      final_op: attr.string('Id'),
      subdiv_offsets: attr.list([attr.int(0)]),
    });
  }

  /** What all tasks give, one behind the other along axis 0. Each gives `rows`, the shape of an element of which is `row`. */
  gather(
    site: Site,
    name: string,
    given: Given,
    [rows, ...row]: readonly [rows: number, ...row: readonly number[]],
  ): Collected {
    const shape = attr.shape([rows * this.#members, ...row]);
    return this.#add(site, name, 'CollectiveGather', given, { ...this.#keys(), shape });
  }

  /**
   * As gather, where the number of rows differs from step to step. Under one key TensorFlow takes one shape for ever: `variants` tells them
   * apart, alike on all tasks.
   */
  gatherVariant(site: Site, name: string, given: Given, { variant, count }: Variants): Collected {
    const first = constant(site, newName(site, name, 'key'), 'int32', [this.#newKeys(count)]);
    const key = operation(site, newName(site, name, 'key_of_variant'), {
      type: 'AddV2',
      inputs: [first, variant],
      attributes: attributes({ T: attr.type('int32') }),
    }).output();
    const own = { is_stateless: attr.bool(false), Nordering_token: attr.int(0) };
    return this.#add(site, name, 'CollectiveGatherV2', given, own, key);
  }

  /** Makes a collective, in the step or beside it. Where `key` is given, it takes its keys as inputs. */
  #add(site: Site, name: string, type: string, given: Given, own: Values, key?: Tensor): Collected {
    const { tensor, dtype, hint } = given;
    const make = ([taken, ...keys]: readonly Tensor[]): Operation =>
      operation(site, newName(site, name), {
        type,
        inputs: [taken!, ...(keys.length > 0 ? this.#groupOf(site) : []), ...keys],
        attributes: attributes({
          T: attr.type(dtype),
          ...own,
          communication_hint: attr.string(hint),
          timeout_seconds: attr.float(0),
        }),
      });
    const taken = [[tensor, dtype] as const, ...(key === undefined ? [] : [[key, 'int32'] as const])];
    const collected =
      this.#background?.run(site, name, taken, make) ?? inStep(make(taken.map(([each]) => each)));
    this.#made.push(collected.operation);
    return collected;
  }

  /** The first of `count` keys that no other collective has. */
  #newKeys(count: number): number {
    const first = this.#lastKey + 1;
    this.#lastKey += count;
    return first;
  }

  /** Keys as attributes. */
  #keys(): Values {
    return {
      group_size: attr.int(this.#members),
      group_key: attr.int(GROUP_KEY),
      instance_key: attr.int(this.#newKeys(1)),
    };
  }

  /** Size and key of the group as inputs. */
  #groupOf(site: Site): readonly Tensor[] {
    return [this.#constant(site, 'members', this.#members), this.#constant(site, 'group_key', GROUP_KEY)];
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

function inStep(operation: Operation): Collected {
  return { tensor: operation.output(), operation };
}
