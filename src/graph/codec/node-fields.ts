/** The fields of one NodeDef while it is read, and where they stand. */
import { EncodedAttributes } from './encoded-attributes.js';
import { NODE, type NodeSpans } from './node-table.js';
import { WireWriter } from './wire.js';

export class NodeFields implements NodeSpans {
  nameStart = 0;
  nameEnd = 0;
  type = '';
  device = '';
  nodeStart = 0;
  bodyStart = 0;
  nodeEnd = 0;
  deviceStart = 0;
  deviceEnd = 0;
  attributesStart = 0;
  attributesEnd = 0;
  /** Of the last field that was passed. */
  #last = 0;
  #extra: WireWriter | undefined;
  /** Spans of attributes, once they turned out not to stand in one run. */
  #scattered: number[] | undefined;

  /** Begins a node: where it stands as a whole. */
  begin(tag: number, start: number, end: number): this {
    this.nodeStart = tag;
    this.bodyStart = start;
    this.nodeEnd = end;
    this.nameStart = this.nameEnd = this.attributesStart = this.attributesEnd = this.#last = 0;
    this.deviceStart = this.deviceEnd = start;
    this.type = this.device = '';
    this.#extra = undefined;
    this.#scattered = undefined;
    return this;
  }

  get extra(): Uint8Array | undefined {
    return this.#extra?.finish();
  }

  /**
   * Follows the fields to find the place of the device. Everyone writes fields in the order of their numbers; in a node that has them
   * otherwise, or one twice that stands once, there is no such place.
   */
  pass(field: number, end: number): void {
    const isRepeated = field === NODE.input || field >= NODE.attribute;
    if (field < this.#last || (field === this.#last && !isRepeated)) this.deviceStart = -1;
    if (this.deviceStart < 0) return;
    this.#last = Math.min(field, NODE.attribute + 1);
    if (field <= NODE.device) this.deviceEnd = end;
    if (field < NODE.device) this.deviceStart = end;
  }

  addAttribute(start: number, end: number): void {
    if (this.attributesEnd === 0) this.attributesStart = start;
    else if (start !== this.attributesEnd) this.#scattered ??= [this.attributesStart, this.attributesEnd];
    this.#scattered?.push(start, end);
    this.attributesEnd = end;
  }

  keep(file: Uint8Array, start: number, end: number): void {
    this.#extra ??= new WireWriter(32);
    this.#extra.raw(file, start, end);
  }

  /** Attributes that do not stand in one run, gathered. */
  scatteredAttributes(file: Uint8Array): EncodedAttributes | undefined {
    if (this.#scattered === undefined) return undefined;
    this.deviceStart = -1;
    const gathered = new WireWriter();
    for (let i = 0; i < this.#scattered.length; i += 2) {
      gathered.raw(file, this.#scattered[i], this.#scattered[i + 1]);
    }
    return new EncodedAttributes(gathered.finish(), 0, gathered.length, NODE.attribute, true);
  }
}
