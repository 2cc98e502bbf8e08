/** Outputs of operations: how many there are, and the one that a name is about. */
import { type ErrorDetails, GradsyncError } from '../errors.js';
import type { Graph } from './graph.js';
import { parseTensorName } from './name.js';
import { outputCount, outputCountAttribute } from './op-catalog.js';
import type { Operation, Tensor } from './operation.js';

/** How many outputs an operation has; undefined where neither its type nor an attribute tells. */
export function outputsOf(operation: Operation): number | undefined {
  return outputCount(operation.type) ?? countedOutputs(operation);
}

/** Outputs of an operation that has as many as an attribute of it says. */
export function countedOutputs({ type, attributes }: Operation): number | undefined {
  const name = outputCountAttribute(type);
  const value = name === undefined ? undefined : attributes.get(name);
  if (value?.kind === 'int') return Number(value.value);
  return value?.kind === 'list' ? value.items.length : undefined;
}

/** The tensor of that name (`x:0`, or `x` for the same); NOT_FOUND about `subject` where the graph has none. */
export function findTensor(
  graph: Graph,
  name: string,
  subject: string,
  details: Pick<ErrorDetails, 'expected' | 'remedy'>,
): Tensor {
  const { operation: operationName, index } = parseTensorName(name);
  const operation = graph.find(operationName);
  if (operation !== undefined && hasOutput(operation, index)) return operation.output(index);
  throw new GradsyncError('NOT_FOUND', subject, {
    ...details,
    received: describeMissing(name, operation),
    operation: operationName,
  });
}

export function hasOutput(operation: Operation, index: number): boolean {
  return index < (outputsOf(operation) ?? Number.POSITIVE_INFINITY);
}

/** What a name says that nothing is found under: `"x:1", but Placeholder has 1 output`. */
export function describeMissing(name: string, operation: Operation | undefined): string {
  if (operation === undefined) return `"${name}"`;
  const count = outputsOf(operation);
  return `"${name}", but ${operation.type} has ${count} ${count === 1 ? 'output' : 'outputs'}`;
}
