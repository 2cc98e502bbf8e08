#!/usr/bin/env node
/** The `gradsync` command: picks the subcommand, prints errors as `CODE: message`, sets the exit code. */
import { readFileSync } from 'node:fs';
import { errorMessage, GradsyncError } from '../errors.js';
import { planCommand } from './plan-command.js';
import { transformCommand } from './transform-command.js';
import { UsageError } from './usage.js';

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;

const HELP = `gradsync: distributed training out of a training graph for one device

  gradsync transform <graph> --resources <yml> --strategy <strategy> --task <k> --out <folder> [options]

Rewrites a training graph for one task of a cluster and writes graph.pb (GraphDef) and plan.json, with which TensorFlow
runs it.

  gradsync plan <graph> --resources <yml> --strategy <strategy> [options]

Prints, before anything runs, what would become of each variable and how many bytes a step would send between tasks.

  <graph>                    GraphDef or MetaGraphDef, binary or text
  --resources <yml>          the machines, in YAML: nodes: [{address: localhost, tasks: 2}]; each node may say
                             port (15000), tasks (1, on ports from there on), cpus ([0]), gpus, chief
  --strategy <strategy>      ps, ps-lb, partitioned-ps, uneven-partitioned-ps, all-reduce, partitioned-all-reduce,
                             random-axis-partitioned-all-reduce, parallax, a JSON file, or JSON:
                             '{"builder": "ps-lb", "staleness": 1}'
  --task <k>                 transform: the task's number; 0 is the chief
  --out <folder>             transform: where graph.pb and plan.json go
  --gradient <pair>          "variable|gradient" or "variable|indices;values;dense_shape"; may be repeated
  --feed <name=how>          "x:0=split:0" splits a feed along an axis over the replicas, "x:0=all" feeds it to all; may be repeated
  --fetch <name>             a tensor or operation that will be fetched: listed in plan.json, an error if it cannot be; may be repeated
  --explain                  print what was decided and why; --out may then be left out. With plan: also
                             what only the chief runs, where shared operations lie, names that cannot be fetched alone
  --json                     plan: print JSON
  --uneven stop|join         what becomes of the others when a task runs out of data: training ends for all, or goes on
                             with those that have some (rollCall of plan.json). Left out: all have data for as many steps
  --help, --version

Exit code: 0 done, 1 the work failed, 2 the command line is wrong.
`;

async function main(args: readonly string[]): Promise<number> {
  const [command, ...rest] = args;
  if (args.includes('--help') || args.includes('-h')) return print(HELP);
  if (command === '--version') return print(`${version()}\n`);
  if (command === 'transform') return print(transformCommand(rest));
  if (command === 'plan') return print(planCommand(rest));
  throw new UsageError(
    'Command',
    'transform or plan',
    command === undefined ? 'none' : JSON.stringify(command),
  );
}

function print(text: string): number {
  process.stdout.write(text);
  return 0;
}

function version(): string {
  const text = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

function report(error: unknown): number {
  const code = error instanceof GradsyncError ? error.code : 'INTERNAL';
  const file = error instanceof GradsyncError ? error.details.file : undefined;
  const message = errorMessage(error);
  const where = file === undefined || message.includes(file) ? '' : ` (${file})`;
  process.stderr.write(`${code}: ${message}${where}\n`);
  return error instanceof UsageError ? EXIT_USAGE : EXIT_FAILED;
}

// A reader that has seen enough (| head) is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});
process.exitCode = await main(process.argv.slice(2)).catch(report);
