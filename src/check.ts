/**
 * Checking what programs without types pass in: declarative rules for the fields of an object, and values described in a few words. What
 * a value means is not checked here.
 */
import { GradsyncError } from './errors.js';

/** What a value has to be. */
export interface Rule {
  readonly expected: string;
  readonly holds: (value: unknown) => boolean;
}

const isObject = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);
const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && Number(value) >= 0;

export const OBJECT: Rule = { expected: 'an object', holds: isObject };
export const TEXT: Rule = {
  expected: 'a non-empty text',
  holds: (value) => typeof value === 'string' && value !== '',
};
export const TEXTS: Rule = {
  expected: 'an array of texts',
  holds: (value) => Array.isArray(value) && value.every((item) => typeof item === 'string'),
};
export const NAMES: Rule = {
  expected: 'an array of one text or more',
  holds: (value) => TEXTS.holds(value) && (value as readonly string[]).length > 0,
};
export const FUNCTION: Rule = { expected: 'a function', holds: (value) => typeof value === 'function' };
export const LIST: Rule = { expected: 'an array', holds: Array.isArray };
export const BYTES: Rule = {
  expected: 'bytes (Uint8Array)',
  holds: (value) => value instanceof Uint8Array,
};
export const COUNT: Rule = { expected: 'an integer of at least 0', holds: isCount };
export const SIZES: Rule = {
  expected: 'an array of integers of at least 0',
  holds: (value) => Array.isArray(value) && value.every(isCount),
};
export const ELEMENTS: Rule = {
  expected: 'a typed array, or an array of Uint8Array for strings',
  holds: (value) =>
    Array.isArray(value)
      ? value.every((item) => item instanceof Uint8Array)
      : ArrayBuffer.isView(value) && !(value instanceof DataView),
};
export const MILLISECONDS: Rule = {
  expected: 'a positive number of milliseconds, or Infinity',
  holds: (value) => typeof value === 'number' && value > 0,
};
export const SIGNAL: Rule = {
  expected: 'an AbortSignal',
  holds: (value) =>
    isObject(value) && 'aborted' in value && 'addEventListener' in value && 'removeEventListener' in value,
};

/** One of several rules. */
export function either(...rules: readonly Rule[]): Rule {
  return {
    expected: rules.map(({ expected }) => expected).join(' or '),
    holds: (value) => rules.some((rule) => rule.holds(value)),
  };
}

/** One of a few texts. */
export function oneOf(choices: readonly string[]): Rule {
  return {
    expected: `one of ${choices.join(', ')}`,
    holds: (value) => choices.some((choice) => choice === value),
  };
}

/** A rule, or nothing. */
export function optional(rule: Rule): Rule {
  return { expected: rule.expected, holds: (value) => value === undefined || rule.holds(value) };
}

/** Refuses a value that the rule does not admit, as INVALID_ARGUMENT about `subject`. */
export function check(subject: string, value: unknown, { expected, holds }: Rule, remedy: string): void {
  if (holds(value)) return;
  throw new GradsyncError('INVALID_ARGUMENT', subject, { expected, received: describe(value), remedy });
}

/** Refuses what is not an object whose fields the rules admit. Other fields are not looked at. */
export function checkFields(
  subject: string,
  value: unknown,
  rules: Readonly<Record<string, Rule>>,
  remedy: string,
): void {
  const expected = `an object with ${Object.keys(rules).join(', ')}`;
  check(subject, value, { expected, holds: isObject }, remedy);
  for (const [name, rule] of Object.entries(rules)) {
    check(`${subject}, "${name}"`, (value as Record<string, unknown>)[name], rule, remedy);
  }
}

/** As checkFields, and refuses every other field first: an option that is misspelled would be passed over, or missed under its right name. */
export function checkOptions(
  subject: string,
  value: unknown,
  rules: Readonly<Record<string, Rule>>,
  remedy: string,
): void {
  const names = Object.keys(rules).join(', ');
  const unknown = isObject(value) && Object.keys(value).find((name) => !Object.hasOwn(rules, name));
  if (typeof unknown === 'string') {
    throw new GradsyncError('INVALID_ARGUMENT', subject, {
      expected: `only ${names}`,
      received: `also ${brief(unknown)}`,
      remedy: 'correct the name or leave it out',
    });
  }
  checkFields(subject, value, rules, remedy);
}

const LONGEST = 60;

/** A value in a few words, for messages. */
export function describe(value: unknown): string {
  if (typeof value === 'function') return 'a function';
  if (Array.isArray(value)) {
    const bad = value.find((item) => typeof item !== 'string' && typeof item !== 'number');
    return `an array of ${value.length}${bad === undefined ? '' : `, with ${brief(bad)} in it`}`;
  }
  if (ArrayBuffer.isView(value)) {
    return `${value.constructor.name}${'length' in value ? ` of ${value.length}` : ''}`;
  }
  return brief(value);
}

function brief(value: unknown): string {
  if (typeof value === 'string') {
    return JSON.stringify(value.length > LONGEST ? `${value.slice(0, LONGEST)}...` : value);
  }
  if (typeof value !== 'object' || value === null)
    return typeof value === 'function' ? 'a function' : String(value);
  const keys = Object.keys(value);
  const shown = keys.length > 5 ? [...keys.slice(0, 5), '...'] : keys;
  return shown.length === 0 ? 'an object without fields' : `an object with ${shown.join(', ')}`;
}
