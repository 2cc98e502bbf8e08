/**
 * The sparse accumulator: slices of several contributors applied and their combined mean taken, against TensorFlow's accumulator, torch's
 * coalesce and memory.
 */

import { projectPath } from '../test/helpers/paths.js';
import { findTensorflow, findTorch } from '../test/helpers/python.js';
import type { BenchCase, BenchOptions, BenchRow } from './case.js';
import { ContestProcess, contest } from './contest.js';
import { nativeProgram } from './native-program.js';

interface Size {
  readonly contributors: number;
  readonly rows: number;
  readonly order: 'ascending' | 'zipf';
}

const SORTED = '4 x 65,536 rows x 64, sorted';
const ZIPF = '4 x 65,536 rows x 64, Zipf 1.2';
const MANY = '64 x 10,000 rows x 64, sorted';
const SIZES: Readonly<Record<string, Size>> = {
  [SORTED]: { contributors: 4, rows: 65_536, order: 'ascending' },
  [ZIPF]: { contributors: 4, rows: 65_536, order: 'zipf' },
  [MANY]: { contributors: 64, rows: 10_000, order: 'ascending' },
};
const TABLE = { width: 64, vocabulary: 1_000_000 };

const RIVALS = { TensorFlow: 'TensorFlow SparseConditionalAccumulator', torch: 'torch sparse coalesce' };

function findPython(rivalName: keyof typeof RIVALS): string | undefined {
  if (rivalName === 'torch') return findTorch();
  const search = findTensorflow();
  return search.found ? search.python : undefined;
}

async function run(rivalName: keyof typeof RIVALS, size: string, options: BenchOptions): Promise<BenchRow> {
  const sizes = { ...SIZES[size]!, ...TABLE };
  const ours = await ContestProcess.open([nativeProgram('sparse_bench')], sizes);
  const python = findPython(rivalName);
  const rival =
    python === undefined
      ? null
      : await ContestProcess.open([python, projectPath('bench', 'rivals', 'sparse.py')], {
          ...sizes,
          rival: rivalName,
        });
  const { contestants } = ours;
  const row = await contest(
    {
      case: rivalName === 'torch' ? COALESCE : SPARSE,
      size,
      rival: RIVALS[rivalName],
      note: `vocabulary 1 M, ${ours.note}; the limit reads all rows and writes the distinct ones; ${rival?.note ?? `${rivalName} is missing`}`,
    },
    {
      ours: contestants['ours']!,
      rival: rival?.contestants[rivalName] ?? null,
      limits: [contestants['limit']!, contestants['limit-past-caches']!],
    },
    options,
  );
  await Promise.all([ours.close(), rival?.close()]);
  return row;
}

const SPARSE = 'sparse';
const COALESCE = 'sparse, against coalesce';

export const SPARSE_CASES: readonly BenchCase[] = [
  { name: SPARSE, sizes: Object.keys(SIZES), run: (size, options) => run('TensorFlow', size, options) },
  { name: COALESCE, sizes: [ZIPF], run: (size, options) => run('torch', size, options) },
];
