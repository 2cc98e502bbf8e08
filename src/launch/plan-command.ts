/** `gradsync plan`: what a rewriting would decide and what a step would send, before anything runs or is written. */
import { planTraining } from '../engine.js';
import { parseLine } from './parse-line.js';
import { printOverview } from './print-overview.js';
import { onlyGraph, TRAINING_ARGUMENTS, trainingOptions } from './training-arguments.js';

const OPTIONS = { ...TRAINING_ARGUMENTS, json: { type: 'boolean' } } as const;

/** Runs the command; what it returns goes to standard output. */
export function planCommand(args: readonly string[]): string {
  const { values, positionals } = parseLine('plan', args, OPTIONS);
  const overview = planTraining(trainingOptions(onlyGraph(positionals), values));
  if (!values.json) return printOverview(overview, values.explain ?? false);
  const { chiefOnly, placement, notFetchable, ...brief } = overview;
  const shown = values.explain ? { ...brief, chiefOnly, placement, notFetchable } : brief;
  return `${JSON.stringify(shown, null, 2)}\n`;
}
