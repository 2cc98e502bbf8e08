/** What is committed under test/fixtures and examples/graphs is what TensorFlow says today. */
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { allFixtures, type Fixture, readOracle } from '../helpers/fixtures.js';
import { projectPath } from '../helpers/paths.js';
import { findTensorflow, runPython, tensorflowTest } from '../helpers/tensorflow.js';
import { largestDifference, variableTolerance } from '../helpers/tolerance.js';

/** The version that made the committed files; another one writes other bytes. */
const EXPORTED_WITH = '2.21.0';

const tensorflow = findTensorflow();
const scratch = (): string => mkdtempSync(join(tmpdir(), 'gradsync-fixtures-'));

/** Names of the freshly written files that are not byte for byte what is committed. */
function differentFiles(committed: string, fresh: string): readonly string[] {
  return readdirSync(fresh, { withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ name }) => name)
    .filter((name) => !readFileSync(join(committed, name)).equals(readFileSync(join(fresh, name))));
}

tensorflowTest(
  tensorflow,
  'exporting again gives the committed graphs, feeds and checkpoints, byte for byte',
  async (t, python) => {
    if (!tensorflow.found || tensorflow.version !== EXPORTED_WITH) {
      t.pass(`TensorFlow ${EXPORTED_WITH} made the files`);
      return;
    }
    const [out, examples] = [scratch(), scratch()];
    await runPython(python, [
      projectPath('test', 'fixtures', 'export.py'),
      '--out',
      out,
      '--examples',
      examples,
    ]);
    t.is(readdirSync(out).filter((name) => name.endsWith('.meta')).length, allFixtures().length);
    t.deepEqual(differentFiles(projectPath('test', 'fixtures'), out), []);
    t.deepEqual(differentFiles(projectPath('test', 'fixtures', 'feeds'), join(out, 'feeds')), []);
    const checkpoints = projectPath('test', 'fixtures', 'checkpoints');
    t.deepEqual(differentFiles(checkpoints, join(out, 'checkpoints')), []);
    t.deepEqual(differentFiles(projectPath('examples', 'graphs'), examples), []);
  },
);

/** The variables that are off by more than rounding explains, after any step and for any number of workers. */
function wrongVariables(fixture: Fixture, folder: string): readonly string[] {
  const wrong = new Set<string>();
  for (const workers of [1, 2, 3]) {
    const fresh = readOracle(fixture, workers, folder);
    for (const [index, committed] of readOracle(fixture, workers).entries()) {
      for (const [name, expected] of committed.variables) {
        const difference = largestDifference(fresh[index]!.variables.get(name)!.data, expected.data);
        if (!(difference <= variableTolerance(committed.bounds.get(name)!, expected.data, index)))
          wrong.add(name);
      }
    }
  }
  return [...wrong];
}

/** Runs the oracle anew and gives, per fixture, the variables that do not come to what is committed. */
async function oracleAgain(
  python: string,
  kind: Fixture['variableKind'],
  options: readonly string[] = [],
): Promise<Readonly<Record<string, readonly string[]>>> {
  const out = scratch();
  const program = projectPath('test', 'helpers', 'oracle.py');
  await runPython(python, [program, '--out', out, '--kind', kind, '--no-bounds', ...options]);
  const ofKind = allFixtures().filter(
    ({ variableKind, mixesExamples }) =>
      variableKind === kind && !(mixesExamples && options.includes('--union')),
  );
  return Object.fromEntries(ofKind.map((fixture) => [fixture.name, wrongVariables(fixture, out)]));
}

function namesOfWrong(found: Readonly<Record<string, readonly string[]>>): readonly string[] {
  return Object.keys(found).filter((name) => found[name]!.length > 0);
}

tensorflowTest(tensorflow, 'the oracle of resource variables is what is committed', async (t, python) => {
  t.deepEqual(namesOfWrong(await oracleAgain(python, 'resource')), []);
});

tensorflowTest(tensorflow, 'reference variables come to the same', async (t, python) => {
  t.deepEqual(namesOfWrong(await oracleAgain(python, 'reference')), []);
});

tensorflowTest(tensorflow, 'training on the union of the batches comes to the same', async (t, python) => {
  t.deepEqual(namesOfWrong(await oracleAgain(python, 'resource', ['--union'])), []);
});

tensorflowTest(
  tensorflow,
  'combining repeated rows before clipping would be found out',
  async (t, python) => {
    const wrong = await oracleAgain(python, 'resource', ['--combine']);
    t.deepEqual(namesOfWrong(wrong), ['spam-clipped.resource', 'words-adam-clipped.resource']);
  },
);
