import test from 'ava';
import { attr, attributes } from '../../src/graph/attributes.js';
import { Graph } from '../../src/graph/graph.js';
import { producedType } from '../../src/rewrite/dtype-of.js';

const produced = (type: string, values: Parameters<typeof attributes>[0]) =>
  producedType(new Graph().add({ type, name: 'operation', attributes: attributes(values) }).output());

test('a comparison gives bools, whatever it compares', (t) => {
  t.is(produced('Greater', { T: attr.type('float32') }), 'bool');
  t.is(produced('Add', { T: attr.type('float32') }), 'float32');
});

test('the shape of a variable has the type of a shape', (t) => {
  t.is(produced('VariableShape', { out_type: attr.type('int64') }), 'int64');
});
