/** What a training step does with gradients: decay, updates, averages, and `train_op` after all of it. */
import type { Operation, Tensor } from '../../../src/graph/index.js';
import { changed } from './changes.js';
import { Optimizer } from './optimizers.js';
import type { ProgramSpec } from './spec.js';
import type { ProgramGradient } from './tape.js';
import type { ProgramVariable, Variables } from './variables.js';
import type { GraphWriter } from './writer.js';

export const TRAIN_OP = 'train_op';

/** The name of a variable's running average. */
export function shadowOf(variable: string): string {
  return `${variable}/shadow`;
}

type Gradients = ReadonlyMap<ProgramVariable, ProgramGradient>;

interface StepContext {
  readonly writer: GraphWriter;
  readonly variables: Variables;
  /** Examples, [examples, features]. */
  readonly batch: Tensor;
}

/** Small enough that few programs diverge. */
const RATE = 0.05;

/** Gives the name of the tensor that a rate is fed to. */
export function writeStep(spec: ProgramSpec, gradients: Gradients, context: StepContext): string | undefined {
  return new StepWriter(spec, context).write(gradients);
}

class StepWriter {
  readonly #spec: ProgramSpec;
  readonly #writer: GraphWriter;
  readonly #variables: Variables;
  readonly #batch: Tensor;

  constructor(spec: ProgramSpec, { writer, variables, batch }: StepContext) {
    this.#spec = spec;
    this.#writer = writer;
    this.#variables = variables;
    this.#batch = batch;
  }

  write(gradients: Gradients): string | undefined {
    const { rate: kind, counts, average, shadow } = this.#spec;
    const step = kind === 'decayed' || counts ? this.#variables.makeCounter('global_step') : undefined;
    const rate = kind === 'decayed' ? this.#decayed(step!) : this.#rate();
    const done = [...this.#update(gradients, rate)];
    if (average) done.push(this.#writer.within('average', () => this.#average()));
    if (shadow) done.push(this.#writer.within('shadow', () => this.#shadow([...gradients.keys()][0]!, done)));
    this.#finish(done, step);
    return kind === 'fed' ? rate.name : undefined;
  }

  /** Optimizers take turns with the variables. */
  #update(gradients: Gradients, rate: Tensor): readonly Operation[] {
    const { optimizers, change, ids, shrinks } = this.#spec;
    const context = { writer: this.#writer, variables: this.#variables };
    const all = optimizers.map((spec, i) => new Optimizer({ ...context, rate, ids }, spec, `train_${i}`));
    const applied = changed(change, gradients, context);
    const computed = [...applied.values()].map(operationOf);
    for (const [i, [variable, gradient]] of [...applied].entries()) {
      const before = shrinks
        ? [this.#writer.within('shrink', () => this.#shrink(variable, rate, computed))]
        : [];
      all[i % all.length]!.update(variable, gradient, before);
    }
    return all.flatMap((optimizer) => optimizer.finish());
  }

  /** Once nothing is computed from the variable any more. */
  #shrink(variable: ProgramVariable, rate: Tensor, computed: readonly Operation[]): Operation {
    const w = this.#writer;
    const part = w.out('Mul', [this.#variables.read(variable), w.out('Mul', [rate, w.float(0.1)])]);
    return this.#variables.assign('Sub', variable, part, { control: computed });
  }

  #finish(done: readonly Operation[], step: ProgramVariable | undefined): void {
    const w = this.#writer;
    if (step === undefined) {
      w.add('NoOp', [], { attributes: {}, control: done, name: TRAIN_OP });
      return;
    }
    const group = w.add('NoOp', [], { attributes: {}, control: done, name: 'update' });
    this.#variables.assign('Add', step, w.long(1n), { control: [group], name: TRAIN_OP });
  }

  #rate(): Tensor {
    return this.#spec.rate === 'fed'
      ? this.#writer.placeholder('rate', 'float32', [])
      : this.#writer.float(RATE);
  }

  #decayed(step: ProgramVariable): Tensor {
    const w = this.#writer;
    return w.within('rate', () => {
      const read = this.#variables.read(step);
      const count = w.out('Cast', [read], { SrcT: 'int64', DstT: 'float32', Truncate: false });
      return w.out('RealDiv', [w.float(RATE), w.out('AddV2', [w.float(1), count])]);
    });
  }

  /** A tenth of the way to the mean of this batch. */
  #average(): Operation {
    const w = this.#writer;
    const average = this.#variables.make('average', [this.#spec.features], 0);
    const batch = w.out('Mean', [this.#batch, w.int([0])], { T: 'float32', Tidx: 'int32', keep_dims: false });
    return this.#approach(average, batch, this.#variables.read(average));
  }

  /** A tenth of the way to what the variable is after its update. */
  #shadow(variable: ProgramVariable, done: readonly Operation[]): Operation {
    const shadow = this.#variables.make(shadowOf(variable.name), variable.shape, 0, variable.name);
    return this.#approach(shadow, this.#variables.readAfter(done, variable), this.#variables.read(shadow));
  }

  #approach(average: ProgramVariable, goal: Tensor, value: Tensor): Operation {
    const w = this.#writer;
    const difference = w.out('Sub', [value, goal]);
    return this.#variables.assign('Sub', average, w.out('Mul', [difference, w.float(0.1)]));
  }
}

function operationOf(gradient: ProgramGradient): Operation {
  return (gradient.kind === 'dense' ? gradient.tensor : gradient.values).operation;
}
