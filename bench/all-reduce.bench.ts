/** All-reduce and sparse all-reduce, ranks as threads of one process, against torch.distributed with Gloo, a process per rank. */

import { projectPath } from '../test/helpers/paths.js';
import { findTorch } from '../test/helpers/python.js';
import type { BenchCase, BenchOptions, BenchRow } from './case.js';
import { ContestProcess, contest } from './contest.js';
import { nativeProgram } from './native-program.js';

type Arguments = Readonly<Record<string, string | number>>;

const KIB = 2 ** 10;
const BYTES: Readonly<Record<string, number>> = {
  '1 KiB': KIB,
  '64 KiB': 64 * KIB,
  '1 MiB': KIB ** 2,
  '4 MiB': 4 * KIB ** 2,
  '16 MiB': 16 * KIB ** 2,
  '64 MiB': 64 * KIB ** 2,
};
const RANKS = [2, 4];

const DENSE: Readonly<Record<string, Arguments>> = Object.fromEntries(
  Object.entries(BYTES).flatMap(([text, bytes]) =>
    RANKS.map((ranks) => [`${ranks} ranks, ${text}`, { ranks, bytes }]),
  ),
);
const SPARSE: Readonly<Record<string, Arguments>> = Object.fromEntries(
  RANKS.map((ranks) => [
    `${ranks} ranks, 16,384 x 64`,
    { ranks, rows: 16_384, width: 64, table: 1_000_000, 'zipf-percent': 120 },
  ]),
);

/** A case whose native program and rival share a name and their arguments. */
function collectiveCase(
  name: string,
  program: string,
  sizes: Readonly<Record<string, Arguments>>,
  limit: string,
): BenchCase {
  const run = async (size: string, options: BenchOptions): Promise<BenchRow> => {
    const ours = await ContestProcess.open([nativeProgram(`${program}_bench`)], sizes[size]!);
    const torch = findTorch();
    const rival =
      torch === undefined
        ? null
        : await ContestProcess.open([torch, projectPath('bench', 'rivals', `${program}.py`)], sizes[size]!);
    const note = [`the limit is ${limit}`, rival?.note ?? 'PyTorch is missing', ours.note]
      .filter((part) => part !== '')
      .join('; ');
    const row = await contest(
      { case: name, size, rival: 'torch.distributed, Gloo', note },
      {
        ours: ours.contestants['ours']!,
        rival: rival?.contestants['Gloo'] ?? null,
        limits: [ours.contestants['limit']!],
      },
      options,
    );
    await Promise.all([ours.close(), rival?.close()]);
    return row;
  };
  return { name, sizes: Object.keys(sizes), run };
}

export const ALL_REDUCE_CASES: readonly BenchCase[] = [
  collectiveCase('all-reduce', 'all_reduce', DENSE, 'a pass that reads and writes all arrays, all cores'),
  collectiveCase(
    'sparse all-reduce',
    'sparse_all_reduce',
    SPARSE,
    'a pass that sums all rows as they lie and copies as much as the result to every rank, all cores',
  ),
];
