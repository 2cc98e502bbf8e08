/**
 * The Philox 4x32-10 counter-based generator (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3"), keyed and
 * advanced as TensorFlow's kernels do. A generator is five words of state; skipping is addition.
 */

/** 32-bit words drawn at a time. */
export const GROUP = 4;

const TWO_32 = 2 ** 32;
const WEYL_A = 0x9e3779b9;
const WEYL_B = 0xbb67ae85;
const MULTIPLIER_A = 0xd2511f53;
const MULTIPLIER_B = 0xcd9e8d57;

/** The upper 32 bits of a product of two 32-bit words. */
function multiplyHigh(a: number, b: number): number {
  const [aLow, aHigh, bLow, bHigh] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16];
  const middle = aHigh * bLow + aLow * bHigh + Math.floor((aLow * bLow) / 65536);
  return (aHigh * bHigh + Math.floor(middle / 65536)) >>> 0;
}

export class Philox {
  readonly #key: Uint32Array;
  readonly #counter: Uint32Array;

  /** From a seed (the key) and a second one (the upper half of the counter), each of 64 bits. */
  static ofSeeds(seed: bigint, seed2: bigint): Philox {
    const low = (word: bigint): number => Number(BigInt.asUintN(32, word));
    return new Philox(
      Uint32Array.of(low(seed), low(seed >> 32n)),
      Uint32Array.of(0, 0, low(seed2), low(seed2 >> 32n)),
    );
  }

  private constructor(key: Uint32Array, counter: Uint32Array) {
    this.#key = key;
    this.#counter = counter;
  }

  /** Key and counter: where in the sequence this is. */
  get state(): readonly number[] {
    return [...this.#key, ...this.#counter];
  }

  set state(words: readonly number[]) {
    this.#key.set(words.slice(0, this.#key.length));
    this.#counter.set(words.slice(this.#key.length));
  }

  /** A generator that goes on from here, on its own. */
  copy(): Philox {
    return new Philox(this.#key, this.#counter.slice());
  }

  /** Passes over `groups` draws. */
  skip(groups: number): void {
    const counter = this.#counter;
    let carry = groups;
    for (let i = 0; i < counter.length && carry > 0; i++) {
      const sum = counter[i]! + carry;
      counter[i] = sum % TWO_32;
      carry = Math.floor(sum / TWO_32);
    }
  }

  /** Draws one group into `out`, four words. */
  draw(out: Uint32Array): void {
    let [c0, c1, c2, c3] = this.#counter as unknown as [number, number, number, number];
    let [k0, k1] = this.#key as unknown as [number, number];
    for (let round = 0; round < 10; round++) {
      const highA = multiplyHigh(MULTIPLIER_A, c0);
      const lowA = Math.imul(MULTIPLIER_A, c0) >>> 0;
      const highB = multiplyHigh(MULTIPLIER_B, c2);
      const lowB = Math.imul(MULTIPLIER_B, c2) >>> 0;
      c0 = (highB ^ c1 ^ k0) >>> 0;
      c1 = lowB;
      c2 = (highA ^ c3 ^ k1) >>> 0;
      c3 = lowA;
      k0 = (k0 + WEYL_A) >>> 0;
      k1 = (k1 + WEYL_B) >>> 0;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
    this.skip(1);
  }
}
