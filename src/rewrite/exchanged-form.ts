/**
 * How the slices of variables of which every task has a copy come to all tasks: gathered as rows, or, from as many rows on as would be more
 * bytes, summed as a dense gradient. What decides in a step is the length that rows are padded to, which all tasks know.
 */
import { GradsyncError } from '../errors.js';
import { DTYPES } from '../graph/dtype.js';
import { bytesAroundRing } from '../graph/ring.js';
import { elementCount, isFullyKnown, printShape } from '../graph/shape.js';
import type { GradientPair } from '../graph/training-graph.js';
import { isDistinct } from './combine-rows.js';
import { dtypeOf } from './dtype-of.js';
import type { RunContext } from './pass.js';
import type { DenseFrom } from './plan.js';
import type { SparseForm } from './sparse-form.js';

const GATHERED: SparseForm = {
  form: 'concatenated',
  reason:
    'the slices of all tasks are gathered in the order of tasks, as many of each as of the task that has the most',
};

/** The numbers of rows that are gathered: powers of two. */
export const LENGTHS: readonly number[] = Array.from({ length: 31 }, (_, i) => 2 ** i);

/** Sizes of tensors are int32. */
const MOST_ELEMENTS = 2 ** 31 - 1;

/** `own`: the form that what takes the slices allows (sparseFormOf). */
export function exchangedForm(context: RunContext, pair: GradientPair, own: SparseForm): SparseForm {
  const { sparse } = context.collectives.get(pair.variable.name)!;
  const distinct = isDistinct(context, pair, own);
  const whole = distinct ? wholeBytes(pair) : undefined;
  if (sparse === 'dense') {
    if (whole === undefined) throw notDense(pair, own);
    const reason = 'the strategy has it summed over the tasks as a dense gradient';
    return { form: 'combined', reason, distinct, denseFrom: { rows: 0, bytes: summed(context, whole) } };
  }
  const from = sparse === 'gather' || whole === undefined ? undefined : denseFrom(context, pair, whole);
  if (from === undefined) return { ...GATHERED, distinct };
  if (from.rows > 0) return { ...GATHERED, distinct, denseFrom: from };
  return { form: 'combined', reason: 'gathered rows would be more bytes', distinct, denseFrom: from };
}

/** Bytes of the variable's rows, each with a number beside it that says who touched it; undefined where that cannot be one tensor. */
function wholeBytes({ variable: { shape, dtype } }: GradientPair): number | undefined {
  if (!isFullyKnown(shape)) return undefined;
  const [count = 0, ...row] = shape;
  const width = elementCount(row);
  const elements = count * (width + 1);
  return count * width > 0 && elements <= MOST_ELEMENTS ? elements * DTYPES[dtype].size : undefined;
}

/** What a task sends of a sum. */
function summed({ taskCount }: RunContext, bytes: number): number {
  return bytesAroundRing('CollectiveReduce', bytes, taskCount);
}

/**
 * Undefined where a task never has so many rows, or where the program has variables on servers, too: there TensorFlow runs collectives beside the
 * step, and what branches leave out would be missing.
 */
function denseFrom(context: RunContext, pair: GradientPair, whole: number): DenseFrom | undefined {
  const { gradient, variable } = pair;
  if (gradient.kind === 'dense' || context.plans.size > 0) return undefined;
  const [count = 0, ...row] = variable.shape!;
  const rowBytes = elementCount(row) * DTYPES[variable.dtype].size + DTYPES[dtypeOf(gradient.indices)].size;
  const gathered = (length: number): number =>
    bytesAroundRing('CollectiveGather', length * rowBytes, context.taskCount);
  const bytes = summed(context, whole);
  const longest = LENGTHS.findIndex((length) => length >= count);
  const first = LENGTHS.findIndex((length) => gathered(length) > bytes);
  if (first < 0 || first > longest) return undefined;
  return { rows: first === 0 ? 0 : LENGTHS[first - 1]! + 1, bytes };
}

function notDense(
  { variable: { name, shape, dtype } }: GradientPair,
  { form, reason }: SparseForm,
): GradsyncError {
  const received = form === 'combined' ? `${dtype}, shape ${printShape(shape)}` : `slices of which ${reason}`;
  return new GradsyncError('UNIMPLEMENTED', `Plan of variable "${name}"`, {
    expected:
      'for "sparse": "dense" a gradient in float32 or float64, of a variable of known shape, of which nothing looks at single rows',
    received,
    remedy: 'leave "sparse" out, or set it to "gather", for this variable',
    variable: name,
  });
}
