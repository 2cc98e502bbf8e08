/** Finds the bodies of functions in masked TypeScript by matching brackets, to measure their length. */

export interface FunctionSpan {
  /** Position where the parameter list (or the arrow's body) begins. */
  readonly start: number;
  /** Position of the closing brace. */
  readonly end: number;
}

const PAIRS: Readonly<Record<string, string>> = { ')': '(', ']': '[', '}': '{' };
/** Words before a parenthesis that make the following brace a statement's block. */
const STATEMENTS = /\b(if|for|while|switch|catch|with|await)\s*$/;

export function findFunctions(bare: string): FunctionSpan[] {
  const opener = matchBrackets(bare);
  const spans: FunctionSpan[] = [];
  for (const [end, open] of opener) {
    if (bare[end] !== '}') continue;
    const start = functionStart(bare, open, opener);
    if (start !== undefined) spans.push({ start, end });
  }
  return spans.sort((a, b) => a.start - b.start);
}

/** The position of each closing bracket's partner. */
function matchBrackets(bare: string): Map<number, number> {
  const partner = new Map<number, number>();
  const stack: number[] = [];
  for (let i = 0; i < bare.length; i++) {
    const char = bare[i]!;
    if ('([{'.includes(char)) stack.push(i);
    const wanted = PAIRS[char];
    if (wanted === undefined) continue;
    while (stack.length > 0 && bare[stack.at(-1)!] !== wanted) stack.pop();
    const open = stack.pop();
    if (open !== undefined) partner.set(i, open);
  }
  return partner;
}

/** Where the function whose body opens at `brace` begins; undefined if that brace opens something else. */
function functionStart(bare: string, brace: number, opener: ReadonlyMap<number, number>): number | undefined {
  if (/=>\s*$/.test(bare.slice(Math.max(0, brace - 20), brace))) return brace;
  for (let i = brace - 1; i >= 0; i--) {
    const char = bare[i]!;
    const open = opener.get(i);
    if (char === ')' && open !== undefined && /^\s*(:.*)?$/s.test(bare.slice(i + 1, brace))) {
      return STATEMENTS.test(bare.slice(Math.max(0, open - 20), open)) ? undefined : open;
    }
    if (open !== undefined) {
      if (char === '}' && !/[:|<&,]\s*$/.test(bare.slice(Math.max(0, open - 20), open))) return undefined;
      i = open;
    } else if (';{(['.includes(char)) return undefined;
  }
  return undefined;
}
