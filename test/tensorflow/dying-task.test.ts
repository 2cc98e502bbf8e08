/** A task of a training on TensorFlow whose process dies: every other one ends with an error, in its deadline, however gradients are exchanged. */
import { fixtureNamed } from '../helpers/fixtures.js';
import { PlanFailure } from '../helpers/run-plan.js';
import { findTensorflow, tensorflowTest } from '../helpers/tensorflow.js';
import { runCases, type TrainingCase } from '../helpers/training-cases.js';

/** Longer than any run takes that nobody keeps waiting, on the slowest machine. */
const DEADLINE_MS = 15_000;
const DIES_AT = 1;
const STALENESS = 2;

interface Case extends TrainingCase {
  readonly dying: number;
}

function dies(strategy: string, layout: readonly number[], dying: number, uneven?: 'stop' | 'join'): Case {
  const fixture = fixtureNamed('words-adam-clipped.resource');
  // As far as staleness lets the others run ahead, and one step more.
  const steps = DIES_AT + STALENESS + 2;
  const more = { dies: { task: dying, step: DIES_AT }, deadlineMs: DEADLINE_MS, steps };
  return { fixture, strategy, layout, dying, more, ...(uneven === undefined ? {} : { uneven }) };
}

const STALE = JSON.stringify({ builder: 'ps-lb', staleness: STALENESS });
const CASES: readonly Case[] = [
  dies('ps-lb', [1, 1], 1),
  dies('ps-lb', [1, 1, 1], 0),
  dies(STALE, [1, 1], 1),
  dies(STALE, [1, 1], 0),
  dies('all-reduce', [1, 1, 1], 2),
  dies('parallax', [1, 1], 1),
  dies('ps-lb', [1, 1], 1, 'join'),
  dies('all-reduce', [1, 1], 0, 'stop'),
];

/** A run that its own deadline ended, or that found the other process gone. */
const NOTICED = /errors_impl\.(DeadlineExceeded|Unavailable|Aborted)Error/;

tensorflowTest(
  findTensorflow(),
  'a task that dies in the middle of a training: all others end with an error that says so',
  async (t, python) => {
    const resultOf = await runCases(python, CASES);
    for (const one of CASES) {
      const failure = t.throws(() => resultOf(one), { instanceOf: PlanFailure });
      for (const [task, error] of (failure?.errors ?? []).entries()) {
        const wanted = task === one.dying ? /ended with code 9/ : NOTICED;
        t.regex(error ?? '', wanted, `${one.strategy} ${one.uneven ?? ''}, task ${task}`);
      }
    }
  },
);
