import { readFileSync } from 'node:fs';
import test from 'ava';
import {
  attr,
  attributes,
  decodeGraphDef,
  decodeGraphFile,
  encodeGraphDef,
  Graph,
  Operation,
  printColocation,
  verifyEdits,
  verifyGraph,
} from '../../src/graph/index.js';
import { inputCount } from '../../src/graph/input-counts.js';
import { allFixtures, graphPath } from '../helpers/fixtures.js';
import { throwsTyped } from '../helpers/throws.js';

for (const fixture of allFixtures()) {
  test(`${fixture.name} is a valid graph`, (t) => {
    t.notThrows(() => verifyGraph(decodeGraphFile(readFileSync(graphPath(fixture))).graph));
  });
}

function sample(): Graph {
  const graph = new Graph();
  const x = graph.add({ name: 'x', type: 'Placeholder' });
  const y = graph.add({ name: 'y', type: 'Identity', inputs: [x.output(0)] });
  graph.add({ name: 'z', type: 'NoOp', controlInputs: [y] });
  return graph;
}

test('an input from an operation that is not in the graph is found', (t) => {
  const graph = sample();
  const stray = new Operation({ name: 'x', type: 'Placeholder', attributes: attributes({}) }, 99);
  graph.setInput(graph.get('y'), 0, stray.output(0));
  throwsTyped(t, () => verifyGraph(graph), 'INVALID_ARGUMENT', 'Operation "y" (Identity)', '"x:0"');
});

test('a control edge from an operation that is not in the graph is found', (t) => {
  const graph = sample();
  graph.addControlInput(
    graph.get('z'),
    new Operation({ name: 'gone', type: 'NoOp', attributes: attributes({}) }, 99),
  );
  throwsTyped(t, () => verifyGraph(graph), 'INVALID_ARGUMENT', 'Operation "z" (NoOp)', '"gone"');
});

for (const [type, index, count] of [
  ['Placeholder', 1, '1'],
  ['NoOp', 0, '0'],
  ['Unique', 2, '2'],
  ['ResourceApplyAdam', 0, '0'],
] as const) {
  test(`output ${index} of ${type}, which has ${count}, is found`, (t) => {
    const graph = new Graph();
    const x = graph.add({ name: 'x', type: 'Const' }).output();
    const inputs = new Array<typeof x>(inputCount(type) ?? 0).fill(x);
    const producer = graph.add({ name: 'producer', type, inputs });
    graph.add({ name: 'taker', type: 'Identity', inputs: [producer.output(index)] });
    throwsTyped(
      t,
      () => verifyGraph(graph),
      'INVALID_ARGUMENT',
      '"taker"',
      `which has ${count}`,
      `producer:${index}`,
    );
  });
}

test('an operation with an input too few or too many is found', (t) => {
  const graph = sample();
  const [x, y] = [graph.get('x').output(), graph.get('y')];
  for (const inputs of [[], [x, x]]) {
    graph.setInputs(y, inputs);
    throwsTyped(
      t,
      () => verifyGraph(graph),
      'INVALID_ARGUMENT',
      '"y" (Identity)',
      '1 input',
      `${inputs.length}`,
    );
  }
});

test('an output beyond those that an attribute announces is found', (t) => {
  const graph = new Graph();
  const x = graph.add({ name: 'x', type: 'Const' }).output();
  const attrs = attributes({ num_split: attr.int(3) });
  const split = graph.add({ name: 's', type: 'Split', inputs: [x, x], attributes: attrs });
  const taker = graph.add({ name: 'taker', type: 'Identity', inputs: [split.output(2)] });
  t.notThrows(() => verifyGraph(graph));
  graph.setInput(taker, 0, split.output(3));
  throwsTyped(t, () => verifyGraph(graph), 'INVALID_ARGUMENT', 'which has 3');
});

test('a colocation group that names nothing is found', (t) => {
  const graph = sample();
  graph.setAttributes(graph.get('y'), { _class: attr.list([attr.string(printColocation('x'))]) });
  t.notThrows(() => verifyGraph(graph));
  graph.setAttributes(graph.get('y'), { _class: attr.list([attr.string(printColocation('gone'))]) });
  throwsTyped(t, () => verifyGraph(graph), 'INVALID_ARGUMENT', '"y"', 'loc:@gone');
  throwsTyped(t, () => verifyGraph(decodeGraphDef(encodeGraphDef(graph))), 'INVALID_ARGUMENT', 'loc:@gone');
});

test('a cycle is found and named, one through NextIteration is a loop', (t) => {
  const graph = sample();
  const y = graph.get('y');
  const w = graph.add({ name: 'w', type: 'Identity', inputs: [y.output(0)] });
  graph.setInput(y, 0, w.output(0));
  throwsTyped(t, () => verifyGraph(graph), 'INVALID_ARGUMENT', 'cycle', '"w"', '"y"');

  const loop = new Graph();
  const start = loop.add({ name: 'start', type: 'Const' });
  const enter = loop.add({ name: 'enter', type: 'Enter', inputs: [start.output()] });
  const merge = loop.add({ name: 'merge', type: 'Merge', inputs: [enter.output(), enter.output()] });
  const next = loop.add({ name: 'next', type: 'NextIteration', inputs: [merge.output()] });
  loop.setInput(merge, 1, next.output());
  t.notThrows(() => verifyGraph(loop));
});

test('a cycle of control edges is found', (t) => {
  const graph = sample();
  graph.addControlInput(graph.get('y'), graph.get('z'));
  throwsTyped(t, () => verifyGraph(graph), 'INVALID_ARGUMENT', 'cycle');
});

test('a name that TensorFlow would refuse is found', (t) => {
  const graph = new Graph();
  graph.add({ name: 'a b', type: 'NoOp' });
  throwsTyped(t, () => verifyGraph(graph), 'INVALID_ARGUMENT', '"a b"');
});

test('edits are verified as the whole graph is, removals too', (t) => {
  const graph = new Graph();
  const x = graph.add({ name: 'x', type: 'Const' });
  const group = attr.list([attr.string('loc:@x')]);
  graph.add({ name: 'y', type: 'NoOp', attributes: attributes({ _class: group }) });
  graph.takeEdited();
  graph.remove(x);
  throwsTyped(t, () => verifyEdits(graph), 'INVALID_ARGUMENT', '"y"', 'loc:@x');
  graph.add({ name: 'x', type: 'Const' });
  t.notThrows(() => verifyEdits(graph));
  graph.add({ name: 'z', type: 'Identity', inputs: [graph.get('x').output(1)] });
  throwsTyped(t, () => verifyEdits(graph), 'INVALID_ARGUMENT', '"x:1"');
});
