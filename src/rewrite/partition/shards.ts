/**
 * The shards of a variable and of what its optimizer keeps for it, and all that is computed shard by shard: operations are copied for each
 * shard when their results are asked for; what is not known to be computable so is computed whole and split.
 */
import { attr, attributes } from '../../graph/attributes.js';
import type { DType } from '../../graph/dtype.js';
import type { Graph } from '../../graph/graph.js';
import { baseName, joinName, printColocation } from '../../graph/name.js';
import { updateRule, writtenInputs } from '../../graph/op-catalog.js';
import type { Operation, Tensor } from '../../graph/operation.js';
import type { Variable } from '../../graph/training-graph.js';
import { colocationTargets } from '../../graph/verify.js';
import { dtypeOf } from '../dtype-of.js';
import { newName, operation, type Site } from '../make.js';
import type { VariableUses } from '../variable-uses.js';
import { type Cut, variableRead } from './cut.js';
import { described, notSplittable } from './errors.js';
import type { Kinds } from './kinds.js';
import { Pieces } from './pieces.js';

export const PASS = 'partition';

export class Shards {
  readonly graph: Graph;
  readonly cut: Cut;
  readonly uses: VariableUses;
  readonly pieces: Pieces;
  readonly #kinds: Kinds;
  /** Handles of the shards of each variable that is split. */
  readonly #handles = new Map<Variable, readonly Operation[]>();
  readonly #copies = new Map<Operation, readonly Operation[]>();
  readonly #parts: Map<Tensor, readonly Tensor[]>;

  /** `given`: parts of tensors that are there already. */
  constructor(
    graph: Graph,
    cut: Cut,
    { uses, kinds, members }: { uses: VariableUses; kinds: Kinds; members: ReadonlySet<Variable> },
    given: ReadonlyMap<Tensor, readonly Tensor[]>,
  ) {
    this.graph = graph;
    this.cut = cut;
    this.uses = uses;
    this.pieces = new Pieces(graph, cut);
    this.#kinds = kinds;
    this.#parts = new Map(given);
    for (const member of members) this.#handles.set(member, this.#makeHandles(member));
  }

  get members(): Iterable<Variable> {
    return this.#handles.keys();
  }

  handlesOf(member: Variable): readonly Operation[] {
    return this.#handles.get(member)!;
  }

  /** The copies that were made of an operation, one per shard. */
  copiesOf(original: Operation): readonly Operation[] | undefined {
    return this.#copies.get(original);
  }

