/** Failures of real task threads: each ends the session with one error naming task, step and operation, nothing hangs, the next session works. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Worker } from 'node:worker_threads';
import test from 'ava';
import { GradsyncError } from '../../src/errors.js';
import { attr, attributes } from '../../src/graph/attributes.js';
import type { Graph } from '../../src/graph/graph.js';
import { EmbeddedExecutor } from '../../src/runtime/embedded/executor.js';
import type { FromTask, ToTask } from '../../src/runtime/embedded/messages.js';
import { openEmbeddedSession } from '../../src/runtime/index.js';
import { Session } from '../../src/runtime/session.js';
import { handBuiltTasks, trainRequests } from '../helpers/hand-built.js';
import { projectPath } from '../helpers/paths.js';
import { PATIENT_MS, PROCESS_MS } from '../helpers/patience.js';
import { runProgram } from '../helpers/processes.js';

const GRADIENTS = [
  [1, 1],
  [1, 1],
  [1, 1],
];

test.serial('a missing worker: the deadline error names it, and where everyone is', async (t) => {
  const session = await openEmbeddedSession({ tasks: handBuiltTasks(3), deadlineMs: 300 });
  await session.initialize();
  const [chief, one] = trainRequests(GRADIENTS);
  const runs = [session.runTask(0, chief!), session.runTask(1, one!)];
  const [first, second] = await Promise.allSettled(runs);
  const { reason } = first as PromiseRejectedResult;
  t.true(reason instanceof GradsyncError);
  t.is(reason.code, 'DEADLINE_EXCEEDED');
  t.false(/accumulator\||queue\|/.test(reason.message), 'keys of resources are no names');
  t.regex(reason.message, /missing: .*task 2 \(has begun no step\)/);
  t.regex(reason.message, /^Task [01], step 1, operation "(mean|Dequeue_1)"/);
  t.is((second as PromiseRejectedResult).reason, reason);
  const later = {
    code: 'FAILED_PRECONDITION',
    message: /ended because of DEADLINE_EXCEEDED: .*open another/,
  };
  t.is((await t.throwsAsync(session.runTask(2, chief!), later))?.cause, reason);
  await session.close();
  t.is((await t.throwsAsync(session.save('never-written'), later))?.cause, reason);
});

test.serial(
  'a kernel that throws ends the session: task, step and operation are named, the others are let go',
  async (t) => {
    const session = await openEmbeddedSession({
      tasks: handBuiltTasks(2, { edit: (graph, task) => addAssertion(graph, task === 1) }),
      deadlineMs: PATIENT_MS,
    });
    await session.initialize();
    await session.run(trainRequests(GRADIENTS.slice(0, 2)));
    const requests = trainRequests(GRADIENTS.slice(0, 2), ['assert', 'train_op']);
    const error = await t.throwsAsync(session.run(requests), { instanceOf: GradsyncError });
    t.is(error?.code, 'INVALID_ARGUMENT');
    t.regex(error?.message ?? '', /^Task 1, step 2, operation "assert" \(Assert\): /);
    t.is(error?.details.task, 1);
    t.is(error?.details.step, 2);
    t.is(error?.details.operation, 'assert');
    t.is((await t.throwsAsync(session.run(requests), { code: 'FAILED_PRECONDITION' }))?.cause, error);
    await session.close();
  },
);

test.serial(
  'what fails between steps is no step: an evaluation after the first one, an initializer before it',
  async (t) => {
    const edit = (graph: Graph) => addAssertion(graph, true);
    const session = await openEmbeddedSession({ tasks: handBuiltTasks(1, { edit }) });
    await session.initialize();
    await session.run(trainRequests([[1, 1]]));
    const evaluation = session.runTask(0, { feeds: {}, fetches: ['assert'] });
    await t.throwsAsync(evaluation, { message: /^Task 0, after step 1, operation "assert" \(Assert\): / });
    await session.close();
    const failing = await openEmbeddedSession({
      tasks: handBuiltTasks(1, { edit, plan: { initializers: ['assert'] } }),
    });
    await t.throwsAsync(failing.initialize(), {
      message: /^Task 0, before the first step, operation "assert" \(Assert\): /,
    });
    await failing.close();
  },
);

function addAssertion(graph: Graph, fails: boolean): void {
  const value = { dtype: 'bool', shape: [], bytes: Uint8Array.of(fails ? 0 : 1) } as const;
  const condition = graph.add({
    type: 'Const',
    name: 'condition',
    attributes: attributes({ dtype: attr.type('bool'), value: attr.tensor(value) }),
  });
  graph.add({
    type: 'Assert',
    name: 'assert',
    inputs: [condition.output(), condition.output()],
    attributes: attributes({ T: attr.list([attr.type('bool')]) }),
  });
}

test.serial('a thread that dies ends the session: its task, step and operation are named', async (t) => {
  const tasks = handBuiltTasks(2);
  const executor = await EmbeddedExecutor.open({ graphs: tasks.map((task) => task.graph) });
  const session = new Session(
    executor,
    tasks.map((task) => task.plan),
  );
  await session.initialize();
  const [, other] = trainRequests(GRADIENTS.slice(0, 2));
  // Task 1 waits for its token, which never comes: the chief does not run.
  const run = session.runTask(1, other!);
  await hasGiven(executor.workers[1]!);
  await executor.workers[1]!.terminate();
  const error = await t.throwsAsync(run, { instanceOf: GradsyncError });
  t.is(error?.code, 'ABORTED');
  t.regex(
    error?.message ?? '',
    /^Task 1, step 1, operation "Dequeue_1" \(QueueDequeueV2\): .*ended by itself/,
  );
  await session.close();
});

/** Resolves when a task has given its gradient and runs nothing any more, but waits: only then does its thread answer. */
async function hasGiven(worker: Worker): Promise<void> {
  const question = { kind: 'arrivals', call: -1, key: '' } satisfies ToTask;
  for (let gifts = 0; gifts === 0; ) {
    worker.postMessage(question);
    const [answer] = (await once(worker, 'message')) as [FromTask];
    if (answer.kind === 'arrivals') gifts = answer.gifts;
  }
}

