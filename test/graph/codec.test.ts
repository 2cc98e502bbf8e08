/** GraphDef and MetaGraphDef: nothing is lost, and whatever is not a graph is a typed error. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { GradsyncError } from '../../src/errors.js';
import {
  type AttrValue,
  attr,
  attributes,
  decodeGraphDef,
  decodeGraphFile,
  decodeMetaGraphDef,
  encodeGraphDef,
  encodeMetaGraphDef,
  Graph,
} from '../../src/graph/index.js';
import { projectPath } from '../helpers/paths.js';
import { fc } from '../helpers/properties.js';

const folder = projectPath('test', 'fixtures');
const files = readdirSync(folder).filter((name) => name.endsWith('.meta'));
const read = (name: string): Uint8Array => readFileSync(join(folder, name));

for (const name of files) {
  test(`${name} is written back byte for byte`, (t) => {
    const bytes = read(name);
    const meta = decodeGraphFile(bytes);
    t.true(meta.graph.size > 10);
    t.true(meta.collections.has('variables'));
    t.deepEqual(Buffer.from(encodeMetaGraphDef(meta)), Buffer.from(bytes));
  });

  test(`${name} is the same when every node is encoded anew`, (t) => {
    const meta = decodeMetaGraphDef(read(name));
    for (const operation of meta.graph.operations()) {
      meta.graph.setInputs(operation, operation.inputs);
      t.false(operation.isIntact);
    }
    t.deepEqual(Buffer.from(encodeMetaGraphDef(meta)), Buffer.from(read(name)));
  });

  test(`${name} with other devices is the same, whether nodes are copied or encoded anew`, (t) => {
    const moved = decodeMetaGraphDef(read(name));
    const anew = decodeMetaGraphDef(read(name));
    for (const device of ['/job:worker/task:1/device:CPU:0', '/cpu:0', '']) {
      for (const operation of moved.graph.operations()) moved.graph.setDevice(operation, device);
      for (const operation of anew.graph.operations()) {
        anew.graph.setDevice(operation, device);
        anew.graph.setInputs(operation, operation.inputs);
      }
      t.deepEqual(Buffer.from(encodeMetaGraphDef(moved)), Buffer.from(encodeMetaGraphDef(anew)));
    }
  });

  test(`every attribute of ${name} is decoded and encodes to a value that decodes the same`, (t) => {
    const { graph } = decodeMetaGraphDef(read(name));
    const again = decodeGraphDef(encodeGraphDef(rebuilt(graph)));
    for (const operation of graph.operations()) {
      const twin = again.get(operation.name);
      for (const key of operation.attributes.names()) {
        const value = plain(operation.attributes.get(key));
        t.not(value?.kind, 'unknown', `${operation.name} ${key}`);
        t.deepEqual(plain(twin.attributes.get(key)), value, `${operation.name} ${key}`);
      }
    }
  });
}

/** The graph with every attribute decoded and set anew. */
function rebuilt(graph: Graph): Graph {
  const { graph: copy } = graph.copy();
  for (const operation of copy.operations()) {
    const names = [...operation.attributes.names()];
    copy.setAttributes(
      operation,
      Object.fromEntries(names.map((name) => [name, operation.attributes.get(name)])),
    );
  }
  return copy;
}

/** Values with views of buffers made comparable. */
function plain(value: AttrValue | undefined): AttrValue | undefined {
  if (value === undefined) return undefined;
  if (value.kind === 'list')
    return { kind: 'list', items: value.items.map((item) => plain(item) as AttrValue) };
  if (value.kind === 'string') return { kind: 'string', value: Uint8Array.from(value.value) };
  if (value.kind !== 'tensor') return value;
  const { bytes, strings, ...rest } = value.value;
  const texts = strings === undefined ? {} : { strings: strings.map((text) => Uint8Array.from(text)) };
  return { kind: 'tensor', value: { ...rest, bytes: Uint8Array.from(bytes), ...texts } };
}

