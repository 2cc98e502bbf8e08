/** The jobs: a training graph exported from TensorFlow, its data set, and how it is trained. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Dataset } from './dataset.js';
import { readMnist } from './mnist.js';
import { readSpam } from './spam.js';

export interface Job {
  readonly name: string;
  readonly title: string;
  /** File of a MetaGraphDef below the project's root. */
  readonly graph: string;
  readonly batch: number;
  readonly epochs: number;
  readonly loss: string;
  readonly trainOp: string;
  /** [examples, classes]. */
  readonly probabilities: string;
  readonly read: () => Dataset;
}

const VOCABULARY = 20_000;
const WORDS = 200;

export const JOBS: readonly Job[] = [
  {
    name: 'mnist',
    title: 'MNIST CNN, Adam',
    graph: 'examples/graphs/mnist-cnn.meta',
    batch: 256,
    epochs: 2,
    loss: 'loss:0',
    trainOp: 'train_op',
    probabilities: 'probabilities:0',
    read: () => readMnist({ images: 'x:0', labels: 'y:0' }),
  },
  {
    name: 'spam',
    title: 'spam classifier, word embedding, Adagrad',
    graph: 'examples/graphs/spam.meta',
    batch: 256,
    epochs: 12,
    loss: 'loss:0',
    trainOp: 'train_op',
    probabilities: 'probabilities:0',
    read: () =>
      readSpam({ placeholders: { ids: 'ids:0', labels: 'y:0' }, vocabulary: VOCABULARY, length: WORDS }),
  },
];

export function readGraph(job: Job): Uint8Array {
  return readFileSync(join(findRoot(dirname(fileURLToPath(import.meta.url))), job.graph));
}

/** The project's root, seen from the compiled example. */
function findRoot(directory: string): string {
  return join(directory, '..', '..', '..');
}
