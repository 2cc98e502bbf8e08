/** The form of the command line: Node's parser, but with errors of our own, also for what it would pass over (an option given twice). */
import { parseArgs } from 'node:util';
import { GradsyncError } from '../../src/index.js';

export const SEE_HELP = 'see npm start -- --help';

const OPTIONS = {
  workers: { type: 'string' },
  strategy: { type: 'string' },
  epochs: { type: 'string' },
  batch: { type: 'string' },
  job: { type: 'string', multiple: true },
  json: { type: 'string' },
  trace: { type: 'string' },
  help: { type: 'boolean' },
} as const;

type Name = keyof typeof OPTIONS;
type Single = Exclude<Name, 'job' | 'help'>;
type Values = Readonly<Partial<Record<Single, string>>> & {
  readonly job?: readonly string[];
  readonly help?: boolean;
};

export function parseLine(args: readonly string[]): Values {
  const { values, tokens } = parseArgs({ args: [...args], options: OPTIONS, strict: false, tokens: true });
  const seen = new Set<Name>();
  for (const token of tokens) {
    if (token.kind === 'option-terminator') continue;
    if (token.kind === 'positional') throw unknown(token.value);
    const name = nameOf(token.rawName);
    checkValue(token.rawName, name, token.value);
    if (seen.has(name) && name !== 'job') throw invalid(token.rawName, 'one value', 'two', SEE_HELP);
    seen.add(name);
  }
  return values as Values;
}

function nameOf(option: string): Name {
  const found = (Object.keys(OPTIONS) as Name[]).find((name) => option === `--${name}`);
  if (found === undefined) throw unknown(option);
  return found;
}

function checkValue(option: string, name: Name, value: string | undefined): void {
  const takesOne = OPTIONS[name].type === 'string';
  if (takesOne ? value && !value.startsWith('--') : value === undefined) return;
  const received = value === undefined ? 'none' : `"${value}"`;
  throw invalid(option, takesOne ? 'a value' : 'no value', received, SEE_HELP);
}

function unknown(text: string): GradsyncError {
  const known = Object.keys(OPTIONS).map((name) => `--${name}`);
  return invalid('Command line', `only ${known.join(', ')}`, `"${text}"`, SEE_HELP);
}

export function invalid(option: string, expected: string, received: string, remedy: string): GradsyncError {
  return new GradsyncError('INVALID_ARGUMENT', option, { expected, received, remedy });
}
