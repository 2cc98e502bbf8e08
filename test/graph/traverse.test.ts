import test from 'ava';
import {
  ancestors,
  decodeGraphDef,
  dependsOn,
  descendants,
  encodeGraphDef,
  Graph,
  type Operation,
  readTrainingGraph,
  topologicalOrder,
  verifyGraph,
} from '../../src/graph/index.js';
import { fc } from '../helpers/properties.js';
import { syntheticGraph } from '../helpers/synthetic-graph.js';

const names = (operations: Iterable<Operation>): string[] => [...operations].map(({ name }) => name);

/** a -> b -> c over data, a => d over control, d -> c. */
function diamond(): Graph {
  const graph = new Graph();
  const a = graph.add({ name: 'a', type: 'Const' });
  const b = graph.add({ name: 'b', type: 'Identity', inputs: [a.output()] });
  const d = graph.add({ name: 'd', type: 'Const', controlInputs: [a] });
  graph.add({ name: 'c', type: 'AddV2', inputs: [b.output(), d.output()] });
  return graph;
}

test('ancestors and descendants follow the edges that are asked for, nearest first', (t) => {
  const graph = diamond();
  t.deepEqual(names(ancestors([graph.get('c')])), ['c', 'b', 'd', 'a']);
  t.deepEqual(names(ancestors([graph.get('d')], { edges: 'data' })), ['d']);
  t.deepEqual(names(descendants([graph.get('a')])), ['a', 'b', 'd', 'c']);
  t.deepEqual(names(descendants([graph.get('a')], { edges: 'control' })), ['a', 'd']);
  const stopped = descendants([graph.get('a')], { stopAt: ({ name }) => name === 'b', edges: 'data' });
  t.deepEqual(names(stopped), ['a', 'b']);
  t.true(dependsOn(graph.get('c'), graph.get('a')));
  t.false(dependsOn(graph.get('d'), graph.get('a'), 'data'));
});

test('the topological order has every operation once, behind all it needs', (t) => {
  const shape = fc.array(fc.tuple(fc.nat(), fc.nat(), fc.boolean()), { minLength: 1, maxLength: 80 });
  fc.assert(
    fc.property(shape, (rows) => {
      const graph = new Graph();
      const made: Operation[] = [];
      for (const [a, b, control] of rows) {
        const at = (n: number): Operation => made[n % made.length]!;
        const inputs = made.length === 0 ? [] : [at(a).output(b % 2), at(b).output(), at(a).output(b % 2)];
        const controlInputs = made.length > 0 && control ? [at(a + b)] : [];
        made.push(graph.add({ name: `n${made.length}`, type: 'Foo', inputs, controlInputs }));
      }
      const order = topologicalOrder(graph);
      const place = new Map(order.map((operation, i) => [operation, i]));
      t.is(place.size, graph.size);
      for (const operation of order) {
        for (const need of [
          ...operation.inputs.map((tensor) => tensor.operation),
          ...operation.controlInputs,
        ]) {
          t.true(place.get(need)! < place.get(operation)!);
        }
      }
    }),
    { numRuns: 60 },
  );
});

test('a chain of 100,000 operations is walked without recursion', (t) => {
  const graph = new Graph();
  let last = graph.add({ name: 'x', type: 'Placeholder' });
  for (let i = 0; i < 100_000; i++) {
    last = graph.add({
      name: `n${i}`,
      type: 'Identity',
      inputs: [last.output()],
      controlInputs: i % 2 ? [last] : [],
    });
  }
  t.is(topologicalOrder(graph).length, graph.size);
  t.is(ancestors([last]).size, graph.size);
  t.is(descendants([graph.get('x')]).size, graph.size);
  t.true(dependsOn(last, graph.get('x')));
  t.notThrows(() => verifyGraph(decodeGraphDef(encodeGraphDef(graph.copy().graph))));
});

test('a synthetic training graph of any size is valid, and every variable of it is trained', (t) => {
  const options = fc.record({ operations: fc.nat({ max: 400 }), variables: fc.integer({ min: 1, max: 25 }) });
  fc.assert(
    fc.property(options, (sizes) => {
      const meta = syntheticGraph({ ...sizes, sparseEvery: 3 });
      verifyGraph(meta.graph);
      const { pairs } = readTrainingGraph(meta);
      t.is(pairs.length, sizes.variables);
      for (const { gradient, variable } of pairs) {
        t.is(gradient.kind, Number(/layer_(\d+)/.exec(variable.name)?.[1]) % 3 === 2 ? 'sparse' : 'dense');
        if (gradient.kind === 'sparse') t.is(gradient.indices.operation.type, 'Reshape');
      }
    }),
    { numRuns: 25 },
  );
});
