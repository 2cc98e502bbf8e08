/**
 * Command lines: options in whatever order and the arguments between them. As Node's parser, but every mistake is an error of ours, an
 * option is given once unless it may be repeated, and a value may be a negative number.
 */
import { parseArgs } from 'node:util';
import { UsageError } from './usage.js';

export interface OptionSpec {
  readonly type: 'string' | 'boolean';
  readonly multiple?: boolean;
}

type Options = Readonly<Record<string, OptionSpec>>;
type Value<Spec extends OptionSpec> = Spec['type'] extends 'boolean'
  ? boolean
  : Spec['multiple'] extends true
    ? readonly string[]
    : string;

export interface Line<Given extends Options> {
  readonly values: { readonly [Name in keyof Given]?: Value<Given[Name]> };
  readonly positionals: readonly string[];
}

const NUMBER = /^-\d/;

/** @throws UsageError: an unknown option, one without its value or with one too many, one that is there twice. */
export function parseLine<const Given extends Options>(
  command: string,
  args: readonly string[],
  options: Given,
): Line<Given> {
  const { values, positionals, tokens } = parseArgs({
    args: [...args],
    options: options as Record<string, OptionSpec>,
    allowPositionals: true,
    strict: false,
    tokens: true,
  });
  const seen = new Set<string>();
  for (const token of tokens) {
    if (token.kind !== 'option') continue;
    checkOption(command, token, options);
    if (seen.has(token.name) && options[token.name]!.multiple !== true)
      throw new UsageError('Command line', `${token.rawName} once`, 'it twice');
    seen.add(token.name);
  }
  return { values: values as Line<Given>['values'], positionals };
}

interface Found {
  readonly name: string;
  readonly rawName: string;
  readonly value?: string | undefined;
  readonly inlineValue?: boolean | undefined;
}

function checkOption(command: string, { name, rawName, value, inlineValue }: Found, options: Options): void {
  const spec = Object.hasOwn(options, name) && rawName.startsWith('--') ? options[name] : undefined;
  if (spec === undefined) {
    const known = Object.keys(options).map((option) => `--${option}`);
    throw new UsageError(
      'Command line',
      `options of gradsync ${command} (${known.join(', ')})`,
      JSON.stringify(rawName),
    );
  }
  if (spec.type === 'boolean') {
    if (value !== undefined)
      throw new UsageError('Command line', `${rawName} without a value`, JSON.stringify(value));
    return;
  }
  const isOption = inlineValue !== true && value?.startsWith('-') === true && !NUMBER.test(value);
  if (value !== undefined && value !== '' && !isOption) return;
  const received = isOption ? `the option ${JSON.stringify(value)}` : 'none';
  throw new UsageError('Command line', `${rawName} <value>`, received);
}
