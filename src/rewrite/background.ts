/**
 * Separates the rounds of an update group from the chief's steps, so that a run of their own can do them. What the updates take beside the
 * averaged gradients is either computed in that run anew (constants, what is read of shared variables) or, where it belongs to a step (a fed
 * learning rate, one that follows the global step), comes along with the chief's gradient of that step. Nothing of a round but the taking of
 * gradients happens before all of them are there.
 */
import { GradsyncError } from '../errors.js';
import type { Graph } from '../graph/graph.js';
import { joinName } from '../graph/name.js';
import { isInputSource, isStateful } from '../graph/op-catalog.js';
import type { Operation, Tensor } from '../graph/operation.js';
import type { Closure } from './closure.js';
import { dtypeOf } from './dtype-of.js';
import { gradientTensors } from './gradient-region.js';
import { group, newName, SCOPE, type Site } from './make.js';
import type { Aggregation } from './parameter-server.js';
import type { RewriteContext } from './pass.js';
import { dequeue, enqueue, fifoQueue } from './queues.js';
import { stepValueQueueName } from './shared-objects.js';
import type { RoundGroup } from './synchrony.js';
import type { VariableUses } from './variable-uses.js';
import { ancestors, descendants, Marks } from './walk.js';

export interface SeparateInput {
  readonly group: RoundGroup;
  readonly number: number;
  /** Those of the group. */
  readonly aggregations: readonly Aggregation[];
  readonly closure: Closure;
  readonly uses: VariableUses;
}

export interface Separated {
  /** In the chief's step: hands over what the updates take of it; undefined where that is nothing. */
  readonly give: Operation | undefined;
  /** Operations that only the run in the background may run. */
  readonly alone: readonly Operation[];
  /** What that run computes anew: feeding these in a step would not reach the updates. */
  readonly anew: readonly Operation[];
  readonly queue: Tensor | undefined;
}

/** `site` is on the chief's CPU. */
export function separate(site: Site, context: RewriteContext, input: SeparateInput): Separated {
  const { graph } = site;
  const { group: updates, aggregations, uses } = input;
  const feeders = findFeeders(graph, context, input);
  const taken = group(
    site,
    newName(site, 'taken'),
    aggregations.flatMap(({ takes }) => takes),
  );
  const copies = copyFeeders(site, feeders, input);
  const { give, take, queue, values } = carry(site, context, input, feeders);
  const inputOf: InputOf = (tensor) =>
    values.get(tensor) ?? copies.get(tensor.operation)?.output(tensor.index) ?? tensor;
  for (const mean of fedMeans(context, aggregations)) detach(graph, mean, feeders.members, inputOf);
  if (take !== undefined) graph.addControlInput(taken, take);
  for (const [original, copy] of copies) {
    graph.setInputs(copy, original.inputs.map(inputOf));
    if (touchesVariable(original, uses)) graph.addControlInput(copy, taken);
  }
  for (const member of updates.members) {
    detach(graph, member, feeders.members, inputOf);
    if (touchesVariable(member, uses)) graph.addControlInput(member, taken);
  }
  const alone = [taken, ...copies.values(), ...(take === undefined ? [] : [take])];
  return { give, queue, alone, anew: [...copies.keys()] };
}

/** What divides by a number that belongs to a step: how many have data for it. */
function fedMeans({ joins }: RewriteContext, aggregations: readonly Aggregation[]): readonly Operation[] {
  return joins ? aggregations.flatMap(({ mean }) => mean ?? []) : [];
}

/** What the background takes in place of a tensor. */
type InputOf = (tensor: Tensor) => Tensor;

function touchesVariable(operation: Operation, uses: VariableUses): boolean {
  return uses.mutatedBy(operation).length > 0 || operation.inputs.some((tensor) => uses.variableOf(tensor));
}

/** Frees a member of what belongs to steps. What has effects there is waited for by the step itself. */
function detach(graph: Graph, member: Operation, members: Marks, inputOf: InputOf): void {
  for (const control of [...member.controlInputs]) {
    if (!members.has(control)) graph.removeControlInput(member, control);
  }
  for (const [i, tensor] of [...member.inputs].entries()) {
    const other = inputOf(tensor);
    if (other !== tensor) graph.setInput(member, i, other);
  }
}

/** What updates take, over data edges, beside aggregates. */
interface Feeders {
  readonly members: Marks;
  /** Values of a step: the updates take them as the chief's step has computed them. */
  readonly stepValues: ReadonlySet<Operation>;
  /** The others: computed anew. */
  readonly evaluated: ReadonlySet<Operation>;
}

