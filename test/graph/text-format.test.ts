/** Text graphs open like binary ones. */
import test from 'ava';
import { GradsyncError } from '../../src/errors.js';
import { decodeGraphFile, printGraph } from '../../src/graph/index.js';
import { fc } from '../helpers/properties.js';
import { throwsTyped } from '../helpers/throws.js';

const open = (text: string) => decodeGraphFile(new TextEncoder().encode(text), 'graph.pbtxt');

const SAMPLE = `# a comment
node {
  name: "x"
  op: "Const"
  attr { key: "dtype" value { type: DT_FLOAT } }
  attr {
    key: "value"
    value { tensor { dtype: DT_FLOAT tensor_shape { dim { size: 2 } } tensor_content: "\\000\\000\\200?\\000\\000\\000\\xbf" } }
  }
}
node <
  name: 'y', op: "Ident" "ity"; input: ["x", "^x"]
  device: "/job:ps"
  attr { key: "l" value { list { i: [1, -2] f: 1.5e0 f: inf } } }
  attr { key: "r" value { type: DT_FLOAT_REF } }
>
versions { producer: 27 }
`;

test('a text GraphDef is read, whatever way it is written', (t) => {
  const { graph } = open(SAMPLE);
  t.is(
    printGraph(graph),
    [
      'x = Const() {dtype=float32, value=float32[2](1, -0.5)}',
      'y = Identity(x, ^x) @/job:ps {l=[1, -2, 1.5, Infinity], r=float32&}',
      '',
    ].join('\n'),
  );
  t.deepEqual([...graph.extra], [0x22, 2, 8, 27]);
});

test('a text MetaGraphDef is read with its collections and saver', (t) => {
  const meta = open(`meta_info_def { tags: "train" }
graph_def { ${SAMPLE} }
saver_def { filename_tensor_name: "x:0" save_tensor_name: "y:0" restore_op_name: "y" version: V2 }
collection_def { key: "train_op" value { node_list { value: "y" } } }
collection_def { key: "numbers" value { int64_list { value: 1 value: -1 } } }`);
  t.is(meta.graph.size, 2);
  t.deepEqual(meta.saver, { filename: 'x:0', save: 'y:0', restore: 'y' });
  t.deepEqual(meta.collections.get('train_op'), { kind: 'nodes', names: ['y'] });
  t.deepEqual(meta.collections.get('numbers'), { kind: 'ints', values: [1n, -1n] });
});

test('a string of megabytes with an escape for every byte is read', (t) => {
  const { graph } = open(
    `node { name: "x" op: "T" attr { key: "s" value { s: "${'\\001'.repeat(2_000_000)}" } } }`,
  );
  const value = graph.get('x').attributes.get('s');
  t.is(value?.kind === 'string' ? value.value.length : 0, 2_000_000);
});

const BAD: readonly (readonly [string, string])[] = [
  ['node { name: "x" op: "T" colour: 3 }', 'field of NodeDef at line 1'],
  ['node {\n name "x" }', '":" at line 2'],
  ['node { name: "x', 'a string that ends'],
  ['node { name: "x" op: "T"', 'the end of the text'],
  ['node { name: x }', 'a string'],
  ['node { attr { value { i: many } } }', 'a value of int'],
  ['node { attr { value { type: DT_NONE } } }', 'a value of datatype'],
  ['node { attr { value { f: x } } }', 'a number'],
  ['node: 3', '"{"'],
];
for (const [text, part] of BAD) {
  test(`${JSON.stringify(text)} is refused with the line`, (t) => {
    throwsTyped(t, () => open(text), 'INVALID_ARGUMENT', part, 'graph.pbtxt');
  });
}

test('damaged text is a typed error or a graph, never a crash', (t) => {
  const edit = fc.tuple(fc.nat({ max: SAMPLE.length - 1 }), fc.nat({ max: 20 }), fc.string({ maxLength: 4 }));
  fc.assert(
    fc.property(edit, ([at, count, insert]) => {
      try {
        open(SAMPLE.slice(0, at) + insert + SAMPLE.slice(at + count));
      } catch (error) {
        if (!(error instanceof GradsyncError)) throw error;
      }
    }),
    { numRuns: 500 },
  );
  const deep = 'node { attr { value { func { attr { value { func {'.repeat(1000);
  t.throws(() => open(deep), { instanceOf: GradsyncError });
});
