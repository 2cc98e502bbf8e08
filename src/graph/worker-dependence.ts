/**
 * What may differ between workers in the same step. Inputs and random numbers differ; so do variables that a worker changes by itself with
 * such values (averages of batch normalization, a running loss). Constants do not, nor trainable variables, which all workers share, nor
 * what the user feeds to all alike.
 */
import { byType, type Dependence, dependence } from './dependence.js';
import { poppedFrom } from './forward-uses.js';
import type { Graph } from './graph.js';
import { operandOf } from './handle-uses.js';
import { isInputSource } from './op-catalog.js';
import type { Operation, Tensor } from './operation.js';
import type { FoundVariable } from './read-variables.js';
import { descendants } from './traverse.js';

/** Whether a tensor may have another value on another worker. */
export type Varies = (tensor: Tensor) => boolean;

export interface WorkerDependence {
  readonly varies: Varies;
  /** Whether it varies, or would if the workers' shares of a batch had different sizes. */
  readonly differs: Varies;
}

/** `alike`: placeholders that are fed the same on all workers. */
export function workerDependence(
  graph: Graph,
  found: readonly FoundVariable[],
  alike: ReadonlySet<Operation>,
): WorkerDependence {
  const isInput = byType(({ type }) => isInputSource(type) || DRAWS.test(type) || CALLS.test(type));
  const inputs = [...graph.operations()].filter((operation) => isInput(operation) && !alike.has(operation));
  const changed = new Set<Operation>();
  const pops = [...graph.operations()].filter(({ type }) => type === 'StackPopV2');
  for (;;) {
    const own = dependsOnAny(graph, [...inputs, ...changed]);
    const varies: Varies = ({ operation }) => own.has(operation);
    const before = changed.size;
    for (const handle of changedBy(found, varies)) changed.add(handle);
    for (const pop of pops) if (poppedFrom(pop).some(varies)) changed.add(pop);
    if (changed.size > before) continue;
    const sized = fromSizes(inputs);
    return { varies, differs: ({ operation }) => own.has(operation) || sized.has(operation) };
  }
}

/** What is computed from the size of something that is computed from what workers get shares of. */
function fromSizes(inputs: readonly Operation[]): ReadonlySet<Operation> {
  const sizes = [...descendants(inputs, { edges: 'data' })].filter(({ type }) =>
    /^(Shape|ShapeN|Size)$/.test(type),
  );
  return descendants(sizes, { edges: 'data', stopAt: ({ type }) => /^(Zeros|Ones)Like$/.test(type) });
}

function dependsOnAny(graph: Graph, sources: readonly Operation[]): Dependence {
  const set = new Set(sources);
  return dependence(graph, (operation) => set.has(operation));
}

/** Variables that are no one's to share, as a worker changes them with values of its own. */
function changedBy(found: readonly FoundVariable[], varies: Varies): Operation[] {
  const own = found.filter(({ variable, updates }) => {
    const operands = updates.flatMap((update) => operandOf(update) ?? []);
    return !variable.trainable && operands.some(varies);
  });
  return own.map(({ variable }) => variable.handle);
}

/** Values from elsewhere, or drawn. */
const DRAWS =
  /^(Stateful(?!PartitionedCall)|Rng|DatasetToSingleElement|Unstage|MapUnstage|OrderedMapUnstage|StagePeek|Timestamp|LookupTableExport)/;
/** Functions with state, whose bodies may draw. */
const CALLS = /^(StatefulPartitionedCall|If|While|Case)$/;

/** Whether an operation of that type itself hands out what may be another value on another worker; drawn from the same seed, it is not. */
export function isWorkersOwn(type: string): boolean {
  return (isInputSource(type) || DRAWS.test(type)) && !type.startsWith('Stateless');
}

/**
 * Placeholders that can be fed the same on all workers, as a learning rate is: scalars, which cannot hold examples, and those of unknown
 * rank, which may.
 */
export function hyperparameters(graph: Graph): {
  readonly scalar: readonly Operation[];
  readonly unknown: readonly Operation[];
} {
  const placeholders = [...graph.operations()].filter(({ type }) => /^Placeholder/.test(type));
  const ofRank = (holds: (rank: number | undefined) => boolean): Operation[] =>
    placeholders.filter(({ attributes }) => {
      const [dtype, shape] = [attributes.get('dtype'), attributes.get('shape')];
      // A string may be the handle of what hands out a worker's examples.
      const isNumber = dtype?.kind === 'type' && !/string|resource|variant/.test(dtype.value);
      return isNumber && shape?.kind === 'shape' && holds(shape.value?.length);
    });
  return { scalar: ofRank((rank) => rank === 0), unknown: ofRank((rank) => rank === undefined) };
}
