/**
 * Where a value comes from that a task has for itself: what it is fed or draws, also by way of a variable that it changes with such a value.
 * Unlike the proof of gradients, which asks what may differ at all, this looks for what does, behind what is known to be the same on all tasks.
 */
import { functionsOf } from '../graph/codec/function-library.js';
import type { GraphFunction } from '../graph/function.js';
import type { Graph } from '../graph/graph.js';
import { isCheckpointing } from '../graph/op-catalog.js';
import type { Operation } from '../graph/operation.js';
import type { TrainingGraph, Variable } from '../graph/training-graph.js';
import { isWorkersOwn } from '../graph/worker-dependence.js';
import type { Conditions } from './conditions.js';
import type { VariableUses } from './variable-uses.js';
import { Marks } from './walk.js';

export interface TaskValue {
  readonly source: Operation;
  /** The variable by way of which it comes, if any. */
  readonly state: Variable | undefined;
}

export interface TaskValuesInput {
  readonly graph: Graph;
  readonly training: TrainingGraph;
  readonly conditions: Conditions;
  readonly uses: VariableUses;
  /** Whether to look at an operation and behind it: not where its value is known to be the same on all tasks. */
  readonly enter: (operation: Operation) => boolean;
  /** The changes by which a variable may come to differ. */
  readonly changesOf: (variable: Variable) => readonly Operation[];
}

interface Visit {
  readonly operation: Operation;
  readonly state: Variable | undefined;
}

/** A search that goes nowhere twice. */
export class TaskValues {
  readonly #input: TaskValuesInput;
  readonly #alike: ReadonlySet<Operation>;
  readonly #seen: Marks;
  #functions: ReadonlyMap<string, GraphFunction> | undefined;

  constructor(input: TaskValuesInput) {
    this.#input = input;
    this.#alike = new Set(input.training.alike);
    this.#seen = new Marks(input.graph);
  }

  /** The nearest that is found from `starts`, behind what has not been looked at before. */
  find(starts: Iterable<Operation>): TaskValue | undefined {
    const queue: Visit[] = [];
    const visit = (operation: Operation, state: Variable | undefined): void => {
      const isAsked = this.#input.enter(operation) && !this.#alike.has(operation);
      if (isAsked && this.#seen.add(operation)) queue.push({ operation, state });
    };
    for (const start of starts) visit(start, undefined);
    for (let i = 0, next = queue[0]; next !== undefined; next = queue[++i]) {
      if (this.#isSource(next.operation)) return { source: next.operation, state: next.state };
      this.#eachBehind(next, visit);
    }
    return undefined;
  }

  #isSource({ type, attributes }: Operation): boolean {
    return isWorkersOwn(type) || this.#draws(attributes, new Set());
  }

  /** Whether a function draws, of those that attributes name and those that these call. */
  #draws(attributes: Operation['attributes'], asked: Set<string>): boolean {
    for (const name of attributes.names()) {
      const value = attributes.get(name);
      const called = value?.kind === 'list' ? value.items : value === undefined ? [] : [value];
      for (const each of called) {
        if (each.kind !== 'func' || asked.has(each.name)) continue;
        asked.add(each.name);
        this.#functions ??= functionsOf(this.#input.graph);
        const nodes = this.#functions.get(each.name)?.nodes ?? [];
        if (nodes.some((node) => isWorkersOwn(node.type) || this.#draws(node.attributes, asked))) return true;
      }
    }
    return false;
  }

  #eachBehind({ operation, state }: Visit, visit: (operation: Operation, state?: Variable) => void): void {
    const { conditions, uses, changesOf } = this.#input;
    if (SAME_FOR_ANY_VALUE.test(operation.type) || isCheckpointing(operation.type)) return;
    for (const tensor of operation.inputs) {
      visit(tensor.operation, state);
      const variable = uses.variableOf(tensor);
      if (variable === undefined) continue;
      for (const change of changesOf(variable)) visit(change, variable);
    }
    for (const { predicate } of conditions.of(operation)) visit(predicate.operation, state);
  }
}

/** A batch's size differs where its share does; these do not tell it. */
const SAME_FOR_ANY_VALUE = /^((Zeros|Ones)Like|Rank|VariableShape)$/;
