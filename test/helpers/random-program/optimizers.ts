/** Update operations as TensorFlow's optimizers write them, dense and sparse. */
import type { DType, Operation, Tensor } from '../../../src/graph/index.js';
import type { OptimizerSpec } from './spec.js';
import type { ProgramGradient } from './tape.js';
import type { ProgramVariable, Variables } from './variables.js';
import type { GraphWriter, ShortAttributes } from './writer.js';

/** Large enough that an update is a smooth function of its gradient, whose rounding it must not magnify. */
const EPSILON = 0.1;

type Slices = Extract<ProgramGradient, { kind: 'sparse' }>;

export interface OptimizerContext {
  readonly writer: GraphWriter;
  readonly variables: Variables;
  readonly rate: Tensor;
  readonly ids: DType;
}

/** One optimizer and the variables that it updates. */
export class Optimizer {
  readonly #context: OptimizerContext;
  readonly #spec: OptimizerSpec;
  readonly #scope: string;
  readonly #updates: Operation[] = [];
  #control: readonly Operation[] = [];
  #powers: readonly ProgramVariable[] | undefined;

  constructor(context: OptimizerContext, spec: OptimizerSpec, scope: string) {
    this.#context = context;
    this.#spec = spec;
    this.#scope = scope;
  }

  /** After `control`. */
  update(variable: ProgramVariable, gradient: ProgramGradient, control: readonly Operation[]): void {
    const { writer } = this.#context;
    this.#control = control;
    const write = () =>
      gradient.kind === 'dense' ? this.#dense(variable, gradient.tensor) : this.#sparse(variable, gradient);
    this.#updates.push(writer.within(`${this.#scope}/update_${variable.name}`, write));
  }

