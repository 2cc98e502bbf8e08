/** The committed vectors are what this machine's TensorFlow gives, within the bounds that the kernels are held to. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Value } from '../../../../src/runtime/embedded/value.js';
import { projectPath } from '../../../helpers/paths.js';
import { findTensorflow, runPython, tensorflowTest } from '../../../helpers/tensorflow.js';
import { type CaseJson, compareOutputs, decodeArray } from './vectors.js';

const FAMILIES = ['array', 'shape', 'softmax', 'random', 'matmul', 'gather'] as const;

tensorflowTest(findTensorflow(), 'TensorFlow gives the committed vectors again', async (t, python) => {
  const folder = mkdtempSync(join(tmpdir(), 'gradsync-vectors-'));
  try {
    const script = projectPath('test', 'fixtures', 'kernels', 'export.py');
    await runPython(python, [script, '--out', folder, ...FAMILIES]);
    for (const family of FAMILIES) {
      const read = (place: string): CaseJson[] =>
        JSON.parse(readFileSync(join(place, `${family}.json`), 'utf8'));
      const fresh = read(folder);
      const committed = read(projectPath('test', 'fixtures', 'kernels'));
      t.deepEqual(
        fresh.map(({ inputs }) => inputs),
        committed.map(({ inputs }) => inputs),
        family,
      );
      fresh.forEach((json, i) => {
        const values = json.outputs.map((array) =>
          Value.ofHost(array.dtype, array.shape, decodeArray(array)),
        );
        compareOutputs(t, values, committed[i]!.outputs, json);
      });
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});
