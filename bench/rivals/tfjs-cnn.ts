/** The CNN of examples/graphs/mnist-cnn.meta as a TensorFlow.js layers model on the wasm backend, trained with trainOnBatch. */
import '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs-core';
import * as layers from '@tensorflow/tfjs-layers';
import { registerTrainingKernels } from './tfjs-training-kernels.js';

export interface TfjsTrainer {
  /** Sets all weights, in the model's order: kernel and bias of both convolutions and of the dense layer. */
  setWeights(weights: readonly { shape: readonly number[]; data: Float32Array }[]): void;
  /** One optimizer step; gives the loss. */
  step(images: Float32Array, labels: Int32Array): Promise<number>;
}

const SIDE = 28;
const CLASSES = 10;

export async function openTfjsCnn(): Promise<TfjsTrainer> {
  await tf.setBackend('wasm');
  await tf.ready();
  registerTrainingKernels();
  const model = layers.sequential();
  const convolution = { kernelSize: 3, padding: 'same', activation: 'relu' } as const;
  model.add(layers.layers.conv2d({ ...convolution, filters: 8, inputShape: [SIDE, SIDE, 1] }));
  model.add(layers.layers.maxPooling2d({ poolSize: 2, strides: 2, padding: 'same' }));
  model.add(layers.layers.conv2d({ ...convolution, filters: 16 }));
  model.add(layers.layers.maxPooling2d({ poolSize: 2, strides: 2, padding: 'same' }));
  model.add(layers.layers.flatten());
  model.add(layers.layers.dense({ units: CLASSES, activation: 'softmax' }));
  model.compile({ optimizer: tf.train.adam(0.001, 0.9, 0.999, 1e-8), loss: 'categoricalCrossentropy' });
  return {
    setWeights(weights) {
      const tensors = weights.map(({ shape, data }) => tf.tensor(data, [...shape]));
      model.setWeights(tensors);
      tf.dispose(tensors);
    },
    async step(images, labels) {
      const x = tf.tensor4d(images, [labels.length, SIDE, SIDE, 1]);
      const y = tf.tidy(() => tf.cast(tf.oneHot(tf.tensor1d(labels, 'int32'), CLASSES), 'float32'));
      const loss = (await model.trainOnBatch(x, y)) as number;
      tf.dispose([x, y]);
      return loss;
    },
  };
}
