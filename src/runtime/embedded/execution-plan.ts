/** ExecutionPlan: what compiling gives and a step runs. */
import type { Operation } from '../../graph/operation.js';
import type { BoundKernel } from './kernel.js';
import type { VariableAccess } from './variable-access.js';

/** Where an input comes from: a slot, the current value of a reference variable, or nowhere (a handle). */
export type Source = number | VariableAccess | null;

/** A tensor that a node moves from one task to another when it runs. */
export interface Transfer {
  /** Which input of the node it is. */
  readonly input: number;
  readonly from: number;
  readonly to: number;
  /** Of a collective: its type, and how many take part. */
  readonly around?: { readonly type: string; readonly members: number };
}

export interface PlanNode {
  readonly operation: Operation;
  readonly kernel: BoundKernel;
  readonly sources: readonly Source[];
  /** Slot per output; -1 where nobody uses it. */
  readonly outputs: readonly number[];
  /** Nodes that wait for this one. */
  readonly successors: readonly number[];
  /** How many nodes this one waits for. */
  readonly predecessors: number;
  /** Only of nodes that a branch may leave out, and of loops. */
  readonly flow?: Flow;
  /** Only of nodes that move any. */
  readonly transfers?: readonly Transfer[];
  /** Whether it does nothing: it only keeps its place in the order. */
  readonly isIdle?: true;
}

/** What branches and loops make of a node. A slot that stays empty is a value that a branch left out. */
export interface Flow {
  /** Which of its inputs have to be there for it to run. */
  readonly runsWith: 'all' | 'any' | 'none';
  /** Nodes it waits for: one of them left out leaves it out too. */
  readonly controls: readonly number[];
  /** Its own number. */
  readonly index: number;
  readonly loop?: LoopPlan;
}

/**
 * A loop as one node: sources are what its variables begin with, then what is the same in all iterations; outputs are its Exits. The body's
 * feeds are in the order of the sources; its fetches are the variables' next values, then the Exits.
 */
export interface LoopPlan {
  readonly body: ExecutionPlan;
  /** How many variables it has. */
  readonly variables: number;
}

export interface ExecutionPlan {
  /** In an order in which they can be run. Those that wait for nothing come first, so that a step reads variables before it changes any. */
  readonly nodes: readonly PlanNode[];
  /** How many slots there are, and how often each is taken as an input or fetched. */
  readonly uses: Int32Array;
  /** Slot of each feed. */
  readonly feeds: readonly number[];
  /** Slot of each fetched tensor. */
  readonly fetches: readonly number[];
}

/** All nodes of a plan that do something, those of loops included. */
export function* allNodes({ nodes }: ExecutionPlan): Iterable<PlanNode> {
  for (const node of nodes) {
    if (node.isIdle) continue;
    yield node;
    if (node.flow?.loop !== undefined) yield* allNodes(node.flow.loop.body);
  }
}