const anyItem: fc.Arbitrary<AttrValue> = fc.oneof(
  fc.uint8Array({ maxLength: 30 }).map((value): AttrValue => ({ kind: 'string', value })),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((value) => attr.int(value)),
  fc.float().map((value) => attr.float(value)),
  fc.boolean().map((value) => attr.bool(value)),
  fc
    .constantFrom('float32' as const, 'resource' as const, 'string' as const)
    .map((value) => attr.type(value)),
  fc.constant<AttrValue>({ kind: 'type', value: 'float32', reference: true }),
  fc
    .option(fc.array(fc.integer({ min: -1, max: 2 ** 40 }), { maxLength: 4 }))
    .map((value) => attr.shape(value)),
  fc
    .uint8Array({ maxLength: 12 })
    .map((bytes) => attr.tensor({ dtype: 'uint8', shape: [bytes.length], bytes })),
  fc.constant(
    attr.tensor({
      dtype: 'string',
      shape: [2],
      bytes: new Uint8Array(),
      strings: [Uint8Array.of(1), Uint8Array.of()],
    }),
  ),
);

const anyValue = fc.oneof(
  anyItem,
  fc.tuple(anyItem, fc.nat({ max: 5 })).map(([item, count]) => attr.list(new Array(count).fill(item))),
  fc.string().map((value): AttrValue => ({ kind: 'placeholder', value })),
);

test('any attribute value is read back as it was written', (t) => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), anyValue, { maxKeys: 4 }), (record) => {
      const values = Object.fromEntries(Object.entries(record).filter(([key]) => key !== '__proto__'));
      const graph = new Graph();
      graph.add({ name: 'a', type: 'NoOp', attributes: attributes(values) });
      const again = decodeGraphDef(Uint8Array.from(encodeGraphDef(graph))).get('a').attributes;
      t.deepEqual([...again.names()], Object.keys(values));
      for (const [key, value] of Object.entries(values)) t.deepEqual(plain(again.get(key)), value);
    }),
  );
});

test('a changed attribute leaves the others as they stood, in their order', (t) => {
  const first = new Graph();
  const values = attributes({ a: attr.int(1), b: attr.int(2), c: attr.int(3), d: attr.int(4) });
  first.add({ name: 'x', type: 'T', attributes: values });
  const graph = decodeGraphDef(encodeGraphDef(first));
  graph.setAttributes(graph.get('x'), { b: attr.bool(true), e: attr.float(0.5), c: undefined });
  t.is(graph.get('x').attributes.get('c'), undefined);
  const again = decodeGraphDef(encodeGraphDef(graph)).get('x').attributes;
  t.deepEqual([...again.names()], ['a', 'b', 'd', 'e']);
  t.deepEqual(again.get('b'), attr.bool(true));
  t.deepEqual(again.get('e'), attr.float(0.5));
});

test('fields that are not known are carried, in the graph and in a node', (t) => {
  // Name a, type T, field 6 (experimental_debug_info) and field 1007.
  const node = [0x0a, 1, 97, 0x12, 1, 84, 0x32, 2, 1, 2, 0xfa, 0x3e, 1, 7];
  const graphFields = [0x22, 2, 8, 27, 0xfa, 0x3e, 1, 9];
  const bytes = Uint8Array.from([0x0a, node.length, ...node, ...graphFields]);
  const graph = decodeGraphDef(bytes);
  t.deepEqual(Buffer.from(encodeGraphDef(graph)), Buffer.from(bytes));
  graph.setDevice(graph.get('a'), '/job:a');
  const edited = decodeGraphDef(encodeGraphDef(graph));
  t.is(edited.get('a').device, '/job:a');
  t.deepEqual(Buffer.from(edited.get('a').extra!), Buffer.from(node.slice(6)));
  t.deepEqual(Buffer.from(edited.extra), Buffer.from(graphFields));
});

