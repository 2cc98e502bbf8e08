/**
 * The order in which a plan's operations are tried: one in which they can be run, with reads first and gifts early. Any such order gives the
 * same values; this one keeps other tasks waiting the least.
 */
import { GradsyncError } from '../../errors.js';
import type { Operation } from '../../graph/operation.js';
import { givesGradient } from './meetings.js';

/** The operations that must have run before one. */
export type Needed = (operation: Operation) => readonly Operation[];

/**
 * Every operation the roots need, each after those it needs. Those that wait for nothing come first, so that a step reads variables before
 * it changes any; what a task gives to others comes as soon as it can, so that aggregation goes on while the task computes the rest.
 */
export function planOrder(roots: readonly Operation[], needed: Needed): Operation[] {
  return givingEarly(orderOf(sourcesFirst(orderOf(roots, needed), needed), needed), needed);
}

/** What lies between a gradient and its gift costs nothing. */
const PASSES_ON = new Set(['Identity', 'NoOp']);

function givingEarly(order: readonly Operation[], needed: Needed): Operation[] {
  const early = giftsAndWays(order, needed);
  const missing = new Map<Operation, number>();
  const waiting = new Map<Operation, Operation[]>();
  for (const operation of early) {
    const before = new Set(needed(operation));
    missing.set(operation, before.size);
    for (const other of before) waiting.set(other, [...(waiting.get(other) ?? []), operation]);
  }
  const result = new Set<Operation>();
  for (const operation of order) {
    const next = result.has(operation) ? [] : [operation];
    for (const emitted of next) {
      result.add(emitted);
      for (const other of waiting.get(emitted) ?? []) {
        const left = missing.get(other)! - 1;
        missing.set(other, left);
        if (left === 0) next.push(other);
      }
    }
  }
  return [...result];
}

/** Gifts, and the operations before them that only pass values on. */
function giftsAndWays(order: readonly Operation[], needed: Needed): ReadonlySet<Operation> {
  const found = new Set(order.filter(({ type }) => givesGradient(type)));
  for (const operation of found) {
    for (const before of needed(operation)) if (PASSES_ON.has(before.type)) found.add(before);
  }
  return found;
}

/** Those that wait for nothing, then the rest; both in the given order. */
function sourcesFirst(order: readonly Operation[], needed: Needed): Operation[] {
  const sources = order.filter((operation) => needed(operation).length === 0);
  return [...sources, ...order.filter((operation) => needed(operation).length > 0)];
}

/** Every operation the roots need, each after those it needs (depth first, without recursion: graphs are deep). */
export function orderOf(roots: readonly Operation[], needed: Needed): Operation[] {
  const order: Operation[] = [];
  const state = new Map<Operation, 'open' | 'done'>();
  const stack: { operation: Operation; rest: readonly Operation[]; next: number }[] = [];
  const open = (operation: Operation): void => {
    if (state.get(operation) === 'done') return;
    if (state.get(operation) === 'open') throw cycle(operation);
    state.set(operation, 'open');
    stack.push({ operation, rest: needed(operation), next: 0 });
  };
  for (const root of roots) {
    open(root);
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const next = top.rest[top.next++];
      if (next !== undefined) {
        open(next);
        continue;
      }
      state.set(top.operation, 'done');
      order.push(top.operation);
      stack.pop();
    }
  }
  return order;
}

function cycle(operation: Operation): GradsyncError {
  return new GradsyncError('UNIMPLEMENTED', `Operation "${operation.name}" (${operation.type})`, {
    expected: 'no cycle but those of loops (Enter, Merge, NextIteration)',
    received: 'one that leads back to this operation',
    remedy: 'run this graph on TensorFlow',
    operation: operation.name,
  });
}
