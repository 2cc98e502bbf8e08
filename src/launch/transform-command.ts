/** `gradsync transform`: reads the command line, rewrites a graph for one task, writes graph.pb and plan.json. */
import { type TransformResult, transform, UNEVEN } from '../engine.js';
import { GradsyncError } from '../errors.js';
import { explain } from './explain.js';
import { parseLine } from './parse-line.js';
import { onlyGraph, required, TRAINING_ARGUMENTS, trainingOptions } from './training-arguments.js';
import { UsageError } from './usage.js';
import { writeFiles } from './write-files.js';

const OPTIONS = {
  ...TRAINING_ARGUMENTS,
  task: { type: 'string' },
  out: { type: 'string' },
  uneven: { type: 'string' },
} as const;

/** Runs the command; what it returns goes to standard output. */
export function transformCommand(args: readonly string[]): string {
  const { values, positionals } = parseLine('transform', args, OPTIONS);
  const graph = onlyGraph(positionals);
  if (values.uneven !== undefined) refuseUneven(values.uneven);
  const out = values.explain ? values.out : required('out', values.out);
  const options = trainingOptions(graph, values);
  const result = transform({ ...options, task: taskNumber(required('task', values.task)) });
  if (out !== undefined) write(out, result);
  const written = out === undefined ? '' : `wrote graph.pb and plan.json into ${out}\n`;
  return (values.explain ? explain(result) : '') + written;
}

function write(out: string, { graph, plan }: TransformResult): void {
  writeFiles(out, { 'graph.pb': graph, 'plan.json': `${JSON.stringify(plan, null, 2)}\n` });
}

function taskNumber(text: string): number {
  if (/^-?\d{1,9}$/.test(text)) return Number(text);
  throw new UsageError('--task', 'a task number, e.g. 0', JSON.stringify(text));
}

/** On TensorFlow each task is a process with a loop of its own, and none can tell the others that it has no more data. */
function refuseUneven(given: string): never {
  if (!UNEVEN.some((each) => each === given)) {
    throw new UsageError('--uneven', UNEVEN.join(' or '), JSON.stringify(given));
  }
  throw new GradsyncError('UNIMPLEMENTED', `--uneven ${given}`, {
    expected:
      'tasks that have data for as many steps, in a graph that runs on TensorFlow: each waits for all others',
    received: given,
    remedy:
      'let all tasks run as many steps as the one with the fewest batches has, or train in the embedded runtime: openSession({ uneven })',
  });
}