/** Opens a file and reads every attribute: done, or a typed error. */
function open(bytes: Uint8Array): void {
  try {
    const meta = decodeGraphFile(bytes, 'a.pb');
    for (const { attributes: values } of meta.graph.operations()) {
      for (const name of values.names()) values.get(name);
    }
  } catch (error) {
    if (!(error instanceof GradsyncError)) throw error;
  }
}

const sample = read('linear-regression.resource.meta');

test('a file cut anywhere is a typed error or a whole graph, never a crash', (t) => {
  for (let length = 0; length < sample.length; length += 7) {
    const cut = sample.subarray(0, length);
    const error = t.throws(() => decodeMetaGraphDef(cut), { instanceOf: GradsyncError });
    t.true(['DATA_LOSS', 'INVALID_ARGUMENT'].includes(error.code));
    open(cut);
  }
});

test('a file with flipped bytes is a typed error or a graph, never a crash', (t) => {
  const flips = fc.array(fc.tuple(fc.nat({ max: sample.length - 1 }), fc.integer({ min: 1, max: 255 })), {
    minLength: 1,
    maxLength: 8,
  });
  fc.assert(
    fc.property(flips, (list) => {
      const damaged = Uint8Array.from(sample);
      for (const [at, mask] of list) damaged[at]! ^= mask;
      open(damaged);
    }),
    { numRuns: 400 },
  );
  t.pass();
});

test('random bytes are a typed error', (t) => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), open), { numRuns: 500 });
  t.pass();
});

const NOT_GRAPHS: readonly (readonly [string, Uint8Array])[] = [
  ['an empty file', new Uint8Array()],
  ['a PNG', Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a)],
  ['a text', new TextEncoder().encode('Hello, I am no graph.\n')],
  ['a JSON file', new TextEncoder().encode('{"nodes": []}')],
  ['a SavedModel', Uint8Array.of(8, 1, 0x12, 0)],
];
for (const [what, bytes] of NOT_GRAPHS) {
  test(`${what} is refused with what was expected and what to do`, (t) => {
    const error = t.throws(() => decodeGraphFile(bytes, 'x.meta'), { instanceOf: GradsyncError });
    t.is(error.code, 'INVALID_ARGUMENT');
    t.is(error.details.file, 'x.meta');
    t.truthy(error.details.expected);
    t.truthy(error.details.received);
    t.truthy(error.details.remedy);
  });
}

test('a node that names an input that is not there is an error naming the node', (t) => {
  const graph = new Graph();
  const a = graph.add({ name: 'a', type: 'NoOp' });
  graph.add({ name: 'bcd', type: 'Identity', inputs: [a.output(0)] });
  const bytes = Buffer.from(encodeGraphDef(graph));
  bytes[bytes.lastIndexOf('a')] = 'z'.charCodeAt(0);
  const error = t.throws(() => decodeGraphFile(bytes, 'x'), { instanceOf: GradsyncError });
  t.is(error.details.operation, 'bcd');
});

test('a name that stands twice is an error naming it', (t) => {
  const graph = new Graph();
  graph.add({ name: 'abc', type: 'NoOp' });
  const once = encodeGraphDef(graph);
  const error = t.throws(() => decodeGraphDef(Buffer.concat([once, once])), { instanceOf: GradsyncError });
  t.is(error.code, 'ALREADY_EXISTS');
  t.is(error.details.operation, 'abc');
});

test('a tensor with another number of elements than its shape has is refused when it is written', (t) => {
  for (const value of [
    attr.tensor({ dtype: 'float32', shape: [2], bytes: new Uint8Array(4) }),
    attr.tensor({ dtype: 'string', shape: [], bytes: new Uint8Array(), strings: [] }),
  ]) {
    const graph = new Graph();
    graph.add({ name: 'a', type: 'Const', attributes: attributes({ value }) });
    const error = t.throws(() => encodeGraphDef(graph), { instanceOf: GradsyncError });
    t.is(error.code, 'INVALID_ARGUMENT');
  }
});
