/**
 * Whether what is fed fits together: follows the shapes of the feeds through a program, as far as shapes tell, before anything of it runs. A
 * kernel that fails in the middle of a step ends the session.
 */
import { errorMessage, GradsyncError } from '../../errors.js';
import type { Operation, Tensor } from '../../graph/operation.js';
import { elementCount, isFullyKnown, printShape } from '../../graph/shape.js';
import type { ExecutionPlan } from './execution-plan.js';
import { handleOf, referencedVariable } from './handles.js';
import { shapeOrNullAttr, tensorAttr } from './kernels/attributes.js';
import { decodeTensor } from './kernels/control.js';
import { isSmall, type Known, SHAPE_RULES } from './shape-rules.js';

/** Integers whose elements are followed too: shapes, axes, slices of shapes. */
const MOST_ELEMENTS = 16;

/** Reads of variables, which a program may do without, and constants. */
const OF_VARIABLES = new Set(['Const', 'ReadVariableOp', 'Identity']);

/**
 * Throws INVALID_ARGUMENT naming the feeds, and the first operation at which they do not fit.
 *
 * @param shapes of `feeds`, in their order.
 */
export function checkFeedShapes(
  plan: ExecutionPlan,
  feeds: readonly Tensor[],
  shapes: readonly (readonly number[])[],
  task: number,
): void {
  const walk = new Walk(new Map(feeds.map((tensor, i) => [tensor, { shape: shapes[i]! }])));
  for (const { operation, sources, flow } of plan.nodes) {
    // What a branch may leave out, and what a loop does, is known when it runs.
    if (flow !== undefined) continue;
    // Nobody computes an operation that takes nothing of its inputs.
    if (operation.inputs.length > 0 && sources.every((source) => source === null)) continue;
    try {
      walk.visit(operation);
    } catch (error) {
      // What is no error of the inputs is left to the kernel.
      if (error instanceof GradsyncError && error.code === 'INVALID_ARGUMENT')
        throw misfit(error, feeds, shapes, task);
    }
  }
}

function misfit(
  cause: GradsyncError,
  feeds: readonly Tensor[],
  shapes: readonly (readonly number[])[],
  task: number,
): GradsyncError {
  const fed = feeds.map(({ name }, i) => `${name} ${printShape(shapes[i]!)}`).join(', ');
  const { expected, received } = cause.details;
  return new GradsyncError(
    'INVALID_ARGUMENT',
    `Feeds of task ${task}`,
    {
      expected: 'shapes that fit each other and the model',
      received: `${fed}, with which ${cause.subject} would have ${received ?? errorMessage(cause)} in place of ${expected ?? 'what it takes'}`,
      remedy: 'feed batches of the same examples',
      task,
      operation: cause.details.operation ?? '',
    },
    { cause },
  );
}

class Walk {
  readonly #known: Map<Tensor, Known | undefined>;

  constructor(fed: Map<Tensor, Known | undefined>) {
    this.#known = fed;
  }

  visit(operation: Operation): void {
    const [output] = operation.outputs;
    if (output !== undefined && !this.#known.has(output)) this.#known.set(output, this.#find(operation));
  }

  /** What comes before in the order of the program has been visited; of the rest, only what is there without computing. */
  #input(tensor: Tensor): Known | undefined {
    if (this.#known.has(tensor)) return this.#known.get(tensor);
    const variable = referencedVariable(tensor);
    if (variable !== undefined) return shapeOfVariable(variable);
    const { operation, index } = tensor;
    return index === 0 && OF_VARIABLES.has(operation.type) ? this.#find(operation) : undefined;
  }

  #find(operation: Operation): Known | undefined {
    if (operation.type === 'Const') return constant(operation);
    const handle = operation.inputs[0] && handleOf(operation.inputs[0]);
    const variable = handle && shapeOfVariable(handle);
    if (operation.type === 'ReadVariableOp') return variable;
    const rule = Object.hasOwn(SHAPE_RULES, operation.type) ? SHAPE_RULES[operation.type] : undefined;
    return rule?.(
      operation,
      operation.inputs.map((tensor, i) => (i === 0 && handle !== undefined ? variable : this.#input(tensor))),
    );
  }
}

function shapeOfVariable(variable: Operation): Known | undefined {
  const shape = shapeOrNullAttr(variable, 'shape');
  return isFullyKnown(shape) ? { shape } : undefined;
}

function constant(operation: Operation): Known {
  const { dtype, shape, ...value } = tensorAttr(operation, 'value');
  if ((dtype !== 'int32' && dtype !== 'int64') || elementCount(shape) > MOST_ELEMENTS) return { shape };
  const data = decodeTensor({ dtype, shape, ...value }) as ArrayLike<number | bigint>;
  const elements = Array.from(data, Number);
  return isSmall(elements) ? { shape, elements } : { shape };
}
