/**
 * What a step on TensorFlow sends between tasks is what the plan lists. TensorFlow leaves out Identities, and copies constants to where they are
 * taken: so what is compared are the tensors behind Identities, and constants are left out.
 */
import { readFileSync } from 'node:fs';
import type { ExecutionContext } from 'ava';
import { parseDevice } from '../../src/graph/device.js';
import type { Graph } from '../../src/graph/graph.js';
import { decodeGraphFile } from '../../src/graph/index.js';
import { parseTensorName } from '../../src/graph/name.js';
import type { Tensor } from '../../src/graph/operation.js';
import { readTrainingGraph } from '../../src/graph/read-training-graph.js';
import { stepTransfers } from '../../src/rewrite/transfers.js';
import { fixtureNamed, graphPath } from '../helpers/fixtures.js';
import { rewrittenFor } from '../helpers/rewritten.js';
import type { PlanResult } from '../helpers/run-plan.js';
import { findTensorflow, tensorflowTest } from '../helpers/tensorflow.js';
import { runCases, type TrainingCase } from '../helpers/training-cases.js';

const caseOf = (name: string, strategy: string): TrainingCase => ({
  fixture: fixtureNamed(name),
  strategy,
  layout: [1, 1],
  more: { sends: true, steps: 2 },
});

const CASES: readonly TrainingCase[] = [
  caseOf('mnist-cnn.resource', 'ps-lb'),
  caseOf('words-adam.resource', 'ps-lb'),
  caseOf('spam.reference', 'ps-lb'),
  caseOf('words-sgd.resource', '{"builder": "ps-lb", "proxy": true}'),
  caseOf('words-sgd.resource', '{"builder": "partitioned-ps", "minShardBytes": 64}'),
  caseOf('spam-clipped.resource', 'parallax'),
];

/** The tensor that Identities pass on; undefined for a constant. */
function source(graph: Graph, name: string): string | undefined {
  const { operation, index } = parseTensorName(name);
  let at: Tensor = graph.get(operation).output(index);
  while (at.operation.type === 'Identity') at = at.operation.inputs[0]!;
  return at.operation.type === 'Const' ? undefined : at.name;
}

function checkSent(
  t: ExecutionContext,
  { fixture, strategy, layout }: TrainingCase,
  result: PlanResult,
): void {
  const training = readTrainingGraph(decodeGraphFile(readFileSync(graphPath(fixture))));
  for (const [task, sent] of result.sent.entries()) {
    const rewritten = rewrittenFor(training, layout.length, task, { strategy });
    const { graph } = rewritten;
    const line = (tensor: string, from: number, to: number): readonly string[] => {
      const found = source(graph, tensor);
      return found === undefined || from === to ? [] : [`${found} from ${from} to ${to}`];
    };
    const taskOf = (device: string): number => parseDevice(device).task!;
    const actual = sent.flatMap(([tensor, from, to]) => line(tensor, taskOf(from), taskOf(to)));
    const planned = stepTransfers(rewritten)
      .filter(({ tensor }) => !graph.get(parseTensorName(tensor).operation).type.startsWith('Collective'))
      .flatMap(({ tensor, from, to }) => line(tensor, from, to));
    t.deepEqual([...actual].sort(), [...planned].sort(), `${fixture.name}, ${strategy}, task ${task}`);
  }
}

tensorflowTest(
  findTensorflow(),
  'a step on TensorFlow sends the tensors that the plan lists, each once, and no others',
  async (t, python) => {
    const resultOf = await runCases(python, CASES);
    for (const one of CASES) {
      const result = resultOf(one);
      t.true(result.sent.flat().length > 0);
      checkSent(t, one, result);
    }
  },
);
