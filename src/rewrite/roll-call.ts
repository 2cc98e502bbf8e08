/**
 * Roll call, on TensorFlow: before each step every task tells the chief whether it has data for it, and the chief tells all how many have. It is
 * a run of its own: so a step begins only when it is known who takes part. Tasks that never wait for each other only leave word that they
 * have ended.
 */
import { attr, attributes } from '../graph/attributes.js';
import type { DType } from '../graph/dtype.js';
import type { Graph } from '../graph/graph.js';
import type { Operation, Tensor } from '../graph/operation.js';
import { replicasOf } from './devices.js';
import { cast, constant, identity, newName, operation, type Site } from './make.js';
import type { Draft, RewriteContext } from './pass.js';
import type { Plan, RollCall } from './plan.js';
import { dequeue, enqueue, enqueueMany, fifoQueue } from './queues.js';
import { ENDED_QUEUE_NAME, rollQueueName } from './shared-objects.js';

/** The operations of a task's roll call. */
export interface Roll {
  readonly hasData: Tensor;
  /** How many tasks have data, and how many replicas these have; int32 scalars. Who never waits for others asks for no replicas. */
  readonly tasks: Tensor;
  readonly replicas?: Tensor;
  /** Operations that take a queue of the task's own, and that queue's name for a task. */
  readonly own: readonly (readonly [taker: Operation, nameFor: (task: number) => string])[];
}

/** The file that holds what a task without data runs. */
export const WITHOUT_DATA_FILE = 'without_data.pb';

/** `meets`: whether tasks wait for each other in their steps. Undefined where nobody calls the roll. */
export function callRoll({ graph }: Draft, context: RewriteContext, meets: boolean): Roll | undefined {
  if (context.rollCall === undefined) return undefined;
  const site = { graph, device: context.devices.cpu, pass: 'roll-call', source: '' };
  const hasData = operation(site, newName(site, 'has_data'), {
    type: 'Placeholder',
    attributes: attributes({ dtype: attr.type('bool'), shape: attr.shape([]) }),
  }).output();
  const chief = { ...site, device: context.devices.chiefCpu };
  const calls = meets ? (context.isChief ? askAll : answer) : leaveWord;
  return calls({ own: site, chief }, context, hasData);
}

/** Makes a worker's roll call that of the worker. */
export function ownRoll(graph: Graph, { own }: Roll, task: number): void {
  for (const [taker, nameFor] of own) {
    graph.setAttributes(taker.inputs[0]!.operation, { shared_name: attr.string(nameFor(task)) });
  }
}

export function planRollCall(
  { rollCall }: RewriteContext,
  roll: Roll | undefined,
  withoutData: Plan['withoutData'],
): Pick<Plan, 'rollCall'> {
  if (roll === undefined || rollCall === undefined) return {};
  const { hasData, tasks, replicas } = roll;
  const planned: RollCall = {
    uneven: rollCall,
    hasData: hasData.name,
    tasks: tasks.name,
    replicas: replicas?.name ?? null,
    ...(withoutData === undefined ? {} : { withoutData: WITHOUT_DATA_FILE }),
  };
  return { rollCall: planned };
}

type Types = Parameters<typeof attributes>[0];

/** What a queue's elements hold. */
const ANSWER: readonly DType[] = ['bool'];
const RESULT: readonly DType[] = ['int32', 'int32'];

interface Sites {
  readonly own: Site;
  readonly chief: Site;
}

const answers = (task: number): string => rollQueueName('answer', task);
const results = (task: number): string => rollQueueName('result', task);

