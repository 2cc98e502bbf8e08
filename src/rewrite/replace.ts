/** Puts another operation in an operation's place, under its name: what took its output or waited for it does so with the new one. */
import type { Graph } from '../graph/graph.js';
import type { Operation, Tensor } from '../graph/operation.js';

/**
 * `make` makes the operation of that name, which then gives output 0. `standIn` is taken meanwhile by those that took the old one; nothing
 * that `make` uses may need the old operation.
 */
export function replaceOperation(
  graph: Graph,
  old: Operation,
  standIn: Tensor,
  make: (name: string) => Operation,
): Operation {
  const takers = [...old.output().consumers].flatMap((consumer) =>
    consumer.inputs.flatMap((input, position) =>
      input === old.output() ? [[consumer, position] as const] : [],
    ),
  );
  const waiting = [...old.controlConsumers];
  for (const [consumer, position] of takers) graph.setInput(consumer, position, standIn);
  for (const consumer of waiting) graph.removeControlInput(consumer, old);
  graph.remove(old);
  const made = make(old.name);
  for (const [consumer, position] of takers) graph.setInput(consumer, position, made.output());
  for (const consumer of waiting) graph.addControlInput(consumer, made);
  return made;
}
