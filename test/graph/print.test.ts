import { readFileSync } from 'node:fs';
import test from 'ava';
import { attr, attributes, decodeGraphFile, Graph, printGraph } from '../../src/graph/index.js';
import { fixtureNamed, graphPath } from '../helpers/fixtures.js';

test('a graph prints one line per operation, with sorted attributes and control inputs', (t) => {
  const graph = new Graph();
  const x = graph.add({
    name: 'x',
    type: 'Const',
    attributes: attributes({
      value: attr.tensor({
        dtype: 'float32',
        shape: [2],
        bytes: new Uint8Array(new Float32Array([1, -0.5]).buffer),
      }),
      dtype: attr.type('float32'),
    }),
  });
  const b = graph.add({ name: 'b', type: 'NoOp', device: '/job:ps/task:0' });
  const a = graph.add({
    name: 'a',
    type: 'NoOp',
    attributes: attributes({ s: attr.list([attr.string('q"')]) }),
  });
  graph.add({ name: 'y', type: 'Foo', inputs: [x.output(0), x.output(1)], controlInputs: [b, a] });
  t.is(
    printGraph(graph),
    [
      'x = Const() {dtype=float32, value=float32[2](1, -0.5)}',
      'b = NoOp() @/job:ps/task:0',
      'a = NoOp() {s=["q\\""]}',
      'y = Foo(x, x:1, ^a, ^b)',
      '',
    ].join('\n'),
  );
  t.is(printGraph(graph, { where: ({ type }) => type === 'Foo' }), 'y = Foo(x, x:1, ^a, ^b)\n');
});

test('the text of an exported graph is the same for the same bytes and differs when a value does', (t) => {
  const bytes = readFileSync(graphPath(fixtureNamed('mnist-cnn.resource')));
  const text = printGraph(decodeGraphFile(bytes).graph);
  t.is(text, printGraph(decodeGraphFile(Buffer.from(bytes)).graph));
  t.true(text.includes('conv1/kernel = VarHandleOp() {'));
  t.false(text.includes('undefined'));
});
