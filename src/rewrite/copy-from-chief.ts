/**
 * Variables that each task keeps for itself must begin alike. Where the initial value is drawn without a seed or read from outside, every
 * task would begin with another: a frozen layer would differ from task to task. There a worker takes over what the chief's copy holds.
 */
import { GradsyncError } from '../errors.js';
import { attr, attributes } from '../graph/attributes.js';
import type { Graph } from '../graph/graph.js';
import { isInputSource, updateRule } from '../graph/op-catalog.js';
import type { Operation, Tensor } from '../graph/operation.js';
import type { Variable } from '../graph/training-graph.js';
import { onChief } from './devices.js';
import { newName, operation, type Site } from './make.js';
import type { TaskDevices } from './pass.js';
import { ancestors } from './walk.js';

/**
 * Makes the initializers of such variables assign the chief's value. For tasks other than the chief. `originals`: of variables that replicas
 * have copies of, which the chief need not have as well. `copies`: those that are trained on every task; a checkpoint that the chief has
 * restored is theirs too.
 */
export function copyFromChief(
  graph: Graph,
  variables: readonly Variable[],
  devices: TaskDevices,
  originals: ReadonlyMap<Variable, Variable>,
  copies: ReadonlySet<Variable>,
): void {
  for (const variable of variables) {
    const { initializer } = variable;
    const rule = initializer && updateRule(initializer.type);
    if (initializer === undefined || rule?.kind !== 'assign') {
      if (copies.has(variable)) throw cannotBegin(variable);
      continue;
    }
    if (copies.has(variable) || [...ancestors(graph, [initializer])].some(differsByTask)) {
      const original = originals.get(variable) ?? variable;
      graph.setInput(initializer, rule.gradient, chiefsValue(graph, original, devices));
    }
  }
}

/** A seeded random operation draws the same on every task. */
function differsByTask({ type, attributes: values }: Operation): boolean {
  if (!isInputSource(type)) return false;
  return ![values.get('seed'), values.get('seed2')].some((seed) => seed?.kind === 'int' && seed.value !== 0n);
}

/** Reads the variable of the same name on the chief's device. */
function chiefsValue(graph: Graph, { name, handle, kind, dtype }: Variable, devices: TaskDevices): Tensor {
  const device = handle.device === devices.replicas[0] ? devices.chiefReplica : onChief(handle.device);
  const site: Site = { graph, device, pass: 'initialize', source: name };
  const shared = handle.attributes.get('shared_name');
  const isNamed = shared?.kind === 'string' && shared.value.length > 0;
  const chiefs = operation(site, newName(site, 'chiefs'), {
    type: handle.type,
    attributes: handle.attributes.with({
      _class: undefined,
      shared_name: isNamed ? shared : attr.string(name),
    }),
  });
  const isResource = kind === 'resource';
  return operation(site, newName(site, 'chiefs_value'), {
    type: isResource ? 'ReadVariableOp' : 'Identity',
    inputs: [chiefs.output()],
    attributes: attributes({ [isResource ? 'dtype' : 'T']: attr.type(dtype) }),
  }).output();
}

function cannotBegin({ name, initializer }: Variable): GradsyncError {
  return new GradsyncError('UNIMPLEMENTED', `Variable "${name}"`, {
    expected: "an initializer that assigns a value, as every task's copy begins as the chief's",
    received: initializer === undefined ? 'none' : `a ${initializer.type}`,
    remedy: 'export the graph with its collection of variables, or give it a parameter-server plan',
    variable: name,
  });
}
