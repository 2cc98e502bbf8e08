/** From the description of a random program to its graph, with everything that training it needs to know. */
import { attr, type DType, elementCount, encodeGraphDef, type Tensor } from '../../../src/graph/index.js';
import {
  activate,
  biasAdd,
  binary,
  concat,
  crossEntropy,
  halfSquares,
  matmul,
  mean,
  reduce,
} from './operations.js';
import { signed } from './random.js';
import type { LayerSpec, ProgramSpec } from './spec.js';
import { shadowOf, TRAIN_OP, writeStep } from './step.js';
import { type ProgramGradient, Tape, type Value } from './tape.js';
import { type ProgramVariable, Variables } from './variables.js';
import { GraphWriter } from './writer.js';

/** What each example is fed: whole numbers below `limit`, or floats of both signs. */
export interface ProgramInput {
  readonly tensor: string;
  readonly dtype: DType;
  /** Of one example. */
  readonly shape: readonly number[];
  readonly limit: number;
}

/** Names of the tensors that hold a variable's gradient as it leaves backpropagation. */
export type GradientNames =
  | { readonly kind: 'dense'; readonly tensor: string }
  | { readonly kind: 'sparse'; readonly indices: string; readonly values: string };

export interface Program {
  readonly spec: ProgramSpec;
  readonly graph: Uint8Array;
  readonly inputs: readonly ProgramInput[];
  /** The scalar that is fed to all tasks alike. */
  readonly fedRate: string | undefined;
  readonly gradients: ReadonlyMap<string, GradientNames>;
  readonly shapes: ReadonlyMap<string, readonly number[]>;
  /** Variable -> the tensor that reads it. */
  readonly reads: Readonly<Record<string, string>>;
  readonly initializers: readonly string[];
  /** Running averages of variables, by name, and the variable of each. */
  readonly shadows: ReadonlyMap<string, string>;
  /** Variables that every task has for itself, with values of its own. */
  readonly local: ReadonlySet<string>;
}

/** What every program fetches in a step. */
export const LOSS = 'loss:0';
export { TRAIN_OP };

/** `isolated`: gradients go through an Identity each, which can be fed without anything else being changed. */
export function makeProgram(spec: ProgramSpec, { isolated }: { readonly isolated: boolean }): Program {
  return new ProgramMaker(spec, isolated).make();
}

type Dense = Extract<LayerSpec, { kind: 'dense' }>;
type Embedding = Extract<LayerSpec, { kind: 'embedding' }>;

class ProgramMaker {
  readonly #spec: ProgramSpec;
  readonly #isolated: boolean;
  readonly #writer = new GraphWriter();
  readonly #variables: Variables;
  readonly #tape: Tape;
  readonly #inputs = new Map<string, ProgramInput & { readonly value: Value }>();
  readonly #kernels: ProgramVariable[] = [];
  readonly #tables: ProgramVariable[] = [];

  constructor(spec: ProgramSpec, isolated: boolean) {
    this.#spec = spec;
    this.#isolated = isolated;
    this.#variables = new Variables(this.#writer, spec.variables);
    this.#tape = new Tape(this.#writer, this.#variables, spec.ids, spec.bareIds);
  }