/** The chief's: it asks the others, adds up, and tells them before it goes on itself. */
function askAll({ own: site }: Sites, context: RewriteContext, hasData: Tensor): Roll {
  const workers = Array.from({ length: context.taskCount - 1 }, (_, i) => i + 1);
  const given = workers.map((worker) =>
    dequeue(site, ['take_roll'], queue(site, context, answers(worker), ANSWER)).output(),
  );
  const int32 = attr.type('int32');
  const make = (name: string, type: string, inputs: readonly Tensor[], types: Types): Tensor =>
    operation(site, newName(site, name), { type, inputs, attributes: attributes(types) }).output();
  const all = make('answers', 'Pack', [hasData, ...given], {
    N: attr.int(context.taskCount),
    T: attr.type('bool'),
    axis: attr.int(0),
  });
  const present = cast(site, newName(site, 'present'), all, 'bool', 'int32');
  const counts = replicaCounts(context);
  const replicas = constant(site, newName(site, 'replicas_of_tasks'), 'int32', counts, [counts.length]);
  const presentReplicas = make('present_replicas', 'Mul', [present, replicas], { T: int32 });
  const axis = constant(site, newName(site, 'axis_of_tasks'), 'int32', [0]);
  const sums = [present, presentReplicas].map((each) =>
    make('sum_of_tasks', 'Sum', [each, axis], { T: int32, Tidx: int32, keep_dims: attr.bool(false) }),
  );
  const told = workers.map((worker) =>
    enqueue(site, ['tell_result', String(worker)], queue(site, context, results(worker), RESULT), sums),
  );
  const [tasks, replicasWithData] = ['tasks_with_data', 'replicas_with_data'].map((name, i) => {
    const result = identity(site, newName(site, name), sums[i]!, 'int32');
    for (const each of told) site.graph.addControlInput(result.operation, each);
    return result;
  });
  return { hasData, tasks: tasks!, replicas: replicasWithData!, own: [] };
}

function replicaCounts({ strategy, taskCount }: RewriteContext): readonly number[] {
  return Array.from({ length: taskCount }, (_, task) => replicasOf(strategy, task).length);
}

/** A worker's; its queues are nobody's until `ownRoll` says whose. */
function answer({ chief }: Sites, context: RewriteContext, hasData: Tensor): Roll {
  const give = enqueue(chief, ['tell_answer'], queue(chief, context, '', ANSWER), [hasData]);
  const take = dequeue(chief, ['take_roll'], queue(chief, context, '', RESULT), [give]);
  const own = [[give, answers] as const, [take, results] as const];
  return { hasData, tasks: take.output(0), replicas: take.output(1), own };
}

/** A queue on the chief that has one element for each task that has ended: a task that has puts one there, one that has not puts none. */
function leaveWord({ own: site, chief }: Sites, context: RewriteContext, hasData: Tensor): Roll {
  const int32 = attr.type('int32');
  const make = (at: Site, name: string, type: string, inputs: readonly Tensor[], types: Types): Tensor =>
    operation(at, newName(at, name), { type, inputs, attributes: attributes(types) }).output();
  const not = make(site, 'has_ended', 'LogicalNot', [hasData], {});
  const count = cast(site, newName(site, 'ended'), not, 'bool', 'int32');
  const vector = constant(site, newName(site, 'ended_vector'), 'int32', [1], [1]);
  const dims = make(site, 'ended_shape', 'Reshape', [count, vector], { T: int32, Tshape: int32 });
  const token = constant(site, newName(site, 'ended_token'), 'int32', [0]);
  const tokens = make(site, 'ended_tokens', 'Fill', [dims, token], { T: int32, index_type: int32 });
  const ended = queue(chief, context, ENDED_QUEUE_NAME, ['int32'], context.taskCount);
  const tell = enqueueMany(chief, ['tell_ended'], ended, tokens);
  const size = operation(chief, newName(chief, 'ended_tasks'), {
    type: 'QueueSizeV2',
    inputs: [ended],
    after: [tell],
  }).output();
  const all = constant(chief, newName(chief, 'all_tasks'), 'int32', [context.taskCount]);
  const tasks = make(chief, 'tasks_with_data', 'Sub', [all, size], { T: int32 });
  return { hasData, tasks, own: [] };
}

function queue(
  site: Site,
  { digest }: RewriteContext,
  sharedName: string,
  types: readonly DType[],
  capacity = 1,
): Tensor {
  const spec = { types, ofScalars: true, capacity, container: digest, sharedName };
  return fifoQueue(site, ['roll_queue'], spec);
}