  /** All that a training step has to wait for. */
  finish(): readonly Operation[] {
    const { writer, variables } = this.#context;
    if (this.#powers === undefined) return this.#updates;
    const assigned = this.#powers.map((power, i) =>
      writer.within(this.#scope, () => {
        const read = variables.areResources
          ? variables.readAfter(this.#updates, power)
          : variables.read(power);
        const value = writer
          .add('Mul', [read, writer.float(DECAYS[i]!)], { control: this.#updates })
          .output();
        return variables.assign('', power, value);
      }),
    );
    return [...this.#updates, ...assigned];
  }

  #dense(variable: ProgramVariable, gradient: Tensor): Operation {
    const { rate, writer: w } = this.#context;
    const float = (value: number): Tensor => w.float(value);
    const epsilon = float(EPSILON);
    const slot = (name: string, initial = 0): Tensor => this.#slot(variable, name, initial).handle.output();
    switch (this.#spec.kind) {
      case 'sgd':
        return this.#apply('ApplyGradientDescent', variable, [rate, gradient]);
      case 'momentum':
        return this.#apply('ApplyMomentum', variable, [slot('Momentum'), rate, gradient, float(0.9)], {
          use_nesterov: this.#spec.nesterov,
        });
      case 'adagrad':
        return this.#apply('ApplyAdagrad', variable, [slot('Adagrad', 0.1), rate, gradient], UPDATE_SLOTS);
      case 'adagrad-v2': {
        const inputs = [slot('Adagrad', 0.1), rate, epsilon, gradient];
        return this.#apply('ApplyAdagradV2', variable, inputs, UPDATE_SLOTS);
      }
      case 'rms-prop': {
        const slots = [slot('RMSProp', 1), slot('RMSProp_1')];
        return this.#apply('ApplyRMSProp', variable, [
          ...slots,
          rate,
          float(0.9),
          float(0.5),
          epsilon,
          gradient,
        ]);
      }
      case 'adam': {
        const slots = [slot('Adam'), slot('Adam_1')];
        const decays = DECAYS.map(float);
        const inputs = [...slots, ...this.#readPowers(), rate, ...decays, epsilon, gradient];
        return this.#apply('ApplyAdam', variable, inputs, { use_nesterov: this.#spec.nesterov });
      }
    }
  }

  #sparse(variable: ProgramVariable, slices: Slices): Operation {
    if (this.#spec.kind === 'sgd') return this.#scatter(variable, slices);
    const { rate, ids, writer: w } = this.#context;
    const { values, indices } = this.#summed(slices);
    const slot = (name: string, initial = 0): Tensor => this.#slot(variable, name, initial).handle.output();
    const more = { Tindices: ids };
    switch (this.#spec.kind) {
      case 'momentum': {
        const inputs = [slot('Momentum'), rate, values, indices, w.float(0.9)];
        return this.#apply('SparseApplyMomentum', variable, inputs, {
          ...more,
          use_nesterov: this.#spec.nesterov,
        });
      }
      case 'adagrad': {
        const inputs = [slot('Adagrad', 0.1), rate, values, indices];
        return this.#apply('SparseApplyAdagrad', variable, inputs, { ...more, ...UPDATE_SLOTS });
      }
      case 'adagrad-v2': {
        const inputs = [slot('Adagrad', 0.1), rate, w.float(EPSILON), values, indices];
        return this.#apply('SparseApplyAdagradV2', variable, inputs, { ...more, ...UPDATE_SLOTS });
      }
      case 'rms-prop': {
        const slots = [slot('RMSProp', 1), slot('RMSProp_1')];
        const inputs = [...slots, rate, w.float(0.9), w.float(0.5), w.float(EPSILON), values, indices];
        return this.#apply('SparseApplyRMSProp', variable, inputs, more);
      }
      case 'adam':
        return this.#composedAdam(variable, { kind: 'sparse', values, indices });
    }
  }

  #apply(
    type: string,
    { handle }: ProgramVariable,
    inputs: readonly Tensor[],
    more: ShortAttributes = {},
  ): Operation {
    const { writer, variables } = this.#context;
    const attributes = { T: 'float32', use_locking: false, ...more };
    return writer.add(variables.flavour(type), [handle.output(), ...inputs], {
      attributes,
      beside: handle.name,
      control: this.#control,
    });
  }

  /** Gradient descent, by rows: repeated ones add up by themselves. */
  #scatter(variable: ProgramVariable, { indices, values }: Slices): Operation {
    const { rate, variables, writer: w, ids } = this.#context;
    if (!variables.areResources) {
      const scaled = w.out('Mul', [values, rate]);
      return variables.scatter('Sub', variable, { indices, values: scaled, ids }, this.#control);
    }
    const scaled = w.out('Mul', [w.out('Neg', [values]), rate]);
    return variables.scatter('Add', variable, { indices, values: scaled, ids }, this.#control);
  }

  /** Each row once. */
  #summed({ indices, values }: Slices): { readonly indices: Tensor; readonly values: Tensor } {
    const { writer: w, ids } = this.#context;
    const unique = w.add('Unique', [indices], { attributes: { T: ids, out_idx: 'int32' } });
    const shape = w.out('Shape', [unique.output()], { T: ids, out_type: 'int32' });
    const count = w.out('StridedSlice', [shape, w.int([0]), w.int([1]), w.int([1])], {
      T: 'int32',
      Index: 'int32',
      begin_mask: 0,
      ellipsis_mask: 0,
      end_mask: 0,
      new_axis_mask: 0,
      shrink_axis_mask: 1,
    });
    const sums = w.out('UnsortedSegmentSum', [values, unique.output(1), count], {
      T: 'float32',
      Tindices: 'int32',
      Tnumsegments: 'int32',
    });
    return { indices: unique.output(), values: sums };
  }

  /** Adam of rows is no operation of its own: both slots decay whole, and rows are added to them. */
  #composedAdam(variable: ProgramVariable, slices: Slices): Operation {
    const { writer: w, variables, rate } = this.#context;
    const [power1, power2] = this.#readPowers();
    const one = (x: Tensor): Tensor => w.out('Sub', [w.float(1), x]);
    const corrected = w.out('RealDiv', [w.out('Mul', [rate, w.out('Sqrt', [one(power2!)])]), one(power1!)]);
    const moments = [slices.values, w.out('Mul', [slices.values, slices.values])].map((values, i) =>
      this.#moment(
        this.#slot(variable, ['Adam', 'Adam_1'][i]!, 0),
        { ...slices, values },
        w.float(DECAYS[i]!),
      ),
    );
    const [first, second] = moments;
    const root = w.out('AddV2', [w.out('Sqrt', [second!.read]), w.float(EPSILON)]);
    const change = w.out('RealDiv', [w.out('Mul', [corrected, first!.read]), root]);
    const update = variables.assign('Sub', variable, change, {
      beside: variable.name,
      control: this.#control,
    });
    const control = [update, ...moments.map(({ read }) => read.operation)];
    return w.add('NoOp', [], { attributes: {}, control, beside: variable.name });
  }

  #moment(slot: ProgramVariable, { indices, values }: Slices, decay: Tensor): { readonly read: Tensor } {
    const { writer: w, variables, ids } = this.#context;
    const fresh = w.out('Mul', [values, w.out('Sub', [w.float(1), decay])]);
    const decayed = variables.assign('', slot, w.out('Mul', [variables.read(slot), decay]));
    const added = variables.scatter('Add', slot, { indices, values: fresh, ids }, [decayed]);
    // A change of a reference gives the reference back.
    return { read: variables.areResources ? variables.readAfter([decayed, added], slot) : added.output() };
  }

  #slot({ name, shape }: ProgramVariable, suffix: string, initial: number): ProgramVariable {
    return this.#context.variables.make(`${name}/${suffix}`, shape, initial, name);
  }

  #readPowers(): readonly Tensor[] {
    const { variables } = this.#context;
    this.#powers ??= DECAYS.map((decay, i) => variables.make(`${this.#scope}/beta${i + 1}_power`, [], decay));
    return this.#powers.map((power) => variables.read(power));
  }
}

/** Adam's, of its first and second moment. */
const DECAYS: readonly number[] = [0.9, 0.99];
const UPDATE_SLOTS = { update_slots: true };
