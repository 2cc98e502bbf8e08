/** Functions of a graph's library: bodies that While, If and PartitionedCall run. Read only. */
import type { Attributes } from './attributes.js';
import type { DType } from './dtype.js';
import type { FunctionInputRef } from './name.js';

export interface FunctionArgument {
  readonly name: string;
  readonly dtype: DType;
}

export interface FunctionNode {
  readonly name: string;
  readonly type: string;
  readonly device: string;
  readonly inputs: readonly FunctionInputRef[];
  readonly attributes: Attributes;
}

export interface GraphFunction {
  readonly name: string;
  readonly inputs: readonly FunctionArgument[];
  readonly nodes: readonly FunctionNode[];
  /** What it gives back, in order. */
  readonly results: readonly FunctionInputRef[];
  /** Names of the nodes that run for their effect. */
  readonly effects: readonly string[];
}
