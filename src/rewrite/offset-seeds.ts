/**
 * Seeds of random operations: offset by the replica, or every replica would draw the same dropout mask for its own share of the data. The
 * chief's first replica keeps the program's seeds, and so does what initial values are drawn with: tasks begin alike.
 */
import { attr } from '../graph/attributes.js';
import { byType } from '../graph/dependence.js';
import { isInputSource } from '../graph/op-catalog.js';
import type { Operation } from '../graph/operation.js';
import type { Draft } from './pass.js';
import { ancestors } from './walk.js';

/** The seeded random operations, but for those that initial values are drawn with. */
export function findSeeded({ graph, training }: Draft): readonly Operation[] {
  const isRandom = byType(({ type }) => isInputSource(type));
  const seeded = [...graph.operations()].filter((each) => isRandom(each) && isSeeded(each));
  if (seeded.length === 0) return [];
  const initial = ancestors(
    graph,
    training.variables.flatMap(({ initializer }) => initializer ?? []),
  );
  return seeded.filter((operation) => !initial.has(operation));
}

/** `offset`: the number of the replica in the whole run. */
export function offsetSeed({ graph }: Draft, operation: Operation, offset: number): void {
  if (offset === 0) return;
  graph.setAttributes(operation, { seed2: attr.int(seedOf(operation, 'seed2') + BigInt(offset)) });
}

/** Without seeds an operation draws other numbers on every replica by itself. */
function isSeeded(operation: Operation): boolean {
  return seedOf(operation, 'seed') !== 0n || seedOf(operation, 'seed2') !== 0n;
}

function seedOf({ attributes }: Operation, name: 'seed' | 'seed2'): bigint {
  const seed = attributes.get(name);
  return seed?.kind === 'int' ? seed.value : 0n;
}
