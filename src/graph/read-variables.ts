/** Finds a graph's variables: all that handle operations make, with what the collections VARIABLES and TRAINABLE_VARIABLES tell of them. */
import { decodeVariableDef, type MetaGraph, type VariableDef } from './codec/meta-graph-def.js';
import { byType, type Dependence, dependence, isValueSource } from './dependence.js';
import type { DType } from './dtype.js';
import type { Graph } from './graph.js';
import { type HandleUses, operandOf, usesOf } from './handle-uses.js';
import { parseTensorName } from './name.js';
import { takesGradient, updateRule, variableKind } from './op-catalog.js';
import type { Operation, Tensor } from './operation.js';
import type { Shape } from './shape.js';
import type { Variable } from './training-graph.js';

/** A variable with what reading a training graph needs of it, and nobody afterwards. */
export interface FoundVariable {
  readonly variable: Variable;
  readonly uses: HandleUses;
  /** Changes that may belong to a training step: neither initialization nor the restoring of a checkpoint. */
  readonly updates: readonly Operation[];
}

export const TRAINABLE = 'trainable_variables';
/** Collections that hold VariableDefs. */
const COLLECTIONS = [
  'variables',
  TRAINABLE,
  'local_variables',
  'model_variables',
  'moving_average_variables',
  'global_step',
];

/** All variables, in the graph's order. `named` are trainable whatever the collections say, as a gradient pair names them. */
export function readVariables(meta: MetaGraph, named: ReadonlySet<string>): FoundVariable[] {
  const { graph } = meta;
  const defs = readDefs(meta, COLLECTIONS);
  const trainable = listsTrainable(meta) ? readDefs(meta, [TRAINABLE]) : undefined;
  const values = dependence(graph, byType(isValueSource));
  const found: FoundVariable[] = [];
  for (const handle of graph.operations()) {
    const kind = variableKind(handle.type);
    if (kind === undefined) continue;
    const uses = usesOf(handle, kind);
    const updates = uses.changes.filter((change) => isUpdate(change, values));
    const isTrained = trainable === undefined ? looksTrained(updates) : trainable.has(handle);
    const initializer = initializerOf(graph, defs.get(handle), uses, values);
    const variable: Variable = {
      name: handle.name,
      handle,
      kind,
      dtype: dtypeOf(handle),
      shape: shapeOf(handle),
      trainable: isTrained || named.has(handle.name),
      initialValue: initialValueOf(graph, defs.get(handle), initializer),
      initializer,
      reads: uses.reads,
    };
    found.push({ variable, uses, updates: updates.filter((update) => update !== initializer) });
  }
  return found;
}

/** Whether the graph says which variables are trainable. */
export function listsTrainable({ collections }: MetaGraph): boolean {
  return collections.has(TRAINABLE);
}

/** Without collections: what an optimizer's step changes, or rows added and nothing else (a slot of a composed optimizer is assigned to as well). */
function looksTrained(updates: readonly Operation[]): boolean {
  if (updates.some(({ type }) => updateRule(type)?.kind === 'apply')) return true;
  return updates.length > 0 && updates.every(({ type }) => takesGradient(type));
}

/** Definitions by handle operation; those whose variable cannot be found in the graph are left out. */
function readDefs(meta: MetaGraph, names: readonly string[]): Map<Operation, VariableDef> {
  const defs = new Map<Operation, VariableDef>();
  for (const name of names) {
    const collection = meta.collections.get(name);
    if (collection?.kind !== 'bytes') continue;
    for (const bytes of collection.values) {
      const def = decodeVariableDef(bytes);
      const handle = handleOf(meta.graph, def);
      if (handle !== undefined && !defs.has(handle)) defs.set(handle, def);
    }
  }
  return defs;
}

/** The operation of the variable's name, or, where a resource has another name than its handle, what its initializer assigns to. */
function handleOf(graph: Graph, def: VariableDef): Operation | undefined {
  if (def.variable === '') return undefined;
  const direct = graph.find(parseTensorName(def.variable).operation);
  if (direct !== undefined && variableKind(direct.type) !== undefined) return direct;
  return def.initializer === '' ? undefined : graph.find(def.initializer)?.inputs[0]?.operation;
}

/** An assignment of what depends on no input and no variable initializes; one of what a checkpoint holds restores. */
function isUpdate(change: Operation, values: Dependence): boolean {
  if (takesGradient(change.type)) return true;
  const operand = operandOf(change);
  return operand !== undefined && values.has(operand.operation) && !isRestored(operand);
}

/** Whether a value comes straight out of a checkpoint: through at most a few operations that only reshape it. */
function isRestored(value: Tensor): boolean {
  let at: Operation | undefined = value.operation;
  for (let i = 0; i < 4 && at !== undefined; i++) {
    if (/^Restore/.test(at.type)) return true;
    at = at.inputs[0]?.operation;
  }
  return false;
}

function initializerOf(
  graph: Graph,
  def: VariableDef | undefined,
  uses: HandleUses,
  values: Dependence,
): Operation | undefined {
  const named = def === undefined || def.initializer === '' ? undefined : graph.find(def.initializer);
  if (named !== undefined) return named;
  return uses.changes.find((change) => {
    const operand = operandOf(change);
    const isAssignment = updateRule(change.type)?.kind === 'assign' && operand !== undefined;
    return isAssignment && !isUpdate(change, values) && !isRestored(operand);
  });
}

function initialValueOf(
  graph: Graph,
  def: VariableDef | undefined,
  initializer: Operation | undefined,
): Tensor | undefined {
  if (def !== undefined && def.initialValue !== '') {
    const { operation, index } = parseTensorName(def.initialValue);
    const found = graph.find(operation);
    if (found !== undefined) return found.output(index);
  }
  return initializer === undefined ? undefined : operandOf(initializer);
}

function dtypeOf(handle: Operation): DType {
  const value = handle.attributes.get('dtype');
  return value?.kind === 'type' ? value.value : 'float32';
}

function shapeOf(handle: Operation): Shape {
  const value = handle.attributes.get('shape');
  return value?.kind === 'shape' ? value.value : null;
}
