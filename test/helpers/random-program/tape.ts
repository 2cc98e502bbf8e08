/**
 * Records what a forward pass computes, and writes its gradients the way `tf.gradients` does: step by step from behind, partial gradients
 * added up by AddN, those of rows kept as slices, several gradients of one step tied together by a group.
 */
import type { DType, Tensor } from '../../../src/graph/index.js';
import type { ProgramVariable, Variables } from './variables.js';
import type { GraphWriter } from './writer.js';

/** A tensor of the forward pass. Dimension -1 is unknown. */
export interface Value {
  readonly tensor: Tensor;
  readonly shape: readonly number[];
  /** Whether a variable is behind it. */
  readonly isTrained: boolean;
}

export type ProgramGradient =
  | { readonly kind: 'dense'; readonly tensor: Tensor }
  | { readonly kind: 'sparse'; readonly indices: Tensor; readonly values: Tensor };

/** The gradient of each input, written when asked for. */
type Derivatives = readonly (() => Tensor)[];

interface Step {
  readonly scope: string;
  readonly inputs: readonly Value[];
  readonly result: Value;
  readonly derive: (dy: Tensor) => Derivatives;
}

interface Lookup {
  readonly result: Value;
  readonly table: ProgramVariable;
  readonly ids: Value;
  readonly scope: string;
}

interface Collected {
  readonly dense: Tensor[];
  readonly slices: { readonly indices: Tensor; readonly values: Tensor }[];
}

export class Tape {
  readonly #steps: (Step | Lookup)[] = [];
  readonly #reads = new Map<Value, ProgramVariable>();

  constructor(
    readonly writer: GraphWriter,
    readonly variables: Variables,
    readonly idsType: DType,
    readonly bareIds: boolean,
  ) {}

  input(tensor: Tensor, shape: readonly number[]): Value {
    return { tensor, shape, isTrained: false };
  }

  read(variable: ProgramVariable): Value {
    const value = { tensor: this.variables.read(variable), shape: variable.shape, isTrained: true };
    this.#reads.set(value, variable);
    return value;
  }

  /** Notes that `tensor` is what these inputs come to. */
  record(
    inputs: readonly Value[],
    { tensor, shape }: Pick<Value, 'tensor' | 'shape'>,
    derive: Step['derive'],
  ): Value {
    const result = { tensor, shape, isTrained: inputs.some(({ isTrained }) => isTrained) };
    this.#steps.push({ scope: tensor.operation.name, inputs, result, derive });
    return result;
  }

  gather(table: ProgramVariable, ids: Value): Value {
    const tensor = this.variables.gather(table, ids.tensor, this.idsType);
    const result = { tensor, shape: [...ids.shape, ...table.shape.slice(1)], isTrained: true };
    this.#steps.push({ scope: tensor.operation.name, table, ids, result });
    return result;
  }

  /** Of every variable that the loss depends on. */
  gradients(loss: Value): ReadonlyMap<ProgramVariable, ProgramGradient> {
    const w = this.writer;
    const partials = new Map<Value, Tensor[]>();
    const collected = new Map<ProgramVariable, Collected>();
    w.within('gradients', () => {
      const ones = w.out('Fill', [w.int([]), w.float(1)], { T: 'float32', index_type: 'int32' });
      partials.set(loss, [ones]);
    });
    for (const step of this.#steps.toReversed()) {
      const parts = partials.get(step.result);
      if (parts === undefined) continue;
      const dy = w.within('gradients', () => this.#sum(parts));
      w.within(`gradients/${step.scope}_grad`, () => {
        if ('table' in step) collect(collected, step.table).slices.push(this.#slices(step, dy));
        else this.#backward(step, dy, partials);
      });
    }
    for (const [value, variable] of this.#reads)
      collect(collected, variable).dense.push(...(partials.get(value) ?? []));
    const found = [...collected].filter(([, { dense, slices }]) => dense.length + slices.length > 0);
    return w.within(
      'gradients',
      () => new Map(found.map(([variable, parts]) => [variable, this.#whole(variable, parts)])),
    );
  }

  #backward({ inputs, derive }: Step, dy: Tensor, partials: Map<Value, Tensor[]>): void {
    const derivatives = derive(dy);
    const trained = inputs.flatMap((input, i) =>
      input.isTrained ? [{ input, gradient: derivatives[i]!() }] : [],
    );
    const tied = trained.length > 1 ? this.#tie(trained.map(({ gradient }) => gradient)) : undefined;
    for (const [i, { input, gradient }] of trained.entries()) {
      const found = partials.get(input) ?? [];
      partials.set(input, [...found, tied?.[i] ?? gradient]);
    }
  }

  /** Several gradients of one step go on together. */
  #tie(gradients: readonly Tensor[]): readonly Tensor[] {
    const w = this.writer;
    const control = [...new Set(gradients.map(({ operation }) => operation))];
    const group = w.add('NoOp', [], { attributes: {}, control });
    return gradients.map((gradient) =>
      w.add('Identity', [gradient], { control: [group], beside: gradient.operation.name }).output(),
    );
  }

  #sum(parts: readonly Tensor[]): Tensor {
    if (parts.length === 1) return parts[0]!;
    return this.writer.out('AddN', parts, { T: 'float32', N: parts.length });
  }

  /** `IndexedSlices` of a lookup: ids of any rank as a vector, and a row for each. */
  #slices({ table, ids }: Lookup, dy: Tensor): { indices: Tensor; values: Tensor } {
    const w = this.writer;
    const T = this.idsType;
    const size = w.out('Size', [ids.tensor], { T, out_type: 'int32' });
    const count = w.out('ExpandDims', [size, w.int(0)], { T: 'int32', Tdim: 'int32' });
    const row = w.int(table.shape.slice(1));
    const shape = w.out('ConcatV2', [count, row, w.int(0)], { T: 'int32', Tidx: 'int32', N: 2 });
    const values = w.out('Reshape', [dy, shape], { T: 'float32', Tshape: 'int32' });
    if (this.bareIds && ids.shape.length === 1) return { values, indices: ids.tensor };
    return { values, indices: w.out('Reshape', [ids.tensor, count], { T, Tshape: 'int32' }) };
  }

  #whole({ shape }: ProgramVariable, { dense, slices }: Collected): ProgramGradient {
    const w = this.writer;
    if (dense.length === 0) return { kind: 'sparse', ...this.#joined(slices) };
    const sums = slices.map(({ indices, values }) =>
      w.out('UnsortedSegmentSum', [values, indices, w.int(shape[0]!)], {
        T: 'float32',
        Tindices: this.idsType,
        Tnumsegments: 'int32',
      }),
    );
    return { kind: 'dense', tensor: this.#sum([...dense, ...sums]) };
  }

  #joined(slices: Collected['slices']): Collected['slices'][number] {
    const w = this.writer;
    if (slices.length === 1) return slices[0]!;
    const join = (parts: readonly Tensor[], T: DType): Tensor =>
      w.out('ConcatV2', [...parts, w.int(0)], { T, Tidx: 'int32', N: parts.length });
    return {
      values: join(
        slices.map(({ values }) => values),
        'float32',
      ),
      indices: join(
        slices.map(({ indices }) => indices),
        this.idsType,
      ),
    };
  }
}

function collect(collected: Map<ProgramVariable, Collected>, variable: ProgramVariable): Collected {
  const found = collected.get(variable) ?? { dense: [], slices: [] };
  collected.set(variable, found);
  return found;
}
