/** CRC-32C (Castagnoli, RFC 3720 appendix B.4), and the masked form in which TensorFlow's and LevelDB's files hold it. */

/** The polynomial with its bits reversed. */
const POLYNOMIAL = 0x82f63b78;
const MASK_DELTA = 0xa282ead8;
/** Bytes taken at once: one table for each ("slicing-by-8"). */
const STRIDE = 8;
const TABLES = makeTables();

/** Table k holds the remainder of every byte that k zero bytes follow. */
function makeTables(): readonly Int32Array[] {
  const first = Int32Array.from({ length: 256 }, (_, byte) => {
    let remainder = byte;
    for (let bit = 0; bit < 8; bit++) remainder = (remainder >>> 1) ^ (remainder & 1 ? POLYNOMIAL : 0);
    return remainder;
  });
  const tables = [first];
  while (tables.length < STRIDE) {
    tables.push(tables.at(-1)!.map((remainder) => (remainder >>> 8) ^ first[remainder & 0xff]!));
  }
  return tables;
}

/** The checksum of some bytes, unsigned; `before` is that of the bytes in front of them. */
export function crc32c(bytes: Uint8Array, before = 0): number {
  const [t0, t1, t2, t3, t4, t5, t6, t7] = TABLES as Int32Array[];
  let crc = ~before;
  let at = 0;
  for (const whole = bytes.length - (bytes.length % STRIDE); at < whole; at += STRIDE) {
    crc ^= bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    crc =
      t7![crc & 0xff]! ^
      t6![(crc >>> 8) & 0xff]! ^
      t5![(crc >>> 16) & 0xff]! ^
      t4![crc >>> 24]! ^
      t3![bytes[at + 4]!]! ^
      t2![bytes[at + 5]!]! ^
      t1![bytes[at + 6]!]! ^
      t0![bytes[at + 7]!]!;
  }
  for (; at < bytes.length; at++) crc = (crc >>> 8) ^ t0![(crc ^ bytes[at]!) & 0xff]!;
  return ~crc >>> 0;
}

/** As files hold it: a checksum of bytes that contain checksums would else say little. */
export function maskCrc(crc: number): number {
  return (((crc >>> 15) | (crc << 17)) + MASK_DELTA) >>> 0;
}
