/** Edits of a graph keep both ends of every edge consistent, and cost what they touch. */
import test, { type ExecutionContext } from 'ava';
import {
  attr,
  attributes,
  decodeGraphDef,
  encodeGraphDef,
  Graph,
  type Operation,
  printGraph,
} from '../../src/graph/index.js';
import { fc } from '../helpers/properties.js';
import { throwsTyped } from '../helpers/throws.js';

/** Checks that consumers are exactly those operations that take a tensor or wait for an operation. */
function checkConsistent(t: ExecutionContext, graph: Graph): void {
  const all = [...graph.operations()];
  t.is(all.length, graph.size);
  for (const operation of all) {
    t.is(graph.find(operation.name), operation);
    t.true(graph.has(operation));
    for (const tensor of operation.inputs) t.true(tensor.consumers.has(operation));
    for (const control of operation.controlInputs) t.true(control.controlConsumers.has(operation));
    for (const output of operation.outputs) {
      for (const consumer of output?.consumers ?? []) t.true(consumer.inputs.includes(output!));
    }
    for (const consumer of operation.controlConsumers) t.true(consumer.controlInputs.includes(operation));
    t.is(new Set(operation.controlInputs).size, operation.controlInputs.length);
  }
}

type Edit = readonly [kind: number, a: number, b: number, c: number];

/** Applies edits; a new operation is named after the list and the place in it. */
function applyAll(graph: Graph, list: readonly Edit[], prefix: string): void {
  list.forEach((edit, i) => {
    apply(graph, edit, `${prefix}${i}`);
  });
}

/** Applies an edit chosen by numbers; those that make no sense for the graph are skipped. */
function apply(graph: Graph, [kind, a, b, c]: Edit, name: string): void {
  const all = [...graph.operations()];
  const pick = (n: number): Operation => all[n % all.length]!;
  const input = (n: number) => pick(n).output(n % 3);
  if (all.length === 0 || kind === 0) {
    const inputs = all.length === 0 ? [] : [input(a), input(b), input(a)];
    graph.add({ name, type: 'Foo', inputs, controlInputs: all.slice(0, c % 3) });
  } else if (kind === 1 && pick(a).inputs.length > 0)
    graph.setInput(pick(a), b % pick(a).inputs.length, input(c));
  else if (kind === 2) graph.replaceInput(input(a), input(b));
  else if (kind === 3) graph.addControlInput(pick(a), pick(b));
  else if (kind === 4) graph.removeControlInput(pick(a), pick(b));
  else if (kind === 5) graph.replaceControlInput(pick(a), pick(b));
  else if (kind === 6) graph.setInputs(pick(a), [input(b), input(c)]);
  else if (kind === 7 && graph.size > 1 && isUnused(pick(a))) graph.remove(pick(a));
}

const isUnused = (operation: Operation): boolean =>
  operation.controlConsumers.size === 0 &&
  operation.outputs.every((output) => (output?.consumers.size ?? 0) === 0);

const edits = fc.array(
  fc.tuple(fc.nat({ max: 7 }), fc.nat({ max: 50 }), fc.nat({ max: 50 }), fc.nat({ max: 50 })),
  {
    maxLength: 60,
  },
);

test('any sequence of edits leaves both ends of every edge consistent', (t) => {
  fc.assert(
    fc.property(edits, (list) => {
      const graph = new Graph();
      applyAll(graph, list, 'op');
      checkConsistent(t, graph);
    }),
    { numRuns: 100 },
  );
});

test('a copy is equal, and edits of either leave the other alone', (t) => {
  fc.assert(
    fc.property(edits, edits, (list, later) => {
      const graph = new Graph();
      graph.add({ name: 'first', type: 'NoOp' });
      applyAll(graph, list, 'op');
      const before = encodeGraphDef(graph).slice();
      const { graph: copy } = graph.copy();
      t.deepEqual(encodeGraphDef(copy).slice(), before);
      checkConsistent(t, copy);
      applyAll(copy, later, 'later');
      checkConsistent(t, copy);
      checkConsistent(t, graph);
      t.deepEqual(encodeGraphDef(graph).slice(), before);
      const twice = copy.copy().graph;
      applyAll(graph, later, 'later');
      checkConsistent(t, twice);
      t.deepEqual(encodeGraphDef(twice).slice(), encodeGraphDef(copy).slice());
    }),
    { numRuns: 100 },
  );
});

test('any graph is read back as it was written, edited or not', (t) => {
  fc.assert(
    fc.property(edits, edits, (list, later) => {
      const graph = new Graph();
      graph.add({ name: 'first', type: 'NoOp' });
      applyAll(graph, list, 'op');
      const bytes = encodeGraphDef(graph).slice();
      const again = decodeGraphDef(bytes);
      checkConsistent(t, again);
      t.deepEqual(encodeGraphDef(again).slice(), bytes);
      applyAll(graph, later, 'later');
      applyAll(again, later, 'later');
      t.deepEqual(encodeGraphDef(again).slice(), encodeGraphDef(graph).slice());
    }),
    { numRuns: 100 },
  );
});

