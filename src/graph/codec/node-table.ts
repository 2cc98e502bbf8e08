/**
 * Where nodes stand in a file or buffer, by row: columns of positions instead of an object per node, as a large graph has hundreds of
 * thousands. Serves names and attributes out of the bytes to whoever asks.
 */
import type { Attributes } from '../attributes.js';
import type { StoredNodes } from '../operation.js';
import { EncodedAttributes } from './encoded-attributes.js';
import { bufferOf, WireReader } from './wire.js';

/** Fields of NodeDef. */
export const NODE = { name: 1, type: 2, input: 3, device: 4, attribute: 5 } as const;

/** Columns: positions in the bytes. */
export const AT = {
  /** The whole NodeDef, with tag and length. */
  nodeStart: 0,
  nodeEnd: 1,
  /** Behind tag and length. */
  bodyStart: 2,
  /** The text of the name. */
  nameStart: 3,
  nameEnd: 4,
  /** The field of the device: an empty span where one would stand; -1 if a node with another device is to be written anew. */
  deviceStart: 5,
  deviceEnd: 6,
  /** The run of attributes; empty if there is none. */
  attributesStart: 7,
  attributesEnd: 8,
} as const;

type Column = (typeof AT)[keyof typeof AT];
export type NodeSpans = Readonly<Record<keyof typeof AT, number>>;

const WIDTH = Object.keys(AT).length;

export class NodeTable implements StoredNodes {
  readonly file: Uint8Array;
  #cells: Int32Array;
  readonly #devices: string[] = [];

  /** `rows`: a guess of how many there will be. */
  constructor(file: Uint8Array, rows = 64) {
    this.file = bufferOf(file);
    this.#cells = new Int32Array(WIDTH * rows);
  }

  /** Adds a node and the device that stands in it; returns its row. */
  add(spans: NodeSpans, device: string): number {
    const row = this.#devices.push(device) - 1;
    if (row * WIDTH === this.#cells.length) this.#grow();
    const cells = this.#cells;
    const first = row * WIDTH;
    cells[first + AT.nodeStart] = spans.nodeStart;
    cells[first + AT.nodeEnd] = spans.nodeEnd;
    cells[first + AT.bodyStart] = spans.bodyStart;
    cells[first + AT.nameStart] = spans.nameStart;
    cells[first + AT.nameEnd] = spans.nameEnd;
    cells[first + AT.deviceStart] = spans.deviceStart;
    cells[first + AT.deviceEnd] = spans.deviceEnd;
    cells[first + AT.attributesStart] = spans.attributesStart;
    cells[first + AT.attributesEnd] = spans.attributesEnd;
    return row;
  }

  at(row: number, column: Column): number {
    return this.#cells[row * WIDTH + column] as number;
  }

  /** The device that stands in the node. */
  device(row: number): string {
    return this.#devices[row] as string;
  }

  name(row: number): string {
    return new WireReader(this.file).text(this.at(row, AT.nameStart), this.at(row, AT.nameEnd));
  }

  attributes(row: number): Attributes {
    return new EncodedAttributes(
      this.file,
      this.at(row, AT.attributesStart),
      this.at(row, AT.attributesEnd),
      NODE.attribute,
      true,
    );
  }

  #grow(): void {
    const cells = new Int32Array(this.#cells.length * 2);
    cells.set(this.#cells);
    this.#cells = cells;
  }
}
