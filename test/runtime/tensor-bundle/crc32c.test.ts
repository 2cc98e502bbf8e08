/** CRC-32C: the vectors of its specification, and that it may be computed in pieces. */
import test from 'ava';
import { crc32c, maskCrc } from '../../../src/runtime/tensor-bundle/crc32c.js';
import { fc } from '../../helpers/properties.js';

const ascending = Uint8Array.from({ length: 32 }, (_, i) => i);

test('the vectors of RFC 3720 come out', (t) => {
  t.is(crc32c(new Uint8Array(32)), 0x8a9136aa);
  t.is(crc32c(new Uint8Array(32).fill(0xff)), 0x62a8ab43);
  t.is(crc32c(ascending), 0x46dd794e);
  t.is(crc32c(ascending.toReversed()), 0x113fdb5c);
  t.is(crc32c(Buffer.from('123456789')), 0xe3069283);
  t.is(crc32c(new Uint8Array()), 0);
});

test('the checksum of two pieces is that of the whole, wherever it is cut', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(100), (bytes, at) => {
      t.is(crc32c(bytes.subarray(at), crc32c(bytes.subarray(0, at))), crc32c(bytes));
    }),
  );
});

test('a checksum of nothing is masked as in the files of TensorFlow', (t) => {
  t.is(maskCrc(0), 0xa282ead8);
  t.is(maskCrc(0xffffffff), 0xa282ead7);
});
