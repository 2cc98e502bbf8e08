/** Variables of a program, as resources or as references, and what is done to them. */
import { attr, type DType, elementCount, type Operation, type Tensor } from '../../../src/graph/index.js';
import type { GraphWriter, Settings } from './writer.js';

export interface ProgramVariable {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly handle: Operation;
  readonly initializer: Operation;
  /** The read that an export has for every variable. */
  readonly value: Tensor;
}

export class Variables {
  readonly all: ProgramVariable[] = [];
  readonly #writer: GraphWriter;
  readonly #isResource: boolean;

  constructor(writer: GraphWriter, kind: 'resource' | 'reference') {
    this.#writer = writer;
    this.#isResource = kind === 'resource';
  }

  /** The name of an operation that updates: `ResourceApplyAdam`, or `ApplyAdam`. */
  flavour(type: string): string {
    return this.#isResource ? `Resource${type}` : type;
  }

  get areResources(): boolean {
    return this.#isResource;
  }

  /** A float32 variable that begins with these values, or with one for all elements. */
  make(
    name: string,
    shape: readonly number[],
    values: Float32Array | number,
    beside?: string,
  ): ProgramVariable {
    const filled = typeof values === 'number' ? new Float32Array(elementCount(shape)).fill(values) : values;
    const initial = this.#writer.float(filled, shape, `${name}/Initializer/value`);
    return this.#make({ name, shape, dtype: 'float32' }, initial, beside);
  }

  /** An int64 scalar that begins with 0. */
  makeCounter(name: string): ProgramVariable {
    const initial = this.#writer.within(`${name}/Initializer`, () => this.#writer.long(0n));
    return this.#make({ name, shape: [], dtype: 'int64' }, initial);
  }

  /** Resources are read by an operation of its own each time. */
  read(variable: ProgramVariable): Tensor {
    return this.#isResource ? this.readAfter([], variable) : variable.value;
  }

  readAfter(control: readonly Operation[], { dtype, handle }: ProgramVariable): Tensor {
    const [type, attributes] = this.#isResource
      ? (['ReadVariableOp', { dtype }] as const)
      : (['Identity', { T: dtype }] as const);
    return this.#writer.add(type, [handle.output()], { attributes, control }).output();
  }

  assign(
    kind: '' | 'Add' | 'Sub',
    { handle, dtype }: ProgramVariable,
    value: Tensor,
    more: Settings = {},
  ): Operation {
    const type = this.#isResource ? `Assign${kind}VariableOp` : `Assign${kind}`;
    const attributes = this.#isResource ? { dtype } : { T: dtype, use_locking: false };
    return this.#writer.add(type, [handle.output(), value], { ...more, attributes });
  }

  scatter(
    kind: 'Add' | 'Sub',
    { handle, dtype }: ProgramVariable,
    slices: { readonly indices: Tensor; readonly values: Tensor; readonly ids: DType },
    control: readonly Operation[] = [],
  ): Operation {
    const { indices, values, ids } = slices;
    const own = this.#isResource ? { dtype } : { T: dtype, use_locking: false };
    const settings = { attributes: { ...own, Tindices: ids }, control };
    return this.#writer.add(this.flavour(`Scatter${kind}`), [handle.output(), indices, values], settings);
  }

  /** Rows of a table. */
  gather(table: ProgramVariable, indices: Tensor, ids: DType): Tensor {
    const w = this.#writer;
    const { dtype } = table;
    if (this.#isResource) {
      const attributes = { dtype, Tindices: ids, batch_dims: 0, validate_indices: true };
      return w.out('ResourceGather', [table.handle.output(), indices], attributes);
    }
    const attributes = { Tparams: dtype, Tindices: ids, Taxis: 'int32', batch_dims: 0 };
    return w.out('GatherV2', [this.read(table), indices, w.int(0)], attributes);
  }

  #make(
    { name, shape, dtype }: Pick<ProgramVariable, 'name' | 'shape' | 'dtype'>,
    initial: Tensor,
    beside = name,
  ): ProgramVariable {
    const w = this.#writer;
    const attributes = { dtype, shape: attr.shape(shape), container: attr.string('') };
    const own = this.#isResource ? attr.string(name) : attr.string('');
    const type = this.#isResource ? 'VarHandleOp' : 'VariableV2';
    const handle = w.add(type, [], { name, attributes: { ...attributes, shared_name: own }, beside });
    const [assign, values] = this.#isResource
      ? (['AssignVariableOp', { dtype }] as const)
      : (['Assign', { T: dtype, use_locking: true, validate_shape: true }] as const);
    const initializer = w.add(assign, [handle.output(), initial], {
      name: `${name}/Assign`,
      attributes: values,
      beside,
    });
    const [read, settings] = this.#isResource
      ? (['ReadVariableOp', { name: `${name}/Read/ReadVariableOp`, attributes: { dtype } }] as const)
      : (['Identity', { name: `${name}/read`, attributes: { T: dtype }, beside }] as const);
    const value = w.add(read, [handle.output()], settings).output();
    const variable = { name, shape, dtype, handle, initializer, value };
    this.all.push(variable);
    return variable;
  }
}
