/** What is committed under test/fixtures and examples/graphs is what TensorFlow says today. */
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { allFixtures, type Fixture, type Layout, readOracle } from '../helpers/fixtures.js';
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

/** The variables that are off by more than rounding explains, after any step on any of the clusters. */
function wrongVariables(
  fixture: Fixture,
  folder: string,
  clusters: readonly (number | Layout)[],
): readonly string[] {
  const wrong = new Set<string>();
  for (const cluster of clusters) {
    const fresh = readOracle(fixture, cluster, folder);
    for (const [index, committed] of readOracle(fixture, cluster).entries()) {
      for (const [name, expected] of committed.variables) {
        const difference = largestDifference(fresh[index]!.variables.get(name)!.data, expected.data);
        if (!(difference <= variableTolerance(committed.bounds.get(name)!, expected.data, index)))
          wrong.add(name);
      }
    }
  }
  return [...wrong];
}

/** Ways in which the oracle trains: see oracle.py. */
type Way = 'plain' | 'union' | 'combine';

/** Runs the oracle anew; gives the folder with what each way comes to. */
async function oracleAgain(
  python: string,
  kind: Fixture['variableKind'],
  ways: readonly Way[],
): Promise<string> {
  const out = scratch();
  await runPython(python, [
    projectPath('test', 'helpers', 'oracle.py'),
    '--out',
    out,
    '--kind',
    kind,
    '--again',
    ...ways,
  ]);
  return out;
}

/** The fixtures with variables that do not come to what is committed. */
function namesOfWrong(folder: string, kind: Fixture['variableKind'], way: Way): readonly string[] {
  const clusters = way === 'plain' ? [1, 2, 3, [2, 2], [2, 1]] : [1, 2, 3];
  return allFixtures()
    .filter(({ variableKind, mixesExamples }) => variableKind === kind && !(way === 'union' && mixesExamples))
    .filter((fixture) => wrongVariables(fixture, join(folder, way), clusters).length > 0)
    .map(({ name }) => name);
}

let resource: Promise<string> | undefined;
function resourceAgain(python: string): Promise<string> {
  resource ??= oracleAgain(python, 'resource', ['plain', 'union', 'combine']);
  return resource;
}

tensorflowTest(tensorflow, 'the oracle of resource variables is what is committed', async (t, python) => {
  t.deepEqual(namesOfWrong(await resourceAgain(python), 'resource', 'plain'), []);
});

tensorflowTest(tensorflow, 'reference variables come to the same', async (t, python) => {
  t.deepEqual(namesOfWrong(await oracleAgain(python, 'reference', ['plain']), 'reference', 'plain'), []);
});

tensorflowTest(tensorflow, 'training on the union of the batches comes to the same', async (t, python) => {
  t.deepEqual(namesOfWrong(await resourceAgain(python), 'resource', 'union'), []);
});

tensorflowTest(
  tensorflow,
  'combining repeated rows before clipping would be found out',
  async (t, python) => {
    const wrong = namesOfWrong(await resourceAgain(python), 'resource', 'combine');
    t.deepEqual(wrong, ['spam-clipped.resource', 'words-adam-clipped.resource']);
  },
);
