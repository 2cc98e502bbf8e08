/** Reads the text form of a graph (`.pbtxt`) by turning it into the binary one, field by field, in the order of the text. */
import { GradsyncError } from '../../errors.js';
import { enumNumber, type FieldKind, isEnum, messageSchema } from './text-schema.js';
import { FIXED32, FIXED64, VARINT, WireWriter } from './wire.js';

/** Messages nest about ten deep; function attributes a little deeper. */
const MAX_DEPTH = 60;
/** Blanks and comments; then a word, a number, or a sign. Strings, which may be megabytes, are scanned by hand. */
const BLANK = /(?:\s|#[^\n]*)*/y;
const TOKEN = /[A-Za-z_][\w.]*|[-+]?(?:inf\w*|nan|[0-9.][\w.+-]*)|[{}<>[\]:,;-]/y;

/** Whether a file looks like text: its first bytes are printable and begin with a field's name. */
export function looksLikeText(bytes: Uint8Array): boolean {
  const head = Buffer.from(bytes.subarray(0, 256)).toString('latin1');
  return /^[\t\n\r -~]*$/.test(head) && /^(\s|#[^\n]*\n)*[a-z_]+\s*[:{<]/.test(head);
}

/** The binary form of a text GraphDef or MetaGraphDef. INVALID_ARGUMENT with the line where it is not one. */
export function encodeText(text: string): Uint8Array {
  const parser = new TextParser(text);
  const isMeta = /^(\s|#[^\n]*\n)*(meta_info_def|graph_def|saver_def|collection_def)\b/.test(text);
  return parser.message(isMeta ? 'MetaGraphDef' : 'GraphDef');
}

class TextParser {
  readonly #text: string;
  /** Patterns keep their place, so each parser has its own. */
  readonly #blank = new RegExp(BLANK);
  readonly #word = new RegExp(TOKEN);
  #position = 0;
  /** The token at hand: '' at the end. */
  #token = '';
  #isString = false;

  constructor(text: string) {
    this.#text = text;
    this.#next();
  }

  message(name: string): Uint8Array {
    const writer = new WireWriter(this.#text.length / 2);
    this.#fields(name, '', writer, 0);
    return writer.finish();
  }

  #fields(message: string, close: string, writer: WireWriter, depth: number): void {
    const schema = messageSchema(message);
    if (schema === undefined || depth > MAX_DEPTH) throw this.#bad(`a message at most ${MAX_DEPTH} deep`);
    while (this.#isString || this.#token !== close) {
      const field = schema.get(this.#token);
      if (this.#isString || field === undefined) throw this.#bad(`a field of ${message}`);
      this.#next();
      const hasColon = this.#take(':');
      if (this.#take('[')) this.#list(field, writer, depth);
      else this.#value(field, hasColon, writer, depth);
      if (!this.#take(',')) this.#take(';');
    }
  }

  #list(field: { number: number; kind: FieldKind }, writer: WireWriter, depth: number): void {
    if (this.#take(']')) return;
    do this.#value(field, true, writer, depth);
    while (this.#take(','));
    if (!this.#take(']')) throw this.#bad('"]"');
  }

  #value(
    { number, kind }: { number: number; kind: FieldKind },
    hasColon: boolean,
    writer: WireWriter,
    depth: number,
  ): void {
    if (messageSchema(kind) !== undefined) {
      const close = this.#token === '<' ? '>' : '}';
      if (!this.#take('{') && !this.#take('<')) throw this.#bad('"{"');
      writer.message(number, () => this.#fields(kind, close, writer, depth + 1));
      if (!this.#take(close)) throw this.#bad(`"${close}"`);
      return;
    }
    if (!hasColon) throw this.#bad('":"');
    if (kind === 'string') writer.bytes(number, this.#string());
    else this.#scalar(number, kind, writer);
  }

  #scalar(number: number, kind: FieldKind, writer: WireWriter): void {
    const token = this.#isString ? '' : this.#token;
    if (kind === 'float' || kind === 'double') {
      const value = parseNumber(token);
      if (value === undefined) throw this.#bad('a number');
      writer.tag(number, kind === 'float' ? FIXED32 : FIXED64);
      if (kind === 'float') writer.float(value);
      else writer.double(value);
    } else {
      const value = parseInteger(token, kind);
      if (value === undefined) throw this.#bad(`a value of ${kind.toLowerCase()}`);
      writer.tag(number, VARINT);
      writer.signed64(value);
    }
    this.#next();
  }

  /** One string or several in a row, which are joined. */
  #string(): Uint8Array {
    if (!this.#isString) throw this.#bad('a string');
    const parts: Buffer[] = [];
    while (this.#isString) {
      parts.push(unescapeString(this.#token));
      this.#next();
    }
    return Buffer.concat(parts);
  }

  #take(punctuation: string): boolean {
    if (this.#isString || this.#token !== punctuation) return false;
    this.#next();
    return true;
  }

  #next(): void {
    this.#match(this.#blank);
    const quote = this.#text[this.#position];
    this.#isString = quote === '"' || quote === "'";
    if (quote !== undefined && this.#isString) {
      this.#token = this.#quoted(quote);
      return;
    }
    this.#token = this.#match(this.#word);
    if (this.#token === '' && quote !== undefined) throw this.#bad('text');
  }

  /** The text that a pattern matches at hand, which is passed over. */
  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#position;
    const text = pattern.exec(this.#text)?.[0] ?? '';
    this.#position += text.length;
    return text;
  }

  /** What stands between two quotes. */
  #quoted(quote: string): string {
    const start = this.#position + 1;
    let end = start;
    while (end < this.#text.length && this.#text[end] !== quote) end += this.#text[end] === '\\' ? 2 : 1;
    if (end >= this.#text.length) throw this.#bad('a string that ends');
    this.#position = end + 1;
    return this.#text.slice(start, end);
  }

  #bad(expected: string): GradsyncError {
    const line = this.#text.slice(0, this.#position).split('\n').length;
    return new GradsyncError('INVALID_ARGUMENT', 'Graph file in text form', {
      expected: `${expected} at line ${line}`,
      received: this.#token === '' ? 'the end of the text' : this.#token.slice(0, 60),
      remedy: 'export the graph in binary form, or whole',
    });
  }
}

function parseNumber(token: string): number | undefined {
  if (/^[-+]?inf/i.test(token))
    return token.startsWith('-') ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  if (/^[-+]?nan$/i.test(token)) return Number.NaN;
  const value = Number(token.replace(/f$/i, ''));
  return token === '' || Number.isNaN(value) ? undefined : value;
}

function parseInteger(token: string, kind: FieldKind): bigint | undefined {
  if (kind === 'bool' && (token === 'true' || token === 'false')) return token === 'true' ? 1n : 0n;
  if (isEnum(kind) && !/^-?\d/.test(token)) {
    const number = enumNumber(kind, token);
    return number === undefined ? undefined : BigInt(number);
  }
  return /^-?\d{1,20}$/.test(token) ? BigInt(token) : undefined;
}

const ESCAPES: Readonly<Record<string, number>> = { n: 10, t: 9, r: 13, a: 7, b: 8, f: 12, v: 11 };

/** Octal and hexadecimal escapes are bytes; everything else is UTF-8. */
function unescapeString(text: string): Buffer {
  if (!text.includes('\\')) return Buffer.from(text);
  // No escape is shorter than the bytes it stands for.
  const out = Buffer.alloc(Buffer.byteLength(text));
  let length = 0;
  for (let at = 0; at < text.length; ) {
    const slash = text.indexOf('\\', at);
    const plain = text.slice(at, slash < 0 ? text.length : slash);
    length += out.write(plain, length);
    if (slash < 0) break;
    const [byte, size] = readEscape(text, slash + 1);
    out[length++] = byte;
    at = slash + 1 + size;
  }
  return out.subarray(0, length);
}

/** The byte an escape stands for, and the characters behind the backslash that it takes. */
function readEscape(text: string, at: number): readonly [number, number] {
  const digits = /^(?:[0-7]{1,3}|x[0-9a-fA-F]{1,2})/.exec(text.slice(at, at + 3))?.[0];
  if (digits === undefined) return [ESCAPES[text[at] ?? ''] ?? text.charCodeAt(at), 1];
  const isHex = digits.startsWith('x');
  return [Number.parseInt(isHex ? digits.slice(1) : digits, isHex ? 16 : 8), digits.length];
}
