/** What a random training program is: plain data, so that fast-check can draw it, shrink it and print it. */

export const ACTIVATIONS = [
  'none',
  'Relu',
  'Tanh',
  'Sigmoid',
  'Softplus',
  'Elu',
  'Square',
  'Softmax',
] as const;
export type Activation = (typeof ACTIVATIONS)[number];

/** A layer takes [examples, width] and gives the same, of another width perhaps. */
export type LayerSpec =
  | {
      readonly kind: 'dense';
      readonly units: number;
      readonly bias: 'none' | 'BiasAdd' | 'AddV2';
      readonly activation: Activation;
      /** The kernel is stored transposed. */
      readonly transposed: boolean;
      /** `again`: the kernel of an earlier layer where one fits. `sum`: that of two variables, whose gradient is then the same. */
      readonly kernel: 'own' | 'again' | 'sum';
    }
  /** Times a vector of the width, or a scalar. */
  | { readonly kind: 'scale'; readonly scalar: boolean }
  /** Minus the mean (or the sum) over each example, or, with axis 0, over the batch. */
  | { readonly kind: 'center'; readonly reduction: 'Mean' | 'Sum'; readonly axis: 0 | 1 }
  | { readonly kind: 'residual'; readonly activation: Activation }
  | {
      readonly kind: 'embedding';
      readonly rows: number;
      readonly width: number;
      /** Ids for each example: 0 is one id, without a dimension for it. */
      readonly words: number;
      readonly reduction: 'Mean' | 'Sum';
      /** An earlier table and, where they fit, its ids. */
      readonly again: boolean;
    }
  /** Logits from the latest table, which is then used both ways. */
  | { readonly kind: 'tied' };

export const OPTIMIZERS = ['sgd', 'momentum', 'adam', 'adagrad', 'adagrad-v2', 'rms-prop'] as const;

export interface OptimizerSpec {
  readonly kind: (typeof OPTIMIZERS)[number];
  readonly nesterov: boolean;
}

export interface ProgramSpec {
  readonly variables: 'resource' | 'reference';
  readonly features: number;
  readonly layers: readonly LayerSpec[];
  readonly loss: 'squares' | 'cross-entropy';
  /** Adds the L2 norm of the first variable to the loss. */
  readonly penalty: boolean;
  readonly ids: 'int32' | 'int64';
  /** Ids that are a vector are row indices of a gradient as they stand. */
  readonly bareIds: boolean;
  /** Variables take turns. */
  readonly optimizers: readonly OptimizerSpec[];
  readonly rate: 'constant' | 'fed' | 'decayed';
  /** What happens to gradients before the update. */
  readonly change: 'none' | 'clip-by-global-norm' | 'clip-by-value' | 'decay';
  /** Takes a part of each variable away before it is updated. */
  readonly shrinks: boolean;
  /** Keeps a running average of a variable as it is after the update. */
  readonly shadow: boolean;
  readonly counts: boolean;
  /** A running average of the batch, which nothing trains. */
  readonly average: boolean;
  /** Whether gradient pairs are given, or left to be found. */
  readonly pairs: 'given' | 'found';
  /** Decides initial values and what is fed. */
  readonly seed: number;
}
