/** Cycles that edits close are found by looking at the edits, as surely as by sorting the whole graph. */
import test from 'ava';
import { GradsyncError } from '../../src/errors.js';
import { Graph } from '../../src/graph/graph.js';
import { KnownOrder } from '../../src/graph/known-order.js';
import { topologicalOrder } from '../../src/graph/traverse.js';
import { fc } from '../helpers/properties.js';

/** Whether `check` finds a cycle. */
function findsCycle(check: () => void): boolean {
  try {
    check();
    return false;
  } catch (error) {
    if (error instanceof GradsyncError && error.code === 'INVALID_ARGUMENT') return true;
    throw error;
  }
}

const index = fc.nat(19);

test('for any graph and any edits, looking at the edits finds a cycle exactly where sorting does', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(index, index), { maxLength: 30 }),
      fc.array(fc.tuple(index, index), { maxLength: 6 }),
      fc.boolean(),
      (edges, edits, late) => {
        const graph = new Graph();
        const old = Array.from({ length: 15 }, (_, i) => graph.add({ name: `o${i}`, type: 'NoOp' }));
        for (const [a, b] of edges) {
          const [from, to] = [old[Math.min(a, b) % 15]!, old[Math.max(a, b) % 15]!];
          if (from.id < to.id) graph.addControlInput(to, from);
        }
        // Edges go from smaller to larger ids, so the largest may stand last.
        const order = KnownOrder.of(graph, topologicalOrder(graph), ({ id }) => late && id > 9);
        graph.takeEdited();
        const all = [
          ...old,
          ...Array.from({ length: 5 }, (_, i) => graph.add({ name: `n${i}`, type: 'NoOp' })),
        ];
        for (const [a, b] of edits) graph.addControlInput(all[b]!, all[a]!);
        const edited = graph.takeEdited();
        t.is(
          findsCycle(() => order.verify(graph, edited)),
          findsCycle(() => {
            topologicalOrder(graph);
          }),
        );
      },
    ),
    { numRuns: 2000 },
  );
});

test('an edge that goes backward in the order without closing a cycle is let through', (t) => {
  const graph = new Graph();
  const [a, b] = ['a', 'b'].map((name) => graph.add({ name, type: 'NoOp' }));
  const order = KnownOrder.of(graph, topologicalOrder(graph), () => false);
  graph.takeEdited();
  graph.addControlInput(a!, b!);
  t.notThrows(() => order.verify(graph, graph.takeEdited()));
});
