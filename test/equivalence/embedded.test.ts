/**
 * Training on the embedded runtime beyond the matrix (matrix.test.ts): the published numbers, and that the same comes to the same bits.
 */
import { join } from 'node:path';
import test from 'ava';
import { openEmbeddedSession, type Session } from '../../src/runtime/index.js';
import { rewriteFixture, stepRequests, trainSteps } from '../helpers/embedded.js';
import { type Fixture, fixtureNamed } from '../helpers/fixtures.js';
import { temporaryFolder } from '../helpers/folder.js';
import { PATIENT_MS } from '../helpers/patience.js';

/** Opens a fixture's session, initialized; closes it whatever happens. */
async function withFixture<T>(
  fixture: Fixture,
  workers: number,
  strategy: string,
  use: (session: Session) => Promise<T>,
): Promise<T> {
  const tasks = rewriteFixture(fixture, workers, strategy);
  const session = await openEmbeddedSession({ tasks, deadlineMs: PATIENT_MS });
  try {
    await session.initialize();
    return await use(session);
  } finally {
    await session.close();
  }
}

for (const kind of ['resource', 'reference']) {
  test.serial(`the published numbers of the linear regression (${kind} variables)`, async (t) => {
    const fixture = fixtureNamed(`linear-regression.${kind}`);
    const gradient = fixture.gradients['b']!;
    if (!('dense' in gradient)) return t.fail('the gradient of b is dense');
    await withFixture(fixture, 2, 'ps-lb', async (session) => {
      const requests = stepRequests(
        fixture,
        2,
      )(0).map(({ feeds, fetches }) => ({
        feeds,
        fetches: [...fetches, gradient.dense],
      }));
      const results = await session.run(requests);
      const gradients = results.map((result) => Number(result[gradient.dense]!.data[0]));
      const b = Number((await session.readVariables()).get('b')!.data[0]);
      // Published with six digits: one unit of the last is let through.
      t.true(Math.abs(gradients[0]! + 4.17503) <= 1e-5, `${gradients[0]}`);
      t.true(Math.abs(gradients[1]! + 4.0553) <= 1e-5, `${gradients[1]}`);
      t.true(Math.abs(b - 0.0411517) <= 1e-7, `${b}`);
    });
  });
}

for (const name of ['mnist-cnn.resource', 'spam-clipped.reference', 'words-adam.resource']) {
  test.serial(`${name}: training saved and resumed comes to the same bits`, async (t) => {
    const fixture = fixtureNamed(name);
    const path = join(temporaryFolder(t), 'checkpoint.safetensors');
    const whole = await withFixture(fixture, 2, 'ps-lb', async (session) => {
      await trainSteps(session, fixture, 0, 1);
      await session.save(path);
      await trainSteps(session, fixture, 1, 3);
      return [await session.readVariables(0), await session.readVariables(1)];
    });
    const resumed = await withFixture(fixture, 2, 'ps-lb', async (session) => {
      await session.restore(path);
      await trainSteps(session, fixture, 1, 3);
      return [await session.readVariables(0), await session.readVariables(1)];
    });
    t.deepEqual(resumed, whole);
  });
}

test.serial('the same training twice comes to the same bits', async (t) => {
  const fixture = fixtureNamed('spam-clipped.resource');
  const train = () =>
    withFixture(fixture, 3, 'ps-lb', async (session) => {
      await trainSteps(session, fixture, 0, 3);
      return session.readVariables();
    });
  t.deepEqual(await train(), await train());
});
