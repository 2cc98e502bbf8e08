import test from 'ava';
import { GradsyncError } from '../../src/errors.js';
import * as name from '../../src/graph/name.js';
import { fc } from '../helpers/properties.js';

test('a tensor name without an index means output 0, a fetch of it means the operation', (t) => {
  t.deepEqual(name.parseTensorName('a/b:12'), { operation: 'a/b', index: 12 });
  t.deepEqual(name.parseTensorName('a/b'), { operation: 'a/b', index: 0 });
  t.deepEqual(name.parseFetchName('train_op'), { operation: 'train_op', index: undefined });
  t.deepEqual(name.parseFetchName('train_op:0'), { operation: 'train_op', index: 0 });
});

for (const bad of ['', ':0', 'a b', '^a', 'a:', 'a:x', '_a', 'a:99999999999', 'a\u00e9:0', 'a:0:0']) {
  test(`"${bad}" is refused as a tensor name`, (t) => {
    const error = t.throws(() => name.parseTensorName(bad), { instanceOf: GradsyncError });
    t.is(error.code, 'INVALID_ARGUMENT');
  });
}

test('node inputs print as TensorFlow writes them and parse back', (t) => {
  for (const text of ['a', 'a:1', '^a', 'scope/a_1:20', '^scope/a']) {
    t.is(name.printInputRef(name.parseInputRef(text)), text);
  }
  t.is(name.printInputRef(name.parseInputRef('a:0')), 'a');
});

test('tensor names printed are parsed back to the same parts', (t) => {
  const part = fc.stringMatching(/^[A-Za-z0-9.][A-Za-z0-9_.\-/]{0,12}$/);
  fc.assert(
    fc.property(part, fc.nat({ max: 0x7fffffff }), (operation, index) => {
      t.deepEqual(name.parseTensorName(name.printTensorName(operation, index)), { operation, index });
    }),
  );
});

test('scopes are taken apart and joined', (t) => {
  t.is(name.baseName('a/b/c'), 'c');
  t.is(name.joinName('', 'a/b', 'c'), 'a/b/c');
  t.true(name.isInScope('a/b', 'a'));
  t.true(name.isInScope('a', 'a'));
  t.false(name.isInScope('ab', 'a'));
  t.true(name.isInScope('ab', ''));
});

test('colocation groups name an operation', (t) => {
  t.is(name.parseColocation(name.printColocation('a/b')), 'a/b');
  t.is(name.parseColocation('other'), undefined);
});

test('operation names are valid as TensorFlow says', (t) => {
  for (const good of ['a', '.a', '0', 'a/b-c_d.e', 'A>b']) t.true(name.isValidOperationName(good), good);
  for (const bad of ['', '/a', '_a', '-a', 'a:0', 'a>', 'a>_b']) t.false(name.isValidOperationName(bad), bad);
});
