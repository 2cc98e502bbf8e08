/**
 * The text form of a gradient pair: `variable|gradient` or `variable|indices;values;dense_shape`, as callers give it and as the
 * collection `gradsync/gradients` holds it.
 */
import { GradsyncError } from '../errors.js';
import type { Graph } from './graph.js';
import { parseTensorName } from './name.js';
import type { Tensor } from './operation.js';
import { findTensor } from './outputs.js';
import type { Gradient } from './training-graph.js';

/** The collection of a MetaGraphDef that holds gradient pairs. */
export const GRADIENTS_COLLECTION = 'gradsync/gradients';

const GRADIENT_FORMAT = '"variable|gradient", or "variable|indices;values;dense_shape" for a sparse one';

export interface NamedGradient {
  /** Name of the variable's handle operation. */
  readonly variable: string;
  readonly gradient: Gradient;
}

/** Resolves the text of a pair in a graph. INVALID_ARGUMENT for bad text, NOT_FOUND for a tensor that is not there. */
export function parseGradientPair(text: string, graph: Graph): NamedGradient {
  const [variable = '', gradient = '', ...rest] = text.split('|');
  const parts = gradient.split(';').map((part) => part.trim());
  if (variable.trim() === '' || rest.length > 0 || parts.length > 3 || parts.slice(0, 2).includes(''))
    throw badPair(text);
  return { variable: parseTensorName(variable.trim()).operation, gradient: findGradient(parts, text, graph) };
}

/** The text of a pair. */
export function printGradientPair({ variable, gradient }: NamedGradient): string {
  if (gradient.kind === 'dense') return `${variable}|${gradient.tensor.name}`;
  const tensors = [gradient.indices, gradient.values, gradient.denseShape];
  return `${variable}|${tensors.map((tensor) => tensor?.name ?? '').join(';')}`;
}

function findGradient(parts: readonly string[], text: string, graph: Graph): Gradient {
  const [first = '', second, third] = parts;
  if (second === undefined) return { kind: 'dense', tensor: findPart(first, text, graph) };
  return {
    kind: 'sparse',
    indices: findPart(first, text, graph),
    values: findPart(second, text, graph),
    denseShape: third === undefined || third === '' ? undefined : findPart(third, text, graph),
  };
}

function findPart(name: string, text: string, graph: Graph): Tensor {
  return findTensor(graph, name, `Gradient pair "${text}"`, {
    expected: 'names of tensors of the graph',
    remedy: 'write tensors as TensorFlow prints them, e.g. "gradients/MatMul_grad/MatMul_1:0"',
  });
}

function badPair(text: string): GradsyncError {
  return new GradsyncError('INVALID_ARGUMENT', 'Gradient pair', {
    expected: GRADIENT_FORMAT,
    received: JSON.stringify(text),
    remedy: 'name the variable and the tensors of its gradient',
  });
}
