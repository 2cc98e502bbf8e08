/**
 * Lookups of rows that live on another task: the task sends the index of every row once, gets the row once, and puts rows together as often
 * as its indices say. A gather of a variable that is read whole is done where the variable lives.
 */
import { type Attributes, attr, attributes } from '../graph/attributes.js';
import type { DType } from '../graph/dtype.js';
import type { Graph } from '../graph/graph.js';
import type { Operation, Tensor } from '../graph/operation.js';
import { isFullyKnown } from '../graph/shape.js';
import type { Variable } from '../graph/training-graph.js';
import type { Closure } from './closure.js';
import { ControlFlow } from './control-flow.js';
import { cpuOf, taskOfDevice } from './devices.js';
import { gatherAxis, isBatched, isGather } from './gathering.js';
import { concatenate, constant, newName, operation, reshape, rowsAt, type Site } from './make.js';
import type { TaskContext } from './pass.js';
import { replaceOperation } from './replace.js';
import type { VariableUses } from './variable-uses.js';

/** A gather of rows of a shared variable, and the device that has them. */
export interface Lookup {
  readonly gather: Operation;
  readonly variable: Variable;
  readonly server: string;
}

export interface LookupInput {
  /** The device of each shared variable. */
  readonly servers: ReadonlyMap<Variable, string>;
  readonly closure: Closure;
  readonly uses: VariableUses;
}

/** Those of the program's computation. What updates look up follows from gradients, of which a task sends every row once as it is. */
export function findLookups(graph: Graph, { servers, closure, uses }: LookupInput): readonly Lookup[] {
  const found = [...graph.operations()].flatMap((gather) => {
    if (!isGather(gather) || gatherAxis(gather) !== 0 || isBatched(gather)) return [];
    const variable = closure.members.has(gather) ? undefined : variableOf(gather.inputs[0]!, uses);
    const server = variable && servers.get(variable);
    return server !== undefined && isFullyKnown(variable!.shape)
      ? [{ gather, variable: variable!, server }]
      : [];
  });
  if (found.length === 0) return [];
  const flow = new ControlFlow(graph);
  return found.filter(({ gather }) => !flow.isInside(gather));
}

/** The variable that a tensor is the handle, the reference or the value of. */
function variableOf(tensor: Tensor, uses: VariableUses): Variable | undefined {
  const { type, inputs } = tensor.operation;
  const [source] = inputs;
  const isRead = type === 'ReadVariableOp' || type === 'Identity';
  return uses.variableOf(tensor) ?? (isRead && source !== undefined ? uses.variableOf(source) : undefined);
}

/** Those by which a task sends indices of its own to another. Devices have their full names. */
export function lookupsAway({ task }: TaskContext, lookups: readonly Lookup[]): readonly Lookup[] {
  return lookups.filter(({ gather: { inputs } }) => {
    // A proxy may have taken the variable's place.
    const [source, ids] = inputs.slice(0, 2).map(({ operation: { device } }) => taskOfDevice(device));
    return source !== task && ids === task;
  });
}

/** Makes the task take every row once. */
export function lookUpOnce(graph: Graph, { replicas, joins }: TaskContext, lookups: readonly Lookup[]): void {
  for (const lookup of lookups) {
    const site = { graph, device: cpuOf(replicas[0]!), pass: 'lookup', source: lookup.variable.name };
    const ids = lookup.gather.inputs[1]!;
    const distinct = lookUp(site, lookup, ids);
    // A task without data gives no rows in place of its gradient's, and looks nothing up.
    if (!joins) shareDistinct(graph, ids, distinct);
  }
}

const PASS_ON = new Set(['Identity', 'Reshape']);