  make(): Program {
    const { features, layers } = this.#spec;
    const w = this.#writer;
    let hidden = this.#input('x', 'float32', [features], 1);
    for (const [i, layer] of layers.entries())
      hidden = w.within(`layer_${i}`, () => this.#layer(layer, hidden, `layer_${i}`));
    if (!hidden.isTrained) hidden = this.#dense(LAST, hidden, 'last');
    const loss = w.within('losses', () => this.#loss(hidden));
    // An export tells its shape: so replicas' losses are known to be put together as their mean.
    const shapes = attr.list([attr.shape([])]);
    w.add('Identity', [loss.tensor], { name: 'loss', attributes: { T: 'float32', _output_shapes: shapes } });
    const gradients = new Map(
      [...this.#tape.gradients(loss)].map(([variable, gradient]) => [
        variable,
        this.#isolate(variable, gradient),
      ]),
    );
    const fedRate = writeStep(this.#spec, gradients, {
      writer: w,
      variables: this.#variables,
      batch: this.#inputs.get('x')!.value.tensor,
    });
    return {
      spec: this.#spec,
      graph: encodeGraphDef(w.graph),
      inputs: [...this.#inputs.values()].map(({ value: _, ...input }) => input),
      fedRate,
      gradients: new Map([...gradients].map(([{ name }, gradient]) => [name, namesOf(gradient)])),
      shapes: new Map(this.#variables.all.map(({ name, shape }) => [name, shape])),
      reads: Object.fromEntries(this.#variables.all.map(({ name, value }) => [name, value.name])),
      initializers: this.#variables.all.map(({ initializer }) => initializer.name),
      shadows: new Map(
        this.#spec.shadow ? [[...gradients.keys()][0]!.name].map((name) => [shadowOf(name), name]) : [],
      ),
      local: new Set(this.#spec.average ? ['average'] : []),
    };
  }

  #input(name: string, dtype: DType, shape: readonly number[], limit: number): Value {
    const found = this.#inputs.get(name);
    if (found !== undefined) return found.value;
    const tensor = this.#writer.placeholder(name, dtype, [-1, ...shape]);
    const value = this.#tape.input(tensor, [-1, ...shape]);
    this.#inputs.set(name, { tensor: tensor.name, dtype, shape, limit, value });
    return value;
  }

  #variable(name: string, shape: readonly number[]): ProgramVariable {
    return this.#variables.make(name, shape, signed(this.#spec.seed, name, elementCount(shape), 0.8));
  }

  #layer(layer: LayerSpec, hidden: Value, name: string): Value {
    const tape = this.#tape;
    const width = hidden.shape[1]!;
    switch (layer.kind) {
      case 'dense':
        return this.#dense(layer, hidden, name);
      case 'scale':
        return binary(
          tape,
          'Mul',
          hidden,
          tape.read(this.#variable(`${name}/scale`, layer.scalar ? [] : [width])),
        );
      case 'center':
        return binary(
          tape,
          'Sub',
          hidden,
          reduce(tape, hidden, { type: layer.reduction, axis: layer.axis, keepDims: true }),
        );
      case 'residual':
        return binary(tape, 'AddV2', hidden, activate(tape, layer.activation, hidden));
      case 'embedding':
        return this.#embedding(layer, hidden, name);
      case 'tied':
        return this.#tied(hidden, name);
    }
  }

  #dense({ units, bias, activation, transposed, kernel }: Dense, hidden: Value, name: string): Value {
    const tape = this.#tape;
    const width = hidden.shape[1]!;
    const shape = transposed ? [units, width] : [width, units];
    const product = matmul(tape, hidden, this.#kernel(kernel, shape, name), transposed);
    if (bias === 'none') return activate(tape, activation, product);
    const added = tape.read(this.#variable(`${name}/bias`, [units]));
    const sum = bias === 'BiasAdd' ? biasAdd(tape, product, added) : binary(tape, 'AddV2', product, added);
    return activate(tape, activation, sum);
  }

  #kernel(kind: Dense['kernel'], shape: readonly number[], name: string): Value {
    const tape = this.#tape;
    const earlier = this.#kernels.find((kernel) => String(kernel.shape) === String(shape));
    if (kind === 'again' && earlier !== undefined) return tape.read(earlier);
    const own = this.#variable(`${name}/kernel`, shape);
    this.#kernels.push(own);
    if (kind !== 'sum') return tape.read(own);
    return binary(tape, 'AddV2', tape.read(own), tape.read(this.#variable(`${name}/addend`, shape)));
  }

  /** Rows beside what there is, or added to it where they are as wide. */
  #embedding({ rows, width, words, reduction, again }: Embedding, hidden: Value, name: string): Value {
    const tape = this.#tape;
    const table = (again ? this.#tables.at(-1) : undefined) ?? this.#table(name, [rows, width]);
    const [count] = table.shape;
    const ids = this.#input(`ids_${count}_${words}`, this.#spec.ids, words === 0 ? [] : [words], count!);
    const found = tape.gather(table, ids);
    const values = words === 0 ? found : reduce(tape, found, { type: reduction, axis: 1, keepDims: false });
    return values.shape[1] === hidden.shape[1]
      ? binary(tape, 'AddV2', hidden, values)
      : concat(tape, hidden, values);
  }

  #table(name: string, shape: readonly number[]): ProgramVariable {
    const table = this.#variable(`${name}/table`, shape);
    this.#tables.push(table);
    return table;
  }

  #tied(hidden: Value, name: string): Value {
    const table = this.#tables.at(-1);
    if (table === undefined) return hidden;
    const fitting = this.#dense({ ...LAST, units: table.shape[1]! }, hidden, name);
    return matmul(this.#tape, fitting, this.#tape.read(table), true);
  }

  #loss(hidden: Value): Value {
    const tape = this.#tape;
    const width = hidden.shape[1]!;
    const labelled = this.#spec.loss === 'cross-entropy';
    const y = labelled ? this.#input('y', 'int32', [], width) : this.#input('y', 'float32', [width], 1);
    const losses = labelled
      ? crossEntropy(tape, hidden, y.tensor)
      : activate(tape, 'Square', binary(tape, 'Sub', hidden, y));
    const loss = mean(tape, losses);
    if (!this.#spec.penalty) return loss;
    const first = tape.read(this.#variables.all[0]!);
    const factor = tape.input(this.#writer.float(0.1), []);
    return binary(tape, 'AddV2', loss, binary(tape, 'Mul', halfSquares(tape, first), factor));
  }

  #isolate({ name }: ProgramVariable, gradient: ProgramGradient): ProgramGradient {
    if (!this.#isolated) return gradient;
    const through = (tensor: Tensor, part: string, T: DType): Tensor =>
      this.#writer.add('Identity', [tensor], { name: `pairs/${name}/${part}`, attributes: { T } }).output();
    if (gradient.kind === 'dense')
      return { kind: 'dense', tensor: through(gradient.tensor, 'dense', 'float32') };
    return {
      kind: 'sparse',
      indices: through(gradient.indices, 'indices', this.#spec.ids),
      values: through(gradient.values, 'values', 'float32'),
    };
  }
}

const LAST: Dense = {
  kind: 'dense',
  units: 2,
  bias: 'none',
  activation: 'none',
  transposed: false,
  kernel: 'own',
};

function namesOf(gradient: ProgramGradient): GradientNames {
  if (gradient.kind === 'dense') return { kind: 'dense', tensor: gradient.tensor.name };
  return { kind: 'sparse', indices: gradient.indices.name, values: gradient.values.name };
}
