/** What the commands that rewrite a graph are given alike: the graph, the machines, the strategy, gradient pairs, feeds and fetches. */
import { existsSync, readFileSync } from 'node:fs';
import { type TrainingOptions, UNEVEN } from '../engine.js';
import { fileError, GradsyncError } from '../errors.js';
import type { StrategyBuilder } from '../strategy/builder.js';
import { BUILDER_NAMES, findBuilder } from '../strategy/find-builder.js';
import { UsageError } from './usage.js';

export const TRAINING_ARGUMENTS = {
  resources: { type: 'string' },
  strategy: { type: 'string' },
  gradient: { type: 'string', multiple: true },
  feed: { type: 'string', multiple: true },
  fetch: { type: 'string', multiple: true },
  uneven: { type: 'string' },
  explain: { type: 'boolean' },
} as const;

type Feeds = NonNullable<TrainingOptions['feeds']>;

interface TrainingValues {
  readonly resources?: string | undefined;
  readonly strategy?: string | undefined;
  readonly gradient?: readonly string[] | undefined;
  readonly feed?: readonly string[] | undefined;
  readonly fetch?: readonly string[] | undefined;
  readonly uneven?: string | undefined;
}

export function onlyGraph(positionals: readonly string[]): string {
  const [graph, ...more] = positionals;
  if (graph && more.length === 0) return graph;
  throw new UsageError('Command line', 'one graph file', graph ? positionals.join(' ') : 'none');
}

export function trainingOptions(graph: string, values: TrainingValues): TrainingOptions {
  return {
    graph,
    resources: required('resources', values.resources),
    strategy: strategyOf(required('strategy', values.strategy)),
    gradients: values.gradient ?? [],
    feeds: feedRules(values.feed ?? []),
    fetches: values.fetch ?? [],
    ...unevenOf(values.uneven),
  };
}

export function required(name: string, value: string | undefined): string {
  if (value !== undefined && value !== '') return value;
  throw new UsageError('Command line', `--${name} <value>`, 'none');
}

function unevenOf(given: string | undefined): Pick<TrainingOptions, 'uneven'> {
  if (given === undefined) return {};
  const uneven = UNEVEN.find((each) => each === given);
  if (uneven === undefined) throw new UsageError('--uneven', UNEVEN.join(' or '), JSON.stringify(given));
  return { uneven };
}

/** A strategy is given by name, as JSON, or as a file that holds either. */
function strategyOf(given: string): StrategyBuilder {
  if (BUILDER_NAMES.includes(given) || given.trimStart().startsWith('{')) return findBuilder(given);
  if (!existsSync(given) && !/\.json$/i.test(given)) return findBuilder(given);
  let text: string;
  try {
    text = readFileSync(given, 'utf8');
  } catch (cause) {
    throw fileError('Reading the strategy', given, cause);
  }
  return inFile(given, () => findBuilder(text));
}

/** Runs `parse`; its errors name the file. */
function inFile<T>(file: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof GradsyncError)) throw error;
    throw new GradsyncError(
      error.code,
      `File ${file}, ${error.subject}`,
      { ...error.details, file },
      { cause: error },
    );
  }
}

const FEED = /^([^=]+)=(?:split:(\d{1,3})|(all))$/;

function feedRules(texts: readonly string[]): Feeds {
  const rules = new Map<string, Feeds[string]>();
  for (const text of texts) {
    const [, name, axis, all] = FEED.exec(text) ?? [];
    if (name === undefined)
      throw new UsageError('--feed', 'name=split:axis or name=all', JSON.stringify(text));
    if (rules.has(name)) throw new UsageError('--feed', `one rule for ${name}`, 'two');
    rules.set(name, all === undefined ? { split: Number(axis) } : 'all');
  }
  return Object.fromEntries(rules);
}
