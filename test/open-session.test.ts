/** openSession, from file to trained variables: the published check of the linear regression. */
import test from 'ava';
import { openSession } from '../src/index.js';
import { fixtureNamed, graphPath, readFeeds } from './helpers/fixtures.js';
import { PATIENT_MS } from './helpers/patience.js';
import { largestDifference } from './helpers/tolerance.js';

const fixture = fixtureNamed('linear-regression.resource');
const graph = graphPath(fixture);

test.serial('two workers bring b of the linear regression to the published value in one step', async (t) => {
  const session = await openSession({
    graph,
    resources: { nodes: [{ address: 'localhost', tasks: 2 }] },
    strategy: 'ps-lb',
    deadlineMs: PATIENT_MS,
  });
  t.teardown(() => session.close());
  await session.initialize();
  const feeds = readFeeds(fixture);
  const requests = [0, 1].map((task) => ({
    feeds: Object.fromEntries(feeds(task, 0)),
    fetches: ['loss:0', 'train_op'],
  }));
  const results = await session.run(requests);
  t.is(results.length, 2);
  const b = (await session.readVariables()).get('b');
  // Published with six digits: half a unit of the last one.
  t.true(largestDifference(b!.data as Float32Array, [0.0411517]) <= 5e-8);
});

test.serial('a cluster of several machines is not run by one process', async (t) => {
  const resources = { nodes: [{ address: '10.0.0.1', chief: true }, { address: '10.0.0.2' }] };
  await t.throwsAsync(openSession({ graph, resources, strategy: 'ps' }), {
    code: 'UNIMPLEMENTED',
    message: /10\.0\.0\.1, 10\.0\.0\.2/,
  });
});

test.serial('bad options reject as transform throws', async (t) => {
  const resources = { nodes: [{ address: 'localhost' }] };
  await t.throwsAsync(openSession({ graph, resources, strategy: 'pss' }), { code: 'INVALID_ARGUMENT' });
  await t.throwsAsync(openSession({ graph: 'no.meta', resources, strategy: 'ps' }), { code: 'NOT_FOUND' });
});
