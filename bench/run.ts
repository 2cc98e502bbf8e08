/** `npm run bench -- [--filter text] [--quick] [--json]`: each size of each case in a fresh process, one after another. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ALL_REDUCE_CASES } from './all-reduce.bench.js';
import { BOUNDARY_CASES } from './boundary.bench.js';
import type { BenchCase, BenchRow } from './case.js';
import { DENSE_CASES } from './dense.bench.js';
import { FUSED_CASES } from './fused.bench.js';
import { describeMachine } from './machine.js';
import { REWRITE_CASES } from './rewrite.bench.js';
import { ROW_CASES } from './rows.bench.js';
import { SPARSE_CASES } from './sparse.bench.js';
import { printRows } from './table.js';
import { TRAINING_CASES } from './training.bench.js';

const CASES: readonly BenchCase[] = [
  ...TRAINING_CASES,
  ...REWRITE_CASES,
  ...DENSE_CASES,
  ...SPARSE_CASES,
  ...FUSED_CASES,
  ...ALL_REDUCE_CASES,
  ...ROW_CASES,
  ...BOUNDARY_CASES,
];
const CASE_TIMEOUT_MS = 600_000;

const USAGE = `Usage: npm run bench -- [--filter text] [--quick] [--json]
  --filter text  only cases whose "name size" contains the text
  --quick        few rounds: a smoke test, not for quoting
  --json         one JSON object per line
`;

function readOptions() {
  return parseArgs({
    options: {
      filter: { type: 'string', default: '' },
      quick: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
      /** Set in the fresh process: the one case and size to run. */
      only: { type: 'string' },
      size: { type: 'string' },
    },
  }).values;
}

async function main(): Promise<void> {
  let values: ReturnType<typeof readOptions>;
  try {
    values = readOptions();
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n${USAGE}`);
    process.exitCode = 2;
    return;
  }
  if (values.help) process.stdout.write(USAGE);
  else if (values.only !== undefined) await runHere(values.only, values.size ?? '', values.quick);
  else runAll(values.filter, values.quick, values.json);
}

async function runHere(name: string, size: string, quick: boolean): Promise<void> {
  const found = CASES.find((candidate) => candidate.name === name);
  if (found === undefined) throw new Error(`no case "${name}"`);
  process.stdout.write(`${JSON.stringify(await found.run(size, { quick }))}\n`);
}

function runAll(filter: string, quick: boolean, json: boolean): void {
  const chosen = CASES.flatMap(({ name, sizes }) => sizes.map((size) => ({ name, size }))).filter(
    ({ name, size }) => `${name} ${size}`.includes(filter),
  );
  if (chosen.length === 0) {
    process.stderr.write(
      `no case matches "${filter}"; there are: ${CASES.map(({ name }) => name).join(', ')}\n`,
    );
    process.exitCode = 2;
    return;
  }
  const rows: BenchRow[] = [];
  chosen.forEach(({ name, size }, i) => {
    process.stderr.write(`[${i + 1}/${chosen.length}] ${name} ${size}\n`);
    const row = runFresh(name, size, quick);
    if (row === undefined) return;
    rows.push(row);
    if (json) process.stdout.write(`${JSON.stringify(row)}\n`);
  });
  if (!json) process.stdout.write(`${printRows(rows)}\n${describeMachine()}\n`);
}

function runFresh(name: string, size: string, quick: boolean): BenchRow | undefined {
  const args = [
    fileURLToPath(import.meta.url),
    '--only',
    name,
    '--size',
    size,
    ...(quick ? ['--quick'] : []),
  ];
  const child = spawnSync(process.execPath, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: CASE_TIMEOUT_MS,
  });
  if (child.status === 0) return JSON.parse(child.stdout) as BenchRow;
  process.stderr.write(`${name} ${size} failed (${child.signal ?? `exit code ${child.status}`})\n`);
  process.exitCode = 1;
  return undefined;
}

await main();
