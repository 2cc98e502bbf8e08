/** All kernels that compute: the union of the family tables. Resources (variables, accumulators, queues) have tables of their own. */
import type { KernelTable } from '../kernel.js';
import { ACTIVATION_KERNELS } from './activation.js';
import { ARRAY_KERNELS } from './array.js';
import { BINARY_KERNELS } from './binary.js';
import { CONTROL_KERNELS } from './control.js';
import { CONVOLUTION_KERNELS } from './convolution.js';
import { FILL_KERNELS } from './fill.js';
import { GATHER_KERNELS } from './gather.js';
import { MATMUL_KERNELS } from './matmul.js';
import { OPTIONAL_KERNELS } from './optional.js';
import { POOL_KERNELS } from './pool.js';
import { RANDOM_KERNELS } from './random.js';
import { REDUCE_KERNELS } from './reduce.js';
import { SCATTER_KERNELS } from './scatter.js';
import { SELECT_KERNELS } from './select.js';
import { SHAPE_KERNELS } from './shape.js';
import { SLICE_KERNELS } from './slice.js';
import { SOFTMAX_KERNELS } from './softmax.js';
import { STACK_KERNELS } from './stack.js';
import { TENSOR_ARRAY_KERNELS } from './tensor-array.js';
import { TENSOR_LIST_KERNELS } from './tensor-list.js';
import { TOP_K_KERNELS } from './top-k.js';
import { UNARY_KERNELS } from './unary.js';

export const COMPUTE_KERNELS: KernelTable = {
  ...CONTROL_KERNELS,
  ...SHAPE_KERNELS,
  ...FILL_KERNELS,
  ...SLICE_KERNELS,
  ...ARRAY_KERNELS,
  ...GATHER_KERNELS,
  ...SCATTER_KERNELS,
  ...SELECT_KERNELS,
  ...TOP_K_KERNELS,
  ...BINARY_KERNELS,
  ...UNARY_KERNELS,
  ...ACTIVATION_KERNELS,
  ...REDUCE_KERNELS,
  ...MATMUL_KERNELS,
  ...CONVOLUTION_KERNELS,
  ...POOL_KERNELS,
  ...SOFTMAX_KERNELS,
  ...RANDOM_KERNELS,
  ...STACK_KERNELS,
  ...TENSOR_ARRAY_KERNELS,
  ...OPTIONAL_KERNELS,
  // Last: sums and zeros of lists, beside those of numbers.
  ...TENSOR_LIST_KERNELS,
};
