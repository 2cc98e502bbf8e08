/** A training step's end: gradients of several contributors become an update of Adam, against TensorFlow's operations and memory. */

import { projectPath } from '../test/helpers/paths.js';
import { findTensorflow } from '../test/helpers/python.js';
import type { BenchCase, BenchOptions, BenchRow } from './case.js';
import { ContestProcess, contest } from './contest.js';
import { nativeProgram } from './native-program.js';

const SIZES: Readonly<Record<string, { parameters: number; gradients: number }>> = {
  '16 Mi parameters, 4 gradients': { parameters: 2 ** 24, gradients: 4 },
};

const PLAIN = {
  ours: 'ours',
  rival: 'TensorFlow',
  operations: 'accumulate, take, ResourceApplyAdam',
} as const;
const CLIPPED = {
  ours: 'ours-clipped-guarded',
  rival: 'TensorFlow-clipped',
  operations: 'accumulate, take, check_numerics, clip_by_global_norm, ResourceApplyAdam',
} as const;

async function run(
  name: string,
  way: typeof PLAIN | typeof CLIPPED,
  size: string,
  options: BenchOptions,
): Promise<BenchRow> {
  const ours = await ContestProcess.open([nativeProgram('fused_bench')], SIZES[size]!);
  const tensorflow = findTensorflow();
  const rival = tensorflow.found
    ? await ContestProcess.open([tensorflow.python, projectPath('bench', 'rivals', 'fused.py')], SIZES[size]!)
    : null;
  const { contestants } = ours;
  const row = await contest(
    {
      case: name,
      size,
      rival: `TensorFlow: ${way.operations}`,
      note: `the limit reads gradients, variable and moments once and writes the last three; ${rival?.note ?? 'TensorFlow is missing'}`,
    },
    {
      ours: contestants[way.ours]!,
      rival: rival?.contestants[way.rival] ?? null,
      limits: [contestants['limit']!],
    },
    options,
  );
  await Promise.all([ours.close(), rival?.close()]);
  return row;
}

const toCase = (name: string, way: typeof PLAIN | typeof CLIPPED): BenchCase => ({
  name,
  sizes: Object.keys(SIZES),
  run: (size, options) => run(name, way, size, options),
});

export const FUSED_CASES: readonly BenchCase[] = [
  toCase('fused adam', PLAIN),
  toCase('fused adam, clipped and guarded', CLIPPED),
];
