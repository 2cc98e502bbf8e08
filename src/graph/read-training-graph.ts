/**
 * Builds a TrainingGraph from a graph file: variables, gradient pairs (given by the caller, else by the collection
 * `gradsync/gradients`, else discovered), update and source operations, saver and tables.
 */
import { GradsyncError } from '../errors.js';
import type { MetaGraph } from './codec/meta-graph-def.js';
import type { GraphFacts } from './derivative.js';
import { type Discovery, type DiscoveryQuery, discoverGradient } from './discover-gradient.js';
import { GradientProofs } from './gradient-proof.js';
import { GRADIENTS_COLLECTION, type NamedGradient, parseGradientPair } from './gradient-text.js';
import type { Graph } from './graph.js';
import { parseTensorName } from './name.js';
import { isInputSource, readsShapeOnly, takesGradient, variableKind } from './op-catalog.js';
import type { Operation, Tensor } from './operation.js';
import { type FoundVariable, listsTrainable, readVariables, TRAINABLE } from './read-variables.js';
import { findSource } from './source-operation.js';
import type { Gradient, GradientPair, Saver, TrainingGraph } from './training-graph.js';
import { ancestors, dependenceTest, dependsOn } from './traverse.js';
import { findUnseenTraining } from './unseen-training.js';
import { hyperparameters, workerDependence } from './worker-dependence.js';

export interface ReadOptions {
  /** Gradient pairs, `variable|gradient` or `variable|indices;values;dense_shape`: these variables need no discovery. */
  readonly gradients?: readonly string[];
  /** Tensors that are fed a share of the examples, whatever their shape says. */
  readonly examples?: readonly string[];
}

/**
 * Reads what training needs to know of a graph. The TrainingGraph holds `meta.graph` itself, not a copy.
 *
 * Throws FAILED_PRECONDITION for a graph without variables or without anything that trains them, NOT_FOUND for a pair that names
 * nothing, INVALID_ARGUMENT where a pair has to be given, or a variable is updated twice.
 *
 * @example
 * ```ts
 * const training = readTrainingGraph(decodeGraphFile(await readFile('model.meta')));
 * ```
 */
export function readTrainingGraph(
  meta: MetaGraph,
  { gradients = [], examples = [] }: ReadOptions = {},
): TrainingGraph {
  const named = namedGradients(meta, gradients);
  const found = readVariables(meta, new Set(named.keys()));
  if (found.length === 0) throw noVariables();
  for (const name of named.keys()) requireVariable(name, found);
  const { pairs, alike } = readPairs(meta.graph, { found, named, examples, isListed: listsTrainable(meta) });
  if (pairs.length === 0) throw noPairs(found);
  return {
    graph: meta.graph,
    variables: found.map(({ variable }) => variable),
    pairs,
    alike,
    tableInitializers: tableInitializers(meta),
    saver: readSaver(meta),
  };
}

/** Pairs by variable: the caller's first, in their order, then the collection's for other variables. */
function namedGradients(meta: MetaGraph, given: readonly string[]): Map<string, NamedGradient> {
  const named = new Map<string, NamedGradient>();
  for (const text of given) {
    const pair = parseGradientPair(text, meta.graph);
    if (named.has(pair.variable)) throw twoPairs(pair.variable);
    named.set(pair.variable, pair);
  }
  const collection = meta.collections.get(GRADIENTS_COLLECTION);
  for (const bytes of collection?.kind === 'bytes' ? collection.values : []) {
    const pair = parseGradientPair(new TextDecoder().decode(bytes), meta.graph);
    if (!named.has(pair.variable)) named.set(pair.variable, pair);
  }
  return named;
}

interface PairInput {
  readonly found: readonly FoundVariable[];
  readonly named: ReadonlyMap<string, NamedGradient>;
  readonly examples: readonly string[];
  /** Whether the graph says which variables are trainable. */
  readonly isListed: boolean;
}

/**
 * Pairs, and the placeholders that have to be fed alike for them. One of unknown rank is taken for a hyperparameter until a gradient turns
 * out to be computed from it, as from an example.
 */