function findFeeders(
  graph: Graph,
  context: RewriteContext,
  { group, aggregations, closure, uses }: SeparateInput,
): Feeders {
  const members = new Marks(graph);
  for (const member of [...group.members, ...fedMeans(context, aggregations)]) members.add(member);
  const taken = new Set(aggregations.flatMap(({ chiefOnly }) => chiefOnly));
  const above = ancestors(graph, members, { enter: (each) => !taken.has(each) });
  const enter = (operation: Operation): boolean => above.has(operation) && !members.has(operation);
  const all = [...above].filter(enter);
  const isShared = (tensor: Tensor): boolean => {
    const variable = uses.variableOf(tensor);
    return variable !== undefined && closure.shared.has(variable);
  };
  const ofStep = descendants(
    graph,
    all.filter((each) => isOfStep(each, isShared, uses)),
    { enter },
  );
  const ofVariables = descendants(
    graph,
    all.filter((each) => isShared(each.output())),
    { enter },
  );
  // Where data and variables have met, it is the computation of a step, not of a hyperparameter.
  const forward = ancestors(graph, rootsOf(group));
  const met = all.filter((each) => forward.has(each) && ofStep.has(each) && ofVariables.has(each));
  const computed = descendants(graph, met, { enter });
  const stepValues = new Set(
    all.filter((each) => ofStep.has(each) && (!ofVariables.has(each) || computed.has(each))),
  );
  const evaluated = new Set(all.filter((each) => !stepValues.has(each)));
  return { members, stepValues, evaluated };
}

function rootsOf({ pairs }: RoundGroup): readonly Operation[] {
  return pairs.flatMap((pair) => gradientTensors(pair).map((tensor) => tensor.operation));
}

/** Whether an operation's value is another in another step: fed, drawn, or of a variable that the task changes by itself. */
function isOfStep(operation: Operation, isShared: (tensor: Tensor) => boolean, uses: VariableUses): boolean {
  const { type, inputs } = operation;
  if (isInputSource(type)) return true;
  const variables = [operation.output(), ...inputs].filter((tensor) => uses.variableOf(tensor) !== undefined);
  if (variables.length > 0) return !variables.every(isShared);
  return isStateful(type);
}

/** Copies of what is computed anew, without inputs as yet, and waiting for nothing. Handles are the same in any run. */
function copyFeeders(
  { graph, source }: Site,
  { evaluated }: Feeders,
  { uses }: SeparateInput,
): ReadonlyMap<Operation, Operation> {
  const copies = new Map<Operation, Operation>();
  for (const original of [...evaluated].sort((a, b) => a.id - b.id)) {
    if (uses.variableOf(original.output()) !== undefined) continue;
    const { type, device, attributes: values } = original;
    const name = graph.uniqueName(joinName(SCOPE, source, 'background', original.name));
    const origin = { source: original.name, pass: 'finish' };
    const attributes = values.with({ _class: undefined });
    copies.set(original, graph.add({ name, type, device, attributes, origin }));
  }
  return copies;
}

interface Carried extends Pick<Separated, 'give' | 'queue'> {
  readonly take: Operation | undefined;
  /** What stands for a value of the step in the background. */
  readonly values: ReadonlyMap<Tensor, Tensor>;
}

/** Puts a queue between the chief's step and the updates. */
function carry(site: Site, context: RewriteContext, input: SeparateInput, feeders: Feeders): Carried {
  const tensors = tensorsOfStep(feeders);
  if (tensors.length === 0) return { give: undefined, take: undefined, queue: undefined, values: new Map() };
  const queue = fifoQueue(site, ['step_values'], {
    types: tensors.map(dtypeOf),
    capacity: input.group.background!.staleness + 1,
    container: context.digest,
    sharedName: stepValueQueueName(input.number),
  });
  const give = enqueue(site, ['give_step_values'], queue, tensors);
  const take = dequeue(site, ['take_step_values'], queue);
  return { give, take, queue, values: new Map(tensors.map((tensor, i) => [tensor, take.output(i)])) };
}

/** Values of the step that the background takes, in the order of the operations that take them. */
function tensorsOfStep({ members, evaluated, stepValues }: Feeders): readonly Tensor[] {
  const takers = [...members, ...evaluated].sort((a, b) => a.id - b.id);
  const tensors = takers.flatMap(({ inputs }) => inputs.filter((tensor) => stepValues.has(tensor.operation)));
  return [...new Set(tensors)];
}

/** Refuses a run in the background that would need a step of its own. */
export function checkSeparate(graph: Graph, background: Operation, group: RoundGroup): void {
  const roots = new Set(rootsOf(group));
  for (const operation of ancestors(graph, [background], { control: true })) {
    const isOwn = operation.origin !== undefined && OWN_PASSES.has(operation.origin.pass);
    if (!roots.has(operation) && (isOwn || !isInputSource(operation.type))) continue;
    throw new GradsyncError('UNIMPLEMENTED', `Operation "${operation.name}"`, {
      expected: 'updates that can run in the background, beside the steps',
      received: 'one that waits for this operation of a step',
      remedy: 'take the control dependency out of the program, or set "staleness" to 0',
      operation: operation.name,
    });
  }
}

const OWN_PASSES = new Set(['parameter-server', 'finish']);
