/** Rewriting for tasks that may run out of data: what the plan says of them, that all else stays as it was, and what is refused. */
import { readFileSync } from 'node:fs';
import test from 'ava';
import { decodeGraphFile } from '../../src/graph/index.js';
import { readTrainingGraph } from '../../src/graph/read-training-graph.js';
import { fixtureNamed, graphPath } from '../helpers/fixtures.js';
import { rewrittenFor } from '../helpers/rewritten.js';
import { throwsTyped } from '../helpers/throws.js';

function trainingOf(name: string, gradients: readonly string[] = []) {
  const meta = decodeGraphFile(readFileSync(graphPath(fixtureNamed(name))));
  return readTrainingGraph(meta, { gradients });
}

test('gradients that go to accumulators are left out, and as many are taken as tasks have data', (t) => {
  const { graph, plan } = rewrittenFor(trainingOf('linear-regression.resource'), 2, 0, { uneven: 'join' });
  const { settings, ...rest } = plan.withoutData!;
  t.deepEqual(rest, {
    counts: { tasks: 'gradsync/contributors:0', replicas: null },
    nothing: [],
    leftOut: ['gradsync/W/gradient', 'gradsync/b/gradient'],
  });
  t.true(settings.includes('train_op/learning_rate'));
  t.false(settings.includes('x'));
  const required = graph.get('gradsync/b/take_gradient').inputs[1]!;
  t.is(required.operation.type, 'Placeholder');
});

test('zeros, or no slices, go into queues and collectives', (t) => {
  const training = trainingOf('words-adam-clipped.resource');
  const { nothing } = rewrittenFor(training, 2, 1, { uneven: 'join' }).plan.withoutData!;
  t.deepEqual(nothing, [
    { tensor: 'gradsync/embedding/gradient_indices:0', dtype: 'int32', shape: [0] },
    { tensor: 'gradsync/embedding/gradient_values:0', dtype: 'float32', shape: [0, 4] },
  ]);
  const { withoutData } = rewrittenFor(trainingOf('linear-regression.resource'), 2, 1, {
    uneven: 'join',
    strategy: '{"builder": "all-reduce", "compressor": "bfloat16"}',
  }).plan;
  t.deepEqual(withoutData!.counts, { tasks: null, replicas: 'gradsync/contributing_replicas:0' });
  t.deepEqual(
    withoutData!.nothing.map(({ dtype, shape }) => [dtype, shape]),
    [
      ['bfloat16', []],
      ['bfloat16', []],
    ],
  );
});

test('a run that tasks may leave has a digest of its own, the same on all tasks; one task alone leaves nobody', (t) => {
  const training = trainingOf('linear-regression.resource');
  const digests = [0, 1].map((task) => rewrittenFor(training, 2, task, { uneven: 'join' }).plan.digest);
  t.is(digests[0], digests[1]);
  t.not(digests[0], rewrittenFor(training, 2, 0).plan.digest);
  const alone = rewrittenFor(training, 1, 0, { uneven: 'join' }).plan;
  t.deepEqual(alone, rewrittenFor(training, 1, 0).plan);
  const strategy = '{"builder": "ps", "sync": false}';
  t.is(rewrittenFor(training, 2, 0, { uneven: 'join', strategy }).plan.withoutData, undefined);
});

test('an update that takes of a batch more than gradients is refused: a task without data could not run it', (t) => {
  const training = trainingOf('linear-regression.resource', [
    'W|gradients/logits_grad/tuple/control_dependency:0',
    'b|gradients/logits_grad/tuple/control_dependency_1:0',
  ]);
  rewrittenFor(training, 2, 0);
  throwsTyped(
    t,
    () => rewrittenFor(training, 2, 0, { uneven: 'join' }),
    'UNIMPLEMENTED',
    '"x"',
    'choose stop',
  );
});