function readPairs(graph: Graph, input: PairInput): Pick<TrainingGraph, 'pairs' | 'alike'> {
  const { scalar, unknown } = hyperparameters(graph);
  const needs = dependenceTest(graph);
  const holdsExamples = new Set(input.examples.map((name) => graph.find(parseTensorName(name).operation)));
  for (;;) {
    const alike = [...scalar, ...unknown].filter((placeholder) => !holdsExamples.has(placeholder));
    const found = pairsWith(graph, input, { alike: new Set(alike), needs });
    const examples = unknown.filter(
      (placeholder) =>
        !holdsExamples.has(placeholder) &&
        found.some(({ origins }) => origins.some(({ operation }) => needs(operation, placeholder))),
    );
    if (examples.length === 0) return { pairs: found.map(({ pair }) => pair), alike };
    for (const placeholder of examples) holdsExamples.add(placeholder);
  }
}

interface FoundPair {
  readonly pair: GradientPair;
  readonly origins: readonly Tensor[];
}

/** Pairs in the order their gradients were named; discovered ones follow in the graph's order. */
function pairsWith(
  graph: Graph,
  { found, named, isListed }: PairInput,
  { alike, needs }: { alike: ReadonlySet<Operation>; needs: GraphFacts['needs'] },
): FoundPair[] {
  const byName = new Map(found.map((entry) => [entry.variable.name, entry]));
  const trainable = new Set(
    found.filter(({ variable }) => variable.trainable).map(({ variable }) => variable.handle),
  );
  const dependence = workerDependence(graph, found, alike);
  const byHandle = new Map(found.map((entry) => [entry.variable.handle, entry]));
  const changesOf = (handle: Operation): readonly Operation[] => byHandle.get(handle)?.updates ?? [];
  const updates = found.flatMap((entry) => (entry.variable.trainable ? entry.updates : []));
  const training = ancestors(updates, { edges: 'data', stopAt: ({ type }) => readsShapeOnly(type) });
  const isTraining = (operation: Operation): boolean => training.has(operation);
  const proofs = new GradientProofs({ ...dependence, needs, isTraining, changesOf });
  const pairs: FoundPair[] = [];
  for (const { variable, gradient } of named.values()) {
    const entry = byName.get(variable) as FoundVariable;
    const pair = makePair(entry, gradient, updateFor(entry, gradient), trainable);
    pairs.push({ pair, origins: [valuesOf(gradient)] });
  }
  for (const entry of found) {
    if (!entry.variable.trainable || named.has(entry.variable.name) || entry.updates.length === 0) continue;
    const query = { variable: entry.variable.handle, proofs, ...dependence };
    const { gradient, origins, update } = discover(entry, query);
    pairs.push({ pair: makePair(entry, gradient, update, trainable), origins });
  }
  if (!isListed) {
    const gradients = pairs.map(({ pair }) => valuesOf(pair.gradient));
    const unseen = findUnseenTraining(found, gradients, dependence.varies);
    if (unseen !== undefined) throw notListed(unseen);
  }
  return pairs;
}

function valuesOf(gradient: Gradient): Tensor {
  return gradient.kind === 'dense' ? gradient.tensor : gradient.values;
}

function makePair(
  { variable, updates }: FoundVariable,
  gradient: Gradient,
  update: Operation,
  trainable: ReadonlySet<Operation>,
): GradientPair {
  const changes = updates.filter((change) => change !== update);
  const later = changes.filter((change) => dependsOn(change, update));
  if (later.length > 0) throw twoUpdates(variable.name, [update, ...later]);
  return {
    variable,
    gradient,
    update,
    source: findSource({ variable, gradient, update, changes, trainable }),
  };
}

/** The one change of the variable that its named gradient leads to. Others must be decay, which takes none. */
function updateFor({ variable, updates }: FoundVariable, gradient: Gradient): Operation {
  const start = valuesOf(gradient).operation;
  const fed = updates.filter((update) => dependsOn(update, start, 'data'));
  // A composed optimizer may hand the gradient on through a slot variable, where only a control edge keeps the order.
  const after = fed.length > 0 ? fed : updates.filter((update) => dependsOn(update, start));
  const isGradient = !isInputSource(start.type) && variableKind(start.type) === undefined;
  if (after.length === 0 || !isGradient) throw leadsNowhere(variable.name, start);
  if (after.length > 1) throw twoUpdates(variable.name, after);
  return after[0] as Operation;
}