/** A gradient is often of the very indices that were looked up: what is distinct of these is found once. */
function shareDistinct(graph: Graph, ids: Tensor, distinct: Operation): void {
  const same = new Set([ids]);
  for (const tensor of same) {
    for (const consumer of [...tensor.consumers]) {
      if (consumer === distinct || consumer.inputs[0] !== tensor) continue;
      if (PASS_ON.has(consumer.type)) same.add(consumer.output());
      else if (isAlike(consumer, distinct)) {
        for (const output of consumer.outputs) {
          if (output !== undefined)
            graph.replaceInput(output, distinct.output(output.index), [...output.consumers]);
        }
        graph.remove(consumer);
      }
    }
  }
}

function isAlike(operation: Operation, distinct: Operation): boolean {
  const { type, device, origin } = operation;
  return (
    type === distinct.type &&
    device === distinct.device &&
    origin?.source === distinct.origin?.source &&
    typeOf(operation, 'out_idx') === typeOf(distinct, 'out_idx')
  );
}

/** Puts the distinct lookup in the place of the gather. Gives the operation that finds distinct indices. */
function lookUp(site: Site, lookup: Lookup, ids: Tensor): Operation {
  const idType = typeOf(lookup.gather, 'Tindices');
  const flat = reshape(site, 'lookup_flat', ids, [-1], idType);
  const distinct = operation(site, newName(site, 'lookup_indices'), {
    type: 'Unique',
    inputs: [flat],
    attributes: types({ T: idType, out_idx: 'int32' }),
  });
  const rows = gatherThere(site, lookup, distinct.output(0));
  putTogether(site, lookup, ids, { rows, places: distinct.output(1) });
  return distinct;
}

/** The gather as it was, with distinct indices. Its axis, a constant of the task's own, is one of the server's. */
function gatherThere(
  site: Site,
  { gather: { type, inputs, controlInputs, attributes: own }, server }: Lookup,
  distinct: Tensor,
): Tensor {
  const there = { ...site, device: server };
  const hasAxis = inputs.length > 2;
  const axis = hasAxis ? [constant(there, newName(there, 'lookup_rows', 'axis'), 'int32', [0])] : [];
  return operation(there, newName(there, 'lookup_rows'), {
    type,
    inputs: [inputs[0]!, distinct, ...axis],
    after: controlInputs,
    attributes: own.with({
      _class: undefined,
      _output_shapes: undefined,
      ...(hasAxis && { Taxis: attr.type('int32') }),
    }),
  }).output();
}

interface DistinctRows {
  readonly rows: Tensor;
  /** Of every index the place of its row. */
  readonly places: Tensor;
}

/** Gives every index its row, under the name of the gather. */
function putTogether(
  site: Site,
  { gather, variable: { dtype, shape } }: Lookup,
  ids: Tensor,
  { rows, places }: DistinctRows,
): void {
  const local = { ...site, device: ids.operation.device };
  const found = rowsAt(local, 'looked_up', [rows, places], dtype);
  const outer = operation(site, newName(site, 'lookup_outer'), {
    type: 'Shape',
    inputs: [ids],
    attributes: types({ T: typeOf(gather, 'Tindices'), out_type: 'int32' }),
  }).output();
  const row = shape!.slice(1);
  const inner =
    row.length === 0 ? [] : [constant(site, newName(site, 'lookup_inner'), 'int32', row, [row.length])];
  const dims = concatenate(site, 'lookup_shape', [outer, ...inner], 'int32');
  const told = gather.attributes.get('_output_shapes');
  replaceOperation(site.graph, gather, found, (name) =>
    operation(local, name, {
      type: 'Reshape',
      inputs: [found, dims],
      attributes: types({ T: dtype, Tshape: 'int32' }).with({ _output_shapes: told }),
    }),
  );
}

function types(values: Readonly<Record<string, DType>>): Attributes {
  return attributes(
    Object.fromEntries(Object.entries(values).map(([name, dtype]) => [name, attr.type(dtype)])),
  );
}

function typeOf({ attributes: values }: Operation, name: string): DType {
  const value = values.get(name);
  return value?.kind === 'type' ? value.value : 'int32';
}