  /** All operations of which there are copies. */
  copied(): readonly Operation[] {
    return [...this.#copies.keys()];
  }

  isMember(tensor: Tensor): boolean {
    const variable = this.uses.variableOf(tensor);
    return variable !== undefined && this.#handles.has(variable);
  }

  /** Whether a tensor is the value of a variable that is split. */
  isValue(tensor: Tensor): boolean {
    const variable = variableRead(tensor, this.uses);
    return variable !== undefined && this.#handles.has(variable);
  }

  /** What each shard takes in place of a tensor of the variable's shape, or in place of a handle of it. */
  partsOf(tensor: Tensor, dtype = this.cut.variable.dtype): readonly Tensor[] {
    let parts = this.#parts.get(tensor);
    if (parts === undefined) {
      parts = this.#makeParts(tensor, dtype);
      this.#parts.set(tensor, parts);
    }
    return parts;
  }

  /** Says what the parts of a tensor are. */
  give(tensor: Tensor, parts: readonly Tensor[]): void {
    this.#parts.set(tensor, parts);
  }

  /** The parts of row indices and of the rows that belong to them. */
  partsOfSlices(
    indices: Tensor,
    rows: Tensor,
    dtype: DType,
  ): { indices: readonly Tensor[]; rows: readonly Tensor[] } {
    const kinds = [this.#kinds.of(indices)?.kind, this.#kinds.of(rows)?.kind];
    if (kinds[0] === 'indices' && kinds[1] === 'rows') {
      return { indices: this.partsOf(indices), rows: this.partsOf(rows) };
    }
    return this.pieces.ofSlices(indices, rows, dtype);
  }

  #makeParts(tensor: Tensor, dtype: DType): readonly Tensor[] {
    const handles = this.#handles.get(this.uses.variableOf(tensor)!);
    if (handles !== undefined && tensor.operation === this.uses.variableOf(tensor)!.handle) {
      return handles.map((handle) => handle.output());
    }
    if (handles !== undefined || this.#kinds.of(tensor) !== undefined) {
      return this.copy(tensor.operation).map((copy) => copy.output(tensor.index));
    }
    return this.pieces.of(tensor, dtype);
  }

  /** Copies of an operation that reads, changes or computes from the variable: one for each shard, on its part. */
  copy(original: Operation): readonly Operation[] {
    let copies = this.#copies.get(original);
    if (copies === undefined) {
      copies = this.#makeCopies(original);
      this.#copies.set(original, copies);
    }
    return copies;
  }

  #makeCopies(original: Operation): readonly Operation[] {
    const changes = writtenInputs(original.type).length > 0 && this.isMember(original.inputs[0]!);
    const inputs = changes ? this.#inputsOfChange(original) : this.#inputsOf(original);
    const controls = original.controlInputs.map((control) =>
      this.runsPerShard(control) ? this.copy(control) : undefined,
    );
    return this.cut.sizes.map((_, shard) =>
      this.graph.add({
        name: newName(this.siteOf(shard), baseName(original.name)),
        type: original.type,
        inputs: original.inputs.map((input, position) => inputs[position]?.[shard] ?? input),
        controlInputs: original.controlInputs.map((control, i) => controls[i]?.[shard] ?? control),
        device: original.device,
        attributes: original.attributes.with(this.#ownAttributes(original, shard)),
        origin: { source: this.siteOf(shard).source, pass: PASS },
        extra: original.extra,
      }),
    );
  }

  /** Where operations for one shard are made. */
  siteOf(shard: number): Site {
    const { graph, cut } = this;
    return { graph, device: '', pass: PASS, source: this.handlesOf(cut.variable)[shard]!.name };
  }

  /** Whether an operation changes or reads the variable, or computes from its gradient what each shard can compute for itself. */
  runsPerShard({ type, inputs, outputs }: Operation): boolean {
    const [first] = inputs;
    if (first !== undefined && this.isMember(first) && writtenInputs(type).length > 0) return true;
    return outputs.some(
      (output) => output !== undefined && (this.isValue(output) || this.#kinds.of(output)?.fromGradient),
    );
  }

  /** Undefined for what all shards take alike. */
  #inputsOf(original: Operation): readonly (readonly Tensor[] | undefined)[] {
    return original.inputs.map((input) => {
      if (this.isMember(input) || this.#kinds.of(input) !== undefined) return this.partsOf(input);
      return this.#kinds.isConstantAlike(input) ? this.partsOf(input, dtypeOf(input)) : undefined;
    });
  }

  #inputsOfChange(original: Operation): readonly (readonly Tensor[] | undefined)[] {
    const { gradient, indices, slots } = updateRule(original.type)!;
    const { dtype } = this.uses.variableOf(original.inputs[0]!)!;
    const inputs = original.inputs.map((): readonly Tensor[] | undefined => undefined);
    for (const position of [0, ...slots]) {
      if (!this.isMember(original.inputs[position]!)) throw unlikeSlot(this.cut.variable, original, position);
      inputs[position] = this.partsOf(original.inputs[position]!);
    }
    if (indices === undefined) {
      inputs[gradient] = this.partsOf(original.inputs[gradient]!, dtype);
    } else {
      const parts = this.partsOfSlices(original.inputs[indices]!, original.inputs[gradient]!, dtype);
      inputs[indices] = parts.indices;
      inputs[gradient] = parts.rows;
    }
    return inputs;
  }

  /** Without shapes that were the whole's; colocated with the shard instead of the variable. */
  #ownAttributes(original: Operation, shard: number): Parameters<Operation['attributes']['with']>[0] {
    const targets = colocationTargets(original).map((name) => {
      const target = this.graph.find(name);
      if (target === undefined) return name;
      const variable = this.uses.variableOf(target.output());
      const handle = target === variable?.handle ? this.#handles.get(variable)?.[shard] : undefined;
      return handle?.name ?? this.#copies.get(target)?.[shard]?.name ?? name;
    });
    const group = targets.map((name) => attr.string(printColocation(name)));
    return { _output_shapes: undefined, _class: group.length === 0 ? undefined : attr.list(group) };
  }

  #makeHandles(member: Variable): readonly Operation[] {
    const { graph, cut } = this;
    const { handle } = member;
    const trained = member === cut.variable ? undefined : this.#handles.get(cut.variable);
    return cut.sizes.map((size, shard) => {
      const name = graph.uniqueName(joinName(member.name, `part_${shard}`));
      const beside = trained?.[shard];
      return graph.add({
        name,
        type: handle.type,
        device: handle.device,
        attributes: handle.attributes.with({
          shape: attr.shape(cut.shape.with(cut.axis, size)),
          shared_name: attr.string(name),
          _output_shapes: undefined,
          _class: beside === undefined ? undefined : attr.list([attr.string(printColocation(beside.name))]),
        }),
        origin: { source: name, pass: PASS },
      });
    });
  }

  /** The whole of a tensor that there are parts of, made of these: for those that do not work shard by shard. */
  whole(parts: readonly Tensor[], name: string, dtype: DType, axis = this.cut.axis): Operation {
    const { site } = this.pieces;
    const dimension = this.pieces.number('axis', [axis], 'int32');
    return operation(site, name, {
      type: 'ConcatV2',
      inputs: [...parts, dimension],
      attributes: attributes({ N: attr.int(parts.length), T: attr.type(dtype), Tidx: attr.type('int32') }),
    });
  }
}

function unlikeSlot(variable: Variable, update: Operation, position: number) {
  const expected = 'optimizer state of the same shape, which can be split with it';
  const received = `input ${position} of ${described(update)}, which is not`;
  return notSplittable(variable, expected, received, update);
}
