/**
 * Checkpoints that the graph itself writes and reads (SaveV2, RestoreV2): shards under the name of the whole, each with the slice it is, so
 * that the program for one device reads them as one tensor, and what it wrote is read slice by slice.
 */
import { type AttrValue, attr, attributes } from '../../graph/attributes.js';
import type { DType } from '../../graph/dtype.js';
import type { Graph } from '../../graph/graph.js';
import type { Operation, Tensor } from '../../graph/operation.js';
import { newName, operation, type Site, texts } from '../make.js';
import type { Cut } from './cut.js';

/** Position of the first tensor of SaveV2; prefix, names and slices come before. */
const FIRST = 3;

/** `10 4 0,5:0,4`: TensorFlow's way to write which part of a tensor of what shape. */
function printSlice({ axis, shape, sizes, offsets }: Cut, shard: number): string {
  const extents = shape.map((dim, i) => (i === axis ? `${offsets[shard]},${sizes[shard]}` : `0,${dim}`));
  return `${shape.join(' ')} ${extents.join(':')}`;
}

/** What is known of the checkpoints of a graph while its variables are split; written into the graph at the end. */
export class Checkpoints {
  readonly #graph: Graph;
  /** For each SaveV2 the parts that come in place of its inputs. */
  readonly #saved = new Map<
    Operation,
    Map<number, { readonly cut: Cut; readonly parts: readonly Tensor[] }>
  >();
  /** For each RestoreV2 the outputs that nothing takes any more. */
  readonly #dropped = new Map<Operation, Set<number>>();

  constructor(graph: Graph) {
    this.#graph = graph;
  }

  /** Makes a SaveV2 write parts in place of its input at `position`. False where that itself is a part of something. */
  save(save: Operation, position: number, cut: Cut, parts: readonly Tensor[]): boolean {
    const slices = stringsOf(save.inputs[2]);
    if (slices?.[position - FIRST] !== '' || stringsOf(save.inputs[1]) === undefined) return false;
    const own = this.#saved.get(save) ?? new Map();
    own.set(position, { cut, parts });
    this.#saved.set(save, own);
    return true;
  }

  /** The parts of a tensor that a checkpoint is read for; undefined where it is not that, or itself a part. */
  restored(tensor: Tensor, cut: Cut, site: Site, dtype: DType): readonly Tensor[] | undefined {
    const source = restoredBy(tensor);
    const [prefix, names, slices] = source?.operation.inputs ?? [];
    const name = stringsOf(names)?.[source?.index ?? 0];
    if (source === undefined || name === undefined || stringsOf(slices)?.[source.index] !== '')
      return undefined;
    const all = cut.sizes.map((_, shard) => printSlice(cut, shard));
    const restore = operation(site, newName(site, 'restore'), {
      type: 'RestoreV2',
      inputs: [
        prefix!,
        texts(
          site,
          newName(site, 'restore', 'names'),
          all.map(() => name),
        ),
        texts(site, newName(site, 'restore', 'slices'), all),
      ],
      after: source.operation.controlInputs,
      attributes: attributes({ dtypes: attr.list(all.map(() => attr.type(dtype))) }),
    });
    const dropped = this.#dropped.get(source.operation) ?? new Set();
    this.#dropped.set(source.operation, dropped.add(source.index));
    return all.map((_, shard) => restore.output(shard));
  }

  /** Edits the operations that write and read checkpoints. */
  finish(): void {
    for (const [save, replaced] of this.#saved) this.#expand(save, replaced);
    for (const [restore, dropped] of this.#dropped) this.#shrink(restore, dropped);
  }

  #expand(save: Operation, replaced: ReadonlyMap<number, { cut: Cut; parts: readonly Tensor[] }>): void {
    const names = stringsOf(save.inputs[1])!;
    const slices = stringsOf(save.inputs[2])!;
    const dtypes = itemsOf(save, 'dtypes');
    const rows = save.inputs.slice(FIRST).flatMap((tensor, i) => {
      const row = { name: names[i]!, slice: slices[i]!, dtype: dtypes[i]!, tensor };
      const own = replaced.get(i + FIRST);
      if (own === undefined) return [row];
      return own.parts.map((part, shard) => ({ ...row, slice: printSlice(own.cut, shard), tensor: part }));
    });
    const site = siteOf(this.#graph, save);
    this.#graph.setInputs(save, [
      save.inputs[0]!,
      texts(
        site,
        newName(site, 'names'),
        rows.map(({ name }) => name),
      ),
      texts(
        site,
        newName(site, 'slices'),
        rows.map(({ slice }) => slice),
      ),
      ...rows.map(({ tensor }) => tensor),
    ]);
    this.#graph.setAttributes(save, { dtypes: attr.list(rows.map(({ dtype }) => dtype)) });
  }

  /** Takes outputs out; those behind them move up. */
  #shrink(restore: Operation, dropped: ReadonlySet<number>): void {
    for (const i of dropped) {
      for (const handsOn of [...restore.output(i).consumers]) {
        const isUsed = handsOn.controlConsumers.size > 0 || handsOn.output().consumers.size > 0;
        if (handsOn.type === 'Identity' && !isUsed) this.#graph.remove(handsOn);
      }
    }
    const names = stringsOf(restore.inputs[1])!;
    const slices = stringsOf(restore.inputs[2])!;
    const isUsed = (i: number): boolean => (restore.outputs[i]?.consumers.size ?? 0) > 0;
    const kept = [...names.keys()].filter((i) => !dropped.has(i) || isUsed(i));
    if (kept.length === 0) {
      if (restore.controlConsumers.size === 0) this.#graph.remove(restore);
      return;
    }
    const site = siteOf(this.#graph, restore);
    const dtypes = itemsOf(restore, 'dtypes');
    for (const [to, from] of kept.entries()) {
      if (to !== from && isUsed(from)) this.#graph.replaceInput(restore.output(from), restore.output(to));
    }
    this.#graph.setInputs(restore, [
      restore.inputs[0]!,
      texts(
        site,
        newName(site, 'names'),
        kept.map((i) => names[i]!),
      ),
      texts(
        site,
        newName(site, 'slices'),
        kept.map((i) => slices[i]!),
      ),
    ]);
    this.#graph.setAttributes(restore, {
      dtypes: attr.list(kept.map((i) => dtypes[i]!)),
      _output_shapes: undefined,
    });
  }
}

function siteOf(graph: Graph, { name, device }: Operation): Site {
  return { graph, device, pass: 'partition', source: name };
}

/** The output of RestoreV2 that a tensor is, perhaps handed on. */
function restoredBy(tensor: Tensor): Tensor | undefined {
  const { operation: producer } = tensor;
  if (producer.type === 'RestoreV2') return tensor;
  const [input] = producer.inputs;
  return producer.type === 'Identity' && input?.operation.type === 'RestoreV2' ? input : undefined;
}

/** The elements of a constant of strings. */
function stringsOf(tensor: Tensor | undefined): readonly string[] | undefined {
  const value = tensor?.operation.attributes.get('value');
  return value?.kind === 'tensor'
    ? value.value.strings?.map((bytes) => Buffer.from(bytes).toString())
    : undefined;
}

function itemsOf({ attributes: values }: Operation, name: string): readonly AttrValue[] {
  const list = values.get(name);
  return list?.kind === 'list' ? list.items : [];
}