function discover(
  { variable, updates }: FoundVariable,
  query: DiscoveryQuery,
): Exclude<Discovery, { impurity: Operation }> & { update: Operation } {
  const known = updates.filter(({ type }) => takesGradient(type));
  const [update] = known;
  if (update === undefined)
    throw needsPair(variable.name, `updates of type ${typesOf(updates)}, which take no gradient`);
  if (known.length > 1) throw twoUpdates(variable.name, known);
  const discovery = discoverGradient(update, query);
  if ('impurity' in discovery) {
    const { name, type } = discovery.impurity;
    throw needsPair(
      variable.name,
      `"${name}" (${type}) between backpropagation and the update "${update.name}"`,
    );
  }
  const start = valuesOf(discovery.gradient).operation;
  const others = updates.filter((other) => other !== update && dependsOn(other, start, 'data'));
  if (others.length > 0) throw twoUpdates(variable.name, [update, ...others]);
  return { ...discovery, update };
}

function tableInitializers(meta: MetaGraph): Operation[] {
  const collection = meta.collections.get('table_initializer');
  return collection?.kind === 'nodes' ? collection.names.map((name) => meta.graph.get(name)) : [];
}

function readSaver({ graph, saver }: MetaGraph): Saver | undefined {
  if (saver === undefined || saver.filename === '' || saver.restore === '') return undefined;
  const { filename, save, restore } = saver;
  return { filename: graph.getTensor(filename), save: graph.getTensor(save), restore: graph.get(restore) };
}

function requireVariable(name: string, found: readonly FoundVariable[]): void {
  if (found.some(({ variable }) => variable.name === name)) return;
  const names = found.map(({ variable }) => variable.name);
  throw new GradsyncError('NOT_FOUND', `Gradient pair of "${name}"`, {
    expected: `one of the variables ${names.slice(0, 8).join(', ')}${names.length > 8 ? ', ...' : ''}`,
    received: `"${name}"`,
    remedy: 'name a variable of the graph',
    variable: name,
  });
}

function noVariables(): GradsyncError {
  return new GradsyncError('FAILED_PRECONDITION', 'Training graph', {
    expected: 'at least one variable (VarHandleOp, VariableV2 or Variable)',
    received: 'a graph without variables',
    remedy: 'export the training graph, not a frozen one for inference',
  });
}

function noPairs(found: readonly FoundVariable[]): GradsyncError {
  return new GradsyncError('FAILED_PRECONDITION', 'Training graph', {
    expected: 'an update operation of a trainable variable',
    received: `${found.length} variables and none that is trained`,
    remedy: 'export the graph after optimizer.minimize or apply_gradients, with its collections',
  });
}

function needsPair(variable: string, received: string): GradsyncError {
  const remedy =
    `name the gradient as it leaves backpropagation: --gradient "${variable}|<tensor>", or "${variable}|<indices>;<values>;<dense shape>" ` +
    `for a sparse one; or add that string to the collection ${GRADIENTS_COLLECTION} before exporting`;
  return new GradsyncError('INVALID_ARGUMENT', `Variable "${variable}"`, {
    expected: 'an update that takes the gradient as it leaves backpropagation, or a gradient pair',
    received,
    remedy,
    variable,
  });
}

function notListed({ variable, updates }: FoundVariable): GradsyncError {
  const types = `updates of type ${typesOf(updates)}, which take no gradient`;
  return needsPair(variable.name, `${types}, in a graph without the collection ${TRAINABLE}`);
}

function twoUpdates(variable: string, updates: readonly Operation[]): GradsyncError {
  return new GradsyncError('INVALID_ARGUMENT', `Variable "${variable}"`, {
    expected: 'one update operation',
    received: updates.map(({ name, type }) => `"${name}" (${type})`).join(' and '),
    remedy:
      'let one optimizer change it, once: a second one in the graph, or what changes it again behind the update (a constraint, decay, slow weights), is not supported',
    variable,
  });
}

function twoPairs(variable: string): GradsyncError {
  return new GradsyncError('INVALID_ARGUMENT', `Gradient pair of "${variable}"`, {
    expected: 'one pair for each variable',
    received: 'two',
    remedy: 'keep one of them',
    variable,
  });
}

function leadsNowhere(variable: string, start: Operation): GradsyncError {
  return new GradsyncError('INVALID_ARGUMENT', `Gradient pair of "${variable}"`, {
    expected: `a tensor that leads to an update of "${variable}"`,
    received: `"${start.name}" (${start.type}), which leads to none or is no gradient`,
    remedy: 'name the tensor that the optimizer was given, or one before it',
    operation: start.name,
    variable,
  });
}

function typesOf(operations: readonly Operation[]): string {
  return [...new Set(operations.map(({ type }) => type))].join(', ');
}
