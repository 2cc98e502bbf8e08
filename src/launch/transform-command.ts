/** `gradsync transform`: reads the command line, rewrites a graph for one task, writes graph.pb and plan.json. */
import { type TransformResult, transform } from '../engine.js';
import { explain } from './explain.js';
import { parseLine } from './parse-line.js';
import { onlyGraph, required, TRAINING_ARGUMENTS, trainingOptions } from './training-arguments.js';
import { UsageError } from './usage.js';
import { writeFiles } from './write-files.js';

const OPTIONS = {
  ...TRAINING_ARGUMENTS,
  task: { type: 'string' },
  out: { type: 'string' },
} as const;

/** Runs the command; what it returns goes to standard output. */
export function transformCommand(args: readonly string[]): string {
  const { values, positionals } = parseLine('transform', args, OPTIONS);
  const graph = onlyGraph(positionals);
  const out = values.explain ? values.out : required('out', values.out);
  const options = trainingOptions(graph, values);
  const result = transform({ ...options, task: taskNumber(required('task', values.task)) });
  const written = out === undefined ? '' : write(out, result);
  return (values.explain ? explain(result) : '') + written;
}

/** What it returns says what was written. */
function write(out: string, { graph, plan, withoutData }: TransformResult): string {
  const more = withoutData && { [plan.rollCall!.withoutData!]: withoutData };
  const files = { 'graph.pb': graph, ...more, 'plan.json': `${JSON.stringify(plan, null, 2)}\n` };
  writeFiles(out, files);
  return `wrote ${LISTED.format(Object.keys(files))} into ${out}\n`;
}

const LISTED = new Intl.ListFormat('en');

function taskNumber(text: string): number {
  if (/^-?\d{1,9}$/.test(text)) return Number(text);
  throw new UsageError('--task', 'a task number, e.g. 0', JSON.stringify(text));
}
