/** Discovery of gradients in programs that TensorFlow exports: plain ones are read, others asked for, and nothing else is trained silently. */
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GradsyncError } from '../../src/errors.js';
import { decodeGraphFile, readTrainingGraph } from '../../src/graph/index.js';
import { projectPath } from '../helpers/paths.js';
import { findTensorflow, runPython, tensorflowTest } from '../helpers/tensorflow.js';

/** `plain`; `asks` if reading asks for a gradient pair; `refused` if it says what else is wrong. */
function read(file: string): string {
  try {
    readTrainingGraph(decodeGraphFile(readFileSync(file)));
    return 'plain';
  } catch (error) {
    if (!(error instanceof GradsyncError) || error.code !== 'INVALID_ARGUMENT') return String(error);
    return /--gradient/.test(error.message) ? 'asks' : 'refused';
  }
}

tensorflowTest(
  findTensorflow(),
  'a gradient is taken as it stands only where averaging it is the same as on one device',
  async (t, python) => {
    const folder = mkdtempSync(join(tmpdir(), 'gradsync-programs-'));
    const script = projectPath('test', 'fixtures', 'gradient_programs.py');
    await runPython(python, [script, folder]);
    const expected: Record<string, string> = JSON.parse(readFileSync(join(folder, 'programs.json'), 'utf8'));
    const found = Object.keys(expected).map((name) => [name, read(join(folder, `${name}.meta`))]);
    t.true(found.length > 450);
    t.deepEqual(Object.fromEntries(found), expected);
  },
);
