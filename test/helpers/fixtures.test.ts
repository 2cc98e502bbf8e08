/** The committed fixtures hang together: files are there, feeds and oracle agree with the list, the published numbers come out. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { allFixtures, fixtureNamed, graphPath, MOST_WORKERS, readFeeds, readOracle } from './fixtures.js';
import { temporaryFolder } from './folder.js';
import { type FileTensor, readTensors, writeTensors } from './tensor-file.js';
import { largestDifference, sumTolerance, variableTolerance } from './tolerance.js';

test('every fixture has a graph, feeds for each placeholder and an oracle for 1, 2 and 3 workers', (t) => {
  for (const fixture of allFixtures()) {
    t.true(existsSync(graphPath(fixture)), fixture.name);
    const feeds = readFeeds(fixture);
    for (let workers = 1; workers <= MOST_WORKERS; workers++) {
      const feed = feeds(workers - 1, fixture.steps - 1);
      t.deepEqual([...feed.keys()].sort(), Object.keys(fixture.placeholders).sort(), fixture.name);
      const oracle = readOracle(fixture, workers);
      t.is(oracle.length, fixture.steps + 1);
      t.deepEqual([...oracle[fixture.steps]!.variables.keys()], Object.keys(fixture.state), fixture.name);
      for (const step of oracle.slice(1)) t.is(step.losses.length, workers);
    }
  }
});

test('every trainable variable moves more than ten times its tolerance', (t) => {
  for (const fixture of allFixtures()) {
    const [start, ...steps] = readOracle(fixture, 2);
    for (const [index, step] of steps.entries()) {
      for (const variable of Object.keys(fixture.trainable)) {
        const value = step.variables.get(variable)!.data;
        const moved = largestDifference(value, start!.variables.get(variable)!.data);
        const tolerance = variableTolerance(step.bounds.get(variable)!, value, index + 1);
        t.true(moved > 10 * tolerance, `${fixture.name} ${variable}: moved ${moved}, tolerance ${tolerance}`);
      }
    }
  }
});

test('the published first step of the linear regression: gradients -4.17503 and -4.05530, b 0.0411517', (t) => {
  const fixture = fixtureNamed('linear-regression.resource');
  const feeds = readFeeds(fixture);
  const published = [-4.17503, -4.0553];
  for (const [task, expected] of published.entries()) {
    const x = feeds(task, 0).get('x:0')!.data as Float32Array;
    const y = feeds(task, 0).get('y:0')!.data as Float32Array;
    const terms = Array.from(x, (value, index) => (2 * (5 * value - y[index]!)) / x.length);
    const gradient = terms.reduce((sum, term) => sum + term, 0);
    // The published numbers have five decimals, the second cut rather than rounded.
    t.true(Math.abs(gradient - expected) < 1e-5, `task ${task}: ${gradient}`);
  }
  const oracle = readOracle(fixture, 2)[1]!;
  const b = Number(oracle.variables.get('b')!.data[0]);
  t.true(Math.abs(b - 0.0411517) < 1e-7 + sumTolerance(1, b), `b is ${b}`);
});

test('a tensor file gives back what was written', (t) => {
  const path = join(temporaryFolder(t), 'a.tensors');
  const tensors = new Map<string, FileTensor>([
    ['a', { dtype: 'float32', shape: [2, 2], data: Float32Array.of(1, -0, Number.NaN, 4) }],
    ['scalar', { dtype: 'int64', shape: [], data: BigInt64Array.of(2n ** 40n) }],
    ['empty', { dtype: 'int32', shape: [0, 3], data: new Int32Array() }],
    ['flag', { dtype: 'bool', shape: [1], data: Uint8Array.of(1) }],
  ]);
  writeTensors(path, tensors);
  t.deepEqual(readTensors(path), tensors);
});
