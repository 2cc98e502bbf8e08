/** What addon-worker.ts can be asked, and the accumulators it uses. */

export const DENSE = { dtype: 'float32', shape: null, reduction: 'mean' } as const;

/** A queue of its own for each contributor: from a shared one a fast thread could take two tokens and contribute twice to a round. */
export const TOKENS = { dtypes: ['int64'], shapes: [[]], capacity: -1 } as const;

export function tokenKey(key: string, contributor: number): string {
  return `${key}-tokens-${contributor}`;
}

/** Two contributors, one of which may run two steps ahead. */
export const ROUNDS = {
  ...DENSE,
  members: [0, 1],
  rule: { kind: 'bounded-staleness', staleness: 2 },
} as const;

/** What a worker can be asked; `key` names an object of the session. */
export type Job =
  | {
      readonly kind: 'apply';
      readonly key: string;
      readonly contributor: number;
      readonly values: readonly number[];
    }
  | {
      readonly kind: 'apply-many';
      readonly key: string;
      readonly contributor: number;
      readonly steps: number;
    }
  | {
      readonly kind: 'contribute';
      readonly key: string;
      readonly contributor: number;
      readonly steps: number;
    }
  | { readonly kind: 'take'; readonly key: string; readonly required: number }
  | { readonly kind: 'take-and-spin'; readonly key: string }
  | { readonly kind: 'add-ones'; readonly key: string; readonly times: number }
  | { readonly kind: 'exit' };
