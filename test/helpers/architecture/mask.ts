/**
 * Masking of source text: comments and the contents of literals become blanks of the same length, so that rules can look at code alone
 * and every position stays what it was. Understands TypeScript and, as far as rules need, C++.
 */

export interface MaskedSource {
  /** Comments blanked. */
  readonly code: string;
  /** Comments and the contents of string, template and regular-expression literals blanked. */
  readonly bare: string;
  /** Regular-expression literals with their positions. */
  readonly regexps: readonly { readonly at: number; readonly text: string }[];
  /** Template literals with their positions, from backtick to backtick. */
  readonly templates: readonly { readonly at: number; readonly text: string }[];
}

interface State {
  readonly source: string;
  readonly code: string[];
  readonly bare: string[];
  readonly regexps: { at: number; text: string }[];
  readonly templates: { at: number; text: string }[];
  /** Starts of the templates that are open, with the depth of braces inside their current expression. */
  readonly open: { at: number; depth: number }[];
  at: number;
}

export function mask(source: string): MaskedSource {
  const chars = source.split('');
  const state: State = { source, code: chars, bare: [...chars], regexps: [], templates: [], open: [], at: 0 };
  while (state.at < source.length) step(state);
  const { regexps, templates } = state;
  return { code: state.code.join(''), bare: state.bare.join(''), regexps, templates };
}

function step(state: State): void {
  const { source, at } = state;
  const char = source[at]!;
  if (source.startsWith('//', at)) skipComment(state, endOf(source, '\n', at, 0));
  else if (source.startsWith('/*', at)) skipComment(state, endOf(source, '*/', at + 2, 2));
  else if (char === '"' || char === "'") skipQuoted(state, char);
  else if (char === '/' && startsRegexp(state)) skipRegexp(state);
  else if (char === '`') {
    state.open.push({ at, depth: 0 });
    skipTemplate(state, at + 1);
  } else skipCode(state, char);
}

function skipCode(state: State, char: string): void {
  const at = state.at++;
  const template = state.open.at(-1);
  if (template === undefined) return;
  if (char === '{') template.depth++;
  if (char === '}' && template.depth-- === 0) {
    template.depth = 0;
    blank(state.bare, at, at + 1);
    skipTemplate(state, at + 1);
  }
}

function endOf(source: string, text: string, from: number, extra: number): number {
  const end = source.indexOf(text, from);
  return end < 0 ? source.length : end + extra;
}

function blank(target: string[], from: number, to: number): void {
  for (let i = from; i < to; i++) if (target[i] !== '\n') target[i] = ' ';
}

function skipComment(state: State, end: number): void {
  blank(state.code, state.at, end);
  blank(state.bare, state.at, end);
  state.at = end;
}

function skipQuoted(state: State, quote: string): void {
  const { source } = state;
  let end = state.at + 1;
  while (end < source.length && source[end] !== quote && source[end] !== '\n')
    end += source[end] === '\\' ? 2 : 1;
  blank(state.bare, state.at + 1, end);
  state.at = end + 1;
}

/** Skips literal text of the innermost open template from `from` to the next expression or the closing backtick. */
function skipTemplate(state: State, from: number): void {
  const { source } = state;
  let end = from;
  while (end < source.length && source[end] !== '`' && !source.startsWith('${', end))
    end += source[end] === '\\' ? 2 : 1;
  blank(state.bare, from, end);
  if (source[end] === '`') {
    const { at } = state.open.pop()!;
    state.templates.push({ at, text: source.slice(at, end + 1) });
    state.at = end + 1;
  } else {
    blank(state.bare, end, end + 2);
    state.at = end + 2;
  }
}

/** A slash begins a regular expression where an operand may stand, and is a division after one. */
function startsRegexp({ bare, at }: State): boolean {
  let i = at - 1;
  while (i >= 0 && /\s/.test(bare[i]!)) i--;
  if (i < 0) return true;
  if (!/[\w$)\]}]/.test(bare[i]!)) return true;
  let start = i;
  while (start > 0 && /\w/.test(bare[start - 1]!)) start--;
  return /^(return|typeof|case|in|of|void|delete|throw|new)$/.test(bare.slice(start, i + 1).join(''));
}

function skipRegexp(state: State): void {
  const { source } = state;
  let end = state.at + 1;
  let inClass = false;
  while (end < source.length && source[end] !== '\n' && (inClass || source[end] !== '/')) {
    if (source[end] === '[') inClass = true;
    if (source[end] === ']') inClass = false;
    end += source[end] === '\\' ? 2 : 1;
  }
  state.regexps.push({ at: state.at, text: source.slice(state.at, end + 1) });
  blank(state.bare, state.at + 1, end);
  state.at = end + 1;
}

/** The line of a position, counted from 1. */
export function lineOf(source: string, at: number): number {
  let line = 1;
  for (let i = source.indexOf('\n'); i >= 0 && i < at; i = source.indexOf('\n', i + 1)) line++;
  return line;
}