test.serial('an abort ends the session with the reason', async (t) => {
  const controller = new AbortController();
  const session = await openEmbeddedSession({ tasks: handBuiltTasks(2), signal: controller.signal });
  await session.initialize();
  const run = session.runTask(0, trainRequests(GRADIENTS)[0]!);
  setTimeout(() => controller.abort(new Error('enough')), 50);
  const error = await t.throwsAsync(run, { instanceOf: GradsyncError });
  t.is(error?.code, 'CANCELLED');
  t.true(error?.message.includes('enough'));
  await session.close();
});

test.serial('a signal that is aborted already opens nothing', async (t) => {
  const opening = openEmbeddedSession({
    tasks: handBuiltTasks(1),
    signal: AbortSignal.abort(new Error('no')),
  });
  const error = await t.throwsAsync(opening, { instanceOf: GradsyncError });
  t.is(error?.code, 'CANCELLED');
});

test.serial('a session after one that failed works', async (t) => {
  const tasks = handBuiltTasks(2);
  const failing = await openEmbeddedSession({ tasks, deadlineMs: 100 });
  await failing.initialize();
  await t.throwsAsync(failing.runTask(0, trainRequests(GRADIENTS)[0]!));
  const session = await openEmbeddedSession({ tasks });
  await session.initialize();
  await session.run(trainRequests(GRADIENTS.slice(0, 2)));
  t.deepEqual([...((await session.readVariables()).get('w')!.data as Float32Array)], [-1, -1]);
  await session.close();
});

test.serial('an interrupt ends the process and all its threads, in the middle of a wait', async (t) => {
  const child = spawn(process.execPath, [projectPath('dist', 'test', 'helpers', 'wait-for-ever.js')], {
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: PROCESS_MS,
    killSignal: 'SIGKILL',
  });
  const exited = once(child, 'exit');
  await Promise.race([once(child.stdout, 'data'), exited]);
  child.kill('SIGINT');
  const [code, signal] = (await exited) as [number | null, string | null];
  t.true(signal === 'SIGINT' || code === 130, `exit ${code}, signal ${signal}`);
});

test.serial('a program that never closes its session ends when its runs have', async (t) => {
  const result = await runProgram(projectPath('dist', 'test', 'helpers', 'never-closes.js'), []);
  t.deepEqual(result, { code: 0, stdout: '3,4', stderr: '' });
});

test.serial(
  'sessions that are closed in the middle of steps leave the process and the next session whole',
  async (t) => {
    const tasks = handBuiltTasks(2);
    for (let round = 0; round < 10; round++) {
      const session = await openEmbeddedSession({ tasks });
      await session.initialize();
      const runs = Array.from({ length: 100 }, () => session.run(trainRequests(GRADIENTS.slice(0, 2))));
      const settled = Promise.allSettled(runs);
      await new Promise((resolve) => setTimeout(resolve, round));
      await session.close();
      for (const run of await settled) {
        if (run.status === 'rejected') t.is((run.reason as GradsyncError).code, 'FAILED_PRECONDITION');
      }
    }
    t.pass();
  },
);
