/**
 * The one kernel that TensorFlow.js's wasm backend lacks for training a CNN, written with its own operations, so that the rival can run at all:
 * the gradient of a convolution's filter is the convolution of the input (batch and channels exchanged) with the output's gradient.
 */
import * as tf from '@tensorflow/tfjs-core';

interface FilterGradientAttributes {
  readonly strides: number | [number, number];
  readonly pad: 'same' | 'valid' | number;
  readonly filterShape: [number, number, number, number];
}

export function registerTrainingKernels(): void {
  if (
    tf.getKernel('Conv2DBackpropFilter', 'wasm') !== undefined &&
    tf.getKernel('Conv2DBackpropFilter', 'wasm') !== null
  )
    return;
  tf.registerKernel({
    kernelName: 'Conv2DBackpropFilter',
    backendName: 'wasm',
    kernelFunc: ({ inputs, attrs }) => {
      const { strides, pad, filterShape } = attrs as unknown as FilterGradientAttributes;
      const { x, dy } = inputs as unknown as { x: tf.Tensor4D; dy: tf.Tensor4D };
      return filterGradient(x, dy, strides, pad, filterShape);
    },
  });
}

function filterGradient(
  x: tf.Tensor4D,
  dy: tf.Tensor4D,
  strides: number | [number, number],
  pad: 'same' | 'valid' | number,
  filterShape: [number, number, number, number],
): tf.Tensor4D {
  const { padInfo } = tf.backend_util.computeConv2DInfo(x.shape, filterShape, strides, 1, pad);
  return tf.tidy(() => {
    const padded = tf.pad4d(x, [
      [0, 0],
      [padInfo.top, padInfo.bottom],
      [padInfo.left, padInfo.right],
      [0, 0],
    ]);
    const images = tf.transpose(padded, [3, 1, 2, 0]) as tf.Tensor4D;
    const filters = tf.transpose(dy, [1, 2, 0, 3]) as tf.Tensor4D;
    const gradient = tf.conv2d(images, filters, 1, 'valid', 'NHWC', strides);
    const cut = tf.slice4d(
      gradient,
      [0, 0, 0, 0],
      [filterShape[2], filterShape[0], filterShape[1], filterShape[3]],
    );
    return tf.transpose(cut, [1, 2, 0, 3]) as tf.Tensor4D;
  });
}
