/**
 * A cursor over a JSON value that checks as it reads: every getter names the path, what was expected and what came. It knows nothing
 * about strategies.
 */
import { excerpt, GradsyncError } from '../errors.js';

export class JsonCursor {
  readonly #value: unknown;
  readonly #path: string;

  constructor(value: unknown, path: string) {
    this.#value = value;
    this.#path = path;
  }

  error(expected: string, received: string, remedy: string): GradsyncError {
    return new GradsyncError('INVALID_ARGUMENT', this.#path, { expected, received, remedy });
  }

  #wrong(expected: string, remedy = 'correct the value'): GradsyncError {
    return this.error(expected, describe(this.#value), remedy);
  }

  /** The members of an object that has all of `required`, perhaps some of `optional`, and nothing else. */
  object<R extends string, O extends string = never>(
    required: readonly R[],
    optional: readonly O[] = [],
  ): Record<R, JsonCursor> & Partial<Record<O, JsonCursor>> {
    const value = this.#value;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw this.#wrong('an object');
    const known: readonly string[] = [...required, ...optional];
    for (const key of Object.keys(value)) {
      if (known.includes(key)) continue;
      throw this.error(
        `only the fields ${known.join(', ')}`,
        `"${excerpt(key)}"`,
        'correct the field or remove it',
      );
    }
    const missing = required.find((key) => !Object.hasOwn(value, key));
    if (missing !== undefined) throw this.error(`the field "${missing}"`, 'an object without it', 'add it');
    const members = Object.entries(value).map(([key, member]) => [
      key,
      new JsonCursor(member, `${this.#path}.${key}`),
    ]);
    return Object.fromEntries(members) as Record<R, JsonCursor> & Partial<Record<O, JsonCursor>>;
  }

  /** The member `key` of an object whose other members are not looked at yet; undefined where there is none. */
  peek(key: string): JsonCursor | undefined {
    const value = this.#value;
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
    return new JsonCursor((value as Record<string, unknown>)[key], `${this.#path}.${key}`);
  }

  array<T>(read: (item: JsonCursor) => T): T[] {
    if (!Array.isArray(this.#value)) throw this.#wrong('an array');
    return this.#value.map((item, i) => read(new JsonCursor(item, `${this.#path}[${i}]`)));
  }

  string(): string {
    if (typeof this.#value === 'string' && this.#value !== '') return this.#value;
    throw this.#wrong('a non-empty string');
  }

  boolean(): boolean {
    if (typeof this.#value === 'boolean') return this.#value;
    throw this.#wrong('true or false');
  }

  /** An integer of at least 0. */
  count(): number {
    if (typeof this.#value === 'number' && Number.isSafeInteger(this.#value) && this.#value >= 0) {
      return this.#value + 0;
    }
    throw this.#wrong('an integer of at least 0');
  }

  /** A fraction above 0 and below 1, or an integer of at least 1. */
  part(): number {
    if (isPart(this.#value)) return this.#value;
    throw this.#wrong(PART);
  }

  oneOf<const T extends string | number>(choices: readonly T[]): T {
    const found = choices.find((choice) => choice === this.#value);
    if (found !== undefined) return found;
    throw this.#wrong(choices.length === 1 ? JSON.stringify(choices[0]) : `one of ${choices.join(', ')}`);
  }
}

export const PART = 'a fraction between 0 and 1, or an integer of at least 1';

export function isPart(value: unknown): value is number {
  return typeof value === 'number' && value > 0 && (value < 1 || Number.isSafeInteger(value));
}

/** A value, short enough for a message. */
function describe(value: unknown): string {
  return excerpt(JSON.stringify(value) ?? String(value));
}
