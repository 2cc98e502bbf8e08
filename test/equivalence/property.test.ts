/**
 * Random small programs through random strategies on random clusters: every task comes, after each step, to what one process comes to; or,
 * where there is a reason to, the training is refused with a typed error before it begins. Never does it come to something else.
 *
 * GRADSYNC_PROPERTY_RUNS=1000 tries more, GRADSYNC_SEED=n others. A failure prints the shrunk training, its seed and its path.
 */
import test from 'ava';
import { fc } from '../helpers/properties.js';
import { training } from '../helpers/random-program/arbitrary.js';
import { reasonToRefuse, trainRandom } from '../helpers/random-program/train.js';

const RUNS = Number(process.env['GRADSYNC_PROPERTY_RUNS'] ?? 40);

test('random programs under random strategies train to what one process comes to, or are refused', async (t) => {
  t.timeout(RUNS * 60_000);
  const refusals = new Map<string, number>();
  let trained = 0;
  await fc.assert(
    fc.asyncProperty(training, async (spec) => {
      const outcome = await trainRandom(spec);
      if (outcome.kind === 'trained') {
        trained++;
        if (outcome.differences.length > 0) throw new Error(outcome.differences.join('\n'));
        return;
      }
      const reason = reasonToRefuse(spec);
      if (reason === undefined) throw outcome.error;
      refusals.set(reason, (refusals.get(reason) ?? 0) + 1);
    }),
    { numRuns: RUNS, includeErrorInReport: true },
  );
  t.log(`${trained} trained`, ...[...refusals].map(([reason, count]) => `${count} refused: ${reason}`));
  t.true(trained >= RUNS / 2);
});
