/**
 * An index of texts that stand in a file, by their bytes: finds the number under which a text was added, without making a string of it.
 * Inputs of nodes are looked up so, several hundred thousand times for a large graph.
 */
import type { NameIndex } from '../operation-table.js';

export class SpanTable implements NameIndex {
  readonly #bytes: Uint8Array;
  /** Start and end of each text, by number. */
  readonly #spans: number[] = [];
  readonly #hashes: number[] = [];
  /** Open addressing: number of a text plus one, 0 where free. */
  #slots = new Int32Array(1024);

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Adds a text and returns its number, which is the count of those before; -1 if it is there already. */
  add(start: number, end: number): number {
    const hash = hashOf(this.#bytes, start, end);
    const slot = this.#slotOf(this.#bytes, start, end, hash);
    if (this.#slots[slot] !== 0) return -1;
    const number = this.#hashes.push(hash);
    this.#spans.push(start, end);
    this.#slots[slot] = number;
    if (number * 2 > this.#slots.length) this.#grow();
    return number - 1;
  }

  /** The number of a text that is not in the file, or undefined. */
  get(text: string): number | undefined {
    const bytes = Buffer.from(text);
    const hash = hashOf(bytes, 0, bytes.length);
    const number = this.#slots[this.#slotOf(bytes, 0, bytes.length, hash)] as number;
    return number === 0 ? undefined : number - 1;
  }

  /** The number of the text that equals the bytes between two positions, or -1. */
  find(start: number, end: number): number {
    return (
      (this.#slots[this.#slotOf(this.#bytes, start, end, hashOf(this.#bytes, start, end))] as number) - 1
    );
  }

  /** The slot that holds the text, or the free one where it would be. */
  #slotOf(text: Uint8Array, start: number, end: number, hash: number): number {
    const mask = this.#slots.length - 1;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const number = this.#slots[slot] as number;
      if (number === 0) return slot;
      if (this.#hashes[number - 1] === hash && this.#equals(number - 1, text, start, end)) return slot;
    }
  }

  #equals(number: number, text: Uint8Array, start: number, end: number): boolean {
    const bytes = this.#bytes;
    const at = this.#spans[2 * number] as number;
    if ((this.#spans[2 * number + 1] as number) - at !== end - start) return false;
    for (let i = 0; i < end - start; i++) if (bytes[at + i] !== text[start + i]) return false;
    return true;
  }

  #grow(): void {
    const slots = new Int32Array(this.#slots.length * 4);
    const mask = slots.length - 1;
    for (let number = 1; number <= this.#hashes.length; number++) {
      let slot = (this.#hashes[number - 1] as number) & mask;
      while (slots[slot] !== 0) slot = (slot + 1) & mask;
      slots[slot] = number;
    }
    this.#slots = slots;
  }
}

/** FNV-1a, then spread over the high bits too, as slots are taken by the low ones. */
function hashOf(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ (bytes[i] as number), 0x01000193);
  return hash ^ (hash >>> 15);
}
