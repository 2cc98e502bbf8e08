/** What a program does to its gradients between backpropagation and update. */
import type { Tensor } from '../../../src/graph/index.js';
import type { ProgramSpec } from './spec.js';
import type { ProgramGradient } from './tape.js';
import type { ProgramVariable, Variables } from './variables.js';
import type { GraphWriter } from './writer.js';

type Gradients = ReadonlyMap<ProgramVariable, ProgramGradient>;

interface Context {
  readonly writer: GraphWriter;
  readonly variables: Variables;
}

/** Low enough that most gradients are beyond. */
const LIMIT = 0.05;

export function changed(change: ProgramSpec['change'], gradients: Gradients, context: Context): Gradients {
  const { writer: w } = context;
  switch (change) {
    case 'none':
      return gradients;
    case 'clip-by-global-norm': {
      const scale = w.within('clip_by_global_norm', () => scaleOf(w, [...gradients.values()].map(valuesOf)));
      return each(gradients, (values) => w.out('Mul', [values, scale]));
    }
    case 'clip-by-value':
      return w.within('clip_by_value', () =>
        each(gradients, (values) =>
          w.out('Maximum', [w.out('Minimum', [values, w.float(LIMIT)]), w.float(-LIMIT)]),
        ),
      );
    case 'decay':
      return w.within('decay', () => decayed(gradients, context));
  }
}

/** Adds a part of the variable, where all of it is updated. */
function decayed(gradients: Gradients, { writer: w, variables }: Context): Gradients {
  const changed = [...gradients].map(([variable, gradient]): [ProgramVariable, ProgramGradient] => {
    if (gradient.kind === 'sparse') return [variable, gradient];
    const part = w.out('Mul', [variables.read(variable), w.float(0.1)]);
    return [variable, { kind: 'dense', tensor: w.out('AddV2', [gradient.tensor, part]) }];
  });
  return new Map(changed);
}

function each(gradients: Gradients, change: (values: Tensor) => Tensor): Gradients {
  const changed = [...gradients].map(([variable, gradient]): [ProgramVariable, ProgramGradient] => {
    const values = change(valuesOf(gradient));
    return [
      variable,
      gradient.kind === 'dense' ? { kind: 'dense', tensor: values } : { ...gradient, values },
    ];
  });
  return new Map(changed);
}

function valuesOf(gradient: ProgramGradient): Tensor {
  return gradient.kind === 'dense' ? gradient.tensor : gradient.values;
}

/** `LIMIT / norm` where the norm of all gradients together is larger, else 1. */
function scaleOf(w: GraphWriter, gradients: readonly Tensor[]): Tensor {
  const squares = gradients.map((gradient) => w.out('L2Loss', [gradient]));
  const stacked = w.out('Pack', squares, { T: 'float32', N: squares.length, axis: 0 });
  const sum = w.out('Sum', [stacked, w.int([0])], { T: 'float32', Tidx: 'int32', keep_dims: false });
  const norm = w.out('Sqrt', [w.out('Mul', [sum, w.float(2)])]);
  const least = w.out('Minimum', [
    w.out('RealDiv', [w.float(1), norm]),
    w.out('RealDiv', [w.float(1), w.float(LIMIT)]),
  ]);
  const scale = w.out('Mul', [w.float(LIMIT), least]);
  // Not a number, where the norm is none.
  return w.out('AddV2', [scale, w.out('Sub', [norm, norm])]);
}
