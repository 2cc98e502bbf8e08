/** Every kernel against the vectors that TensorFlow gave (test/fixtures/kernels). */
import { testFamily } from './vectors.js';

for (const family of [
  'array',
  'slice',
  'shape',
  'gather',
  'select',
  'binary',
  'unary',
  'reduce',
  'matmul',
  'softmax',
  'convolution',
  'pool',
  'random',
]) {
  testFamily(family);
}