test('whatever is tried on a graph, also in an attempt within one, is taken back', (t) => {
  fc.assert(
    fc.property(edits, edits, edits, fc.boolean(), (list, tried, nested, throws) => {
      const fresh = new Graph();
      fresh.add({ name: 'first', type: 'NoOp' });
      applyAll(fresh, list, 'op');
      const graph = decodeGraphDef(encodeGraphDef(fresh).slice());
      const before = { text: printGraph(graph), bytes: encodeGraphDef(graph).slice(), size: graph.size };
      const attempt = (): void =>
        graph.tentatively(() => {
          applyAll(graph, tried, 'tried');
          const text = printGraph(graph);
          graph.tentatively(() => {
            applyAll(graph, nested, 'nested');
            for (const operation of graph.operations()) graph.setDevice(operation, '/job:elsewhere');
          });
          t.is(printGraph(graph), text);
          if (throws) throw new Error('given up');
        });
      if (throws) t.throws(attempt, { message: 'given up' });
      else attempt();
      checkConsistent(t, graph);
      t.deepEqual(
        { text: printGraph(graph), bytes: encodeGraphDef(graph).slice(), size: graph.size },
        before,
      );
      // Names and numbers too: the same edits give the same graph as on one on which nothing was tried.
      applyAll(graph, tried, 'tried');
      applyAll(fresh, tried, 'tried');
      t.deepEqual(encodeGraphDef(graph).slice(), encodeGraphDef(fresh).slice());
    }),
    { numRuns: 100 },
  );
});

test('the edited operations are told once, without those that only moved', (t) => {
  const graph = new Graph();
  const a = graph.add({ name: 'a', type: 'Const' });
  const b = graph.add({ name: 'b', type: 'Identity', inputs: [a.output()] });
  t.deepEqual(graph.takeEdited(), []);
  graph.setDevice(a, '/job:x');
  graph.addControlInput(b, graph.add({ name: 'c', type: 'NoOp' }));
  t.deepEqual([...new Set(graph.takeEdited().map(({ name }) => name))].sort(), ['b', 'c']);
  t.deepEqual(graph.takeEdited(), []);
});

test('a name in use is refused, a removed one is free again', (t) => {
  const graph = new Graph();
  const a = graph.add({ name: 'a', type: 'NoOp' });
  throwsTyped(t, () => graph.add({ name: 'a', type: 'NoOp' }), 'ALREADY_EXISTS', '"a"');
  graph.remove(a);
  t.is(graph.find('a'), undefined);
  const { graph: copy } = graph.copy();
  t.is(copy.add({ name: 'a', type: 'NoOp' }), copy.get('a'));
  t.is(graph.find('a'), undefined);
});

test('unique names count up from the base and never repeat', (t) => {
  const graph = new Graph();
  for (const expected of ['a', 'a_1', 'a_2']) {
    t.is(graph.uniqueName('a'), expected);
    graph.add({ name: expected, type: 'NoOp' });
  }
});

test('an operation that is consumed is not removed', (t) => {
  const graph = new Graph();
  const a = graph.add({ name: 'a', type: 'Const' });
  const b = graph.add({ name: 'b', type: 'Identity', inputs: [a.output()] });
  throwsTyped(t, () => graph.remove(a), 'FAILED_PRECONDITION', '"a"', '"b"');
  graph.remove(b);
  t.notThrows(() => graph.remove(a));
});

test('what is not there is an error with its name', (t) => {
  throwsTyped(t, () => new Graph().get('nothing'), 'NOT_FOUND', '"nothing"');
  throwsTyped(t, () => new Graph().getTensor('nothing:1'), 'NOT_FOUND', '"nothing"');
});

test('an operation with thousands of consumers is rewired in time proportional to them', (t) => {
  const graph = new Graph();
  const a = graph.add({ name: 'a', type: 'Const' });
  const b = graph.add({ name: 'b', type: 'Const' });
  for (let i = 0; i < 20_000; i++) {
    graph.add({ name: `c${i}`, type: 'Identity', inputs: [a.output()], controlInputs: [a] });
  }
  graph.replaceInput(a.output(), b.output());
  graph.replaceControlInput(a, b);
  t.is(a.output().consumers.size, 0);
  t.is(b.output().consumers.size, 20_000);
  t.is(b.controlConsumers.size, 20_000);
  t.deepEqual(
    [...b.output().consumers].slice(0, 2).map(({ name }) => name),
    ['c0', 'c1'],
  );
});

test('only operations that an edit touches are encoded anew', (t) => {
  const first = new Graph();
  const x = first.add({ name: 'x', type: 'Const', attributes: attributes({ a: attr.int(1) }) });
  first.add({ name: 'y', type: 'Identity', inputs: [x.output()] });
  const graph = decodeGraphDef(encodeGraphDef(first));
  graph.setAttributes(graph.get('y'), { T: attr.type('float32') });
  t.true(graph.get('x').isIntact);
  t.false(graph.get('y').isIntact);
  graph.setDevice(graph.get('x'), '/job:a');
  t.true(graph.get('x').isIntact, 'a device is written into the node as it was read');
});
