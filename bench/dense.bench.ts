/** The dense accumulator: gradients of several contributors applied and their mean taken, against TensorFlow's and against memory. */

import { projectPath } from '../test/helpers/paths.js';
import { findTensorflow } from '../test/helpers/python.js';
import type { BenchCase, BenchOptions, BenchRow } from './case.js';
import { ContestProcess, contest } from './contest.js';
import { nativeProgram } from './native-program.js';

const MIB = 2 ** 20;
const SIZES: Readonly<Record<string, { contributors: number; bytes: number }>> = {
  '4 x 16 MiB': { contributors: 4, bytes: 16 * MIB },
  '64 x 64 KiB': { contributors: 64, bytes: MIB / 16 },
};

async function run(size: string, options: BenchOptions): Promise<BenchRow> {
  const ours = await ContestProcess.open([nativeProgram('dense_bench')], SIZES[size]!);
  const tensorflow = findTensorflow();
  const rival = tensorflow.found
    ? await ContestProcess.open([tensorflow.python, projectPath('bench', 'rivals', 'dense.py')], SIZES[size]!)
    : null;
  const { contestants } = ours;
  const note = `the limit is a pass that reads all gradients and writes one; ${rival?.note ?? 'TensorFlow is missing'}`;
  const row = await contest(
    { case: 'dense', size, rival: 'TensorFlow ConditionalAccumulator', note },
    {
      ours: contestants['ours']!,
      rival: rival?.contestants['TensorFlow'] ?? null,
      limits: [contestants['limit']!, contestants['limit-past-caches']!],
    },
    options,
  );
  await Promise.all([ours.close(), rival?.close()]);
  return row;
}

export const DENSE_CASES: readonly BenchCase[] = [{ name: 'dense', sizes: Object.keys(SIZES), run }];
