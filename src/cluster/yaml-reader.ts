/**
 * A cursor over a YAML document that checks as it reads: every getter names the path, the line and what was expected when the document
 * disagrees. It knows nothing about resources.
 */
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type ParsedNode,
  parseDocument,
} from 'yaml';
import { excerpt, GradsyncError } from '../errors.js';

interface Source {
  readonly document: Document.Parsed;
  readonly lines: LineCounter;
  readonly file: string | undefined;
}

export class YamlCursor {
  readonly #source: Source;
  readonly #node: Node | null;
  readonly #path: string;

  private constructor(source: Source, node: Node | null, path: string) {
    this.#source = source;
    this.#node = node;
    this.#path = path;
  }

  /** Parses `text`; bad YAML is INVALID_ARGUMENT with its line. */
  static parse(text: string, file?: string): YamlCursor {
    const lines = new LineCounter();
    const document = parseDocument<ParsedNode>(text, { lineCounter: lines, prettyErrors: false });
    const cursor = new YamlCursor(
      { document: document as Document.Parsed, lines, file },
      document.contents,
      '',
    );
    const problem = document.errors[0];
    if (problem === undefined) return cursor;
    throw new GradsyncError(
      'INVALID_ARGUMENT',
      `Resource specification, line ${lines.linePos(problem.pos[0]).line}`,
      {
        expected: 'valid YAML',
        received: problem.code === 'MULTIPLE_DOCS' ? 'several documents' : excerpt(problem.message),
        remedy: 'correct the YAML there',
        ...(file === undefined ? {} : { file }),
      },
    );
  }

  /** The error of this place. */
  error(expected: string, received: string, remedy: string): GradsyncError {
    const { lines, file } = this.#source;
    const offset = this.#node?.range?.[0];
    const at = offset === undefined ? '' : `, line ${lines.linePos(offset).line}`;
    const path = this.#path === '' ? '' : ` ${this.#path}`;
    return new GradsyncError('INVALID_ARGUMENT', `Resource specification${path}${at}`, {
      expected,
      received,
      remedy,
      ...(file === undefined ? {} : { file }),
    });
  }

  /** The members of a map by key; a key that is not in `known` is an error. A missing member is absent from the result. */
  fields<K extends string>(known: readonly K[]): Partial<Record<K, YamlCursor>> {
    const entries = this.entries();
    for (const [key, cursor] of entries) {
      if (!(known as readonly string[]).includes(key)) {
        throw cursor.error(
          `one of the keys ${known.join(', ')}`,
          `"${excerpt(key)}"`,
          'correct the key or remove it',
        );
      }
    }
    return Object.fromEntries(entries) as Partial<Record<K, YamlCursor>>;
  }

  /** The members of a map, whatever their keys. */
  entries(): [string, YamlCursor][] {
    if (!isMap(this.#node)) throw this.#wrongType('a map', 'write it as "key: value" lines');
    return this.#node.items.map((pair) => {
      const key = isScalar(pair.key) ? String(pair.key.value) : String(pair.key);
      const shown = excerpt(key);
      return [
        key,
        this.#child(pair.value as Node | null, this.#path === '' ? shown : `${this.#path}.${shown}`),
      ];
    });
  }

  items(): YamlCursor[] {
    if (!isSeq(this.#node)) throw this.#wrongType('a list', 'write it as [..] or as "- .." lines');
    return this.#node.items.map((item, i) => this.#child(item as Node | null, `${this.#path}[${i}]`));
  }

  string(): string {
    const value = this.#scalar();
    if (typeof value === 'string' && value !== '') return value;
    throw this.#wrongType('a non-empty text', 'put it in quotes if it looks like a number');
  }

  /** A scalar as text, for values that go into an environment. */
  text(): string {
    const value = this.#scalar();
    if (typeof value === 'string') return value;
    if (typeof value === 'number' || typeof value === 'boolean') return String(value);
    throw this.#wrongType('a text', 'put it in quotes');
  }

  boolean(): boolean {
    const value = this.#scalar();
    if (typeof value === 'boolean') return value;
    throw this.#wrongType('true or false', 'write true or false without quotes');
  }

  integer(low: number, high: number): number {
    const value = this.#scalar();
    if (typeof value === 'number' && Number.isInteger(value) && value >= low && value <= high) return value;
    throw this.#wrongType(`an integer from ${low} to ${high}`, 'correct the number');
  }

  positive(): number {
    const value = this.#scalar();
    if (typeof value === 'number' && Number.isFinite(value) && value > 0) return value;
    throw this.#wrongType('a number above 0', 'correct the number');
  }

  #scalar(): unknown {
    return isScalar(this.#node) ? this.#node.value : undefined;
  }

  #child(node: Node | null, path: string): YamlCursor {
    const target = isAlias(node) ? (node.resolve(this.#source.document) ?? null) : node;
    return new YamlCursor(this.#source, target, path);
  }

  #wrongType(expected: string, remedy: string): GradsyncError {
    const node = this.#node;
    if (node === null) return this.error(expected, 'nothing', remedy);
    const received = isScalar(node)
      ? JSON.stringify(typeof node.value === 'string' ? excerpt(node.value) : node.value)
      : isMap(node)
        ? 'a map'
        : 'a list';
    return this.error(expected, received ?? 'nothing', remedy);
  }
}
