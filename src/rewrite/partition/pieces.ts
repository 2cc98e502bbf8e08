/** Makes the pieces of whole tensors: along an axis, or of slices by the shard that their rows fall into. */
import { attr, attributes } from '../../graph/attributes.js';
import type { DType } from '../../graph/dtype.js';
import type { Graph } from '../../graph/graph.js';
import type { Operation, Tensor } from '../../graph/operation.js';
import { dtypeOf } from '../dtype-of.js';
import { cast, constant, type NumberType, newName, operation, type Site } from '../make.js';
import type { Cut } from './cut.js';

type IndexType = Extract<NumberType, 'int32' | 'int64'>;

/** Row indices, for each shard those that fall into it, counted from its first row. */
export interface SplitIndices {
  readonly parts: readonly Tensor[];
  /** Of every index the number of its shard: divides what belongs to the indices in the same way. */
  readonly shards: Tensor;
}

export class Pieces {
  readonly site: Site;
  readonly #cut: Cut;

  constructor(graph: Graph, cut: Cut) {
    this.#cut = cut;
    this.site = { graph, device: '', pass: 'partition', source: cut.variable.name };
  }

  /** Along the axis. */
  of(tensor: Tensor, dtype: DType): readonly Tensor[] {
    const { axis, sizes } = this.#cut;
    const types = { num_split: attr.int(sizes.length), T: attr.type(dtype), Tlen: attr.type('int64') };
    const split = this.#make('split', {
      type: 'SplitV',
      inputs: [
        tensor,
        this.number('sizes', sizes, 'int64', [sizes.length]),
        this.number('axis', [axis], 'int32'),
      ],
      attributes: attributes(types),
    });
    return sizes.map((_, shard) => split.output(shard));
  }

  ofSlices(
    indices: Tensor,
    rows: Tensor,
    dtype: DType,
  ): { indices: readonly Tensor[]; rows: readonly Tensor[] } {
    const { parts, shards } = this.ofIndices(indices);
    return { indices: parts, rows: this.dealt(rows, dtype, shards) };
  }

  ofIndices(indices: Tensor): SplitIndices {
    const dtype = dtypeOf(indices) as IndexType;
    const shards = this.#shardsOf(indices, dtype);
    const { offsets } = this.#cut;
    const parts = this.dealt(indices, dtype, shards).map((part, shard) =>
      this.#binary('Sub', 'own_indices', part, this.number('offset', [offsets[shard]!], dtype), dtype),
    );
    return { parts, shards };
  }

  /** Indices of one shard as those of the whole. */
  wholeIndices(part: Tensor, shard: number, dtype: DType): Tensor {
    const offset = this.number('offset', [this.#cut.offsets[shard]!], dtype as IndexType);
    return this.#binary('AddV2', 'whole_indices', part, offset, dtype);
  }

  /** For each shard the rows that are marked with its number, in their order. */
  dealt(rows: Tensor, dtype: DType, shards: Tensor): readonly Tensor[] {
    const count = this.#cut.sizes.length;
    const deal = this.#make('deal', {
      type: 'DynamicPartition',
      inputs: [rows, shards],
      attributes: attributes({ num_partitions: attr.int(count), T: attr.type(dtype) }),
    });
    return Array.from({ length: count }, (_, shard) => deal.output(shard));
  }

  /** The shard of each row: the larger ones come first, and have one row more. */
  #shardsOf(indices: Tensor, dtype: IndexType): Tensor {
    const { sizes } = this.#cut;
    const small = sizes.at(-1)!;
    const larger = sizes.filter((size) => size > small).length;
    const quotient = (of: Tensor, size: number): Tensor =>
      this.#binary('FloorDiv', 'quotient', of, this.number('size', [size], dtype), dtype);
    let shards: Tensor;
    if (larger === 0) {
      shards = quotient(indices, small);
    } else {
      const later = this.#binary('Sub', 'later', indices, this.number('larger', [larger], dtype), dtype);
      const both = [quotient(indices, small + 1), quotient(later, small)] as const;
      shards = this.#binary('Maximum', 'shard', ...both, dtype);
    }
    return cast(this.site, newName(this.site, 'shard_number'), shards, dtype, 'int32');
  }

  number(name: string, values: readonly number[], dtype: NumberType, shape: readonly number[] = []): Tensor {
    return constant(this.site, newName(this.site, name), dtype, values, shape);
  }

  #binary(type: string, name: string, a: Tensor, b: Tensor, dtype: DType): Tensor {
    return this.#make(name, {
      type,
      inputs: [a, b],
      attributes: attributes({ T: attr.type(dtype) }),
    }).output();
  }

  #make(name: string, node: Parameters<typeof operation>[2]): Operation {
    return operation(this.site, newName(this.site, name), node);
  }
}
