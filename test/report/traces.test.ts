/** Traces: what is printed of spans, what is summed, and what a session really records. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { tryWriting } from '../../src/engine/writable.js';
import { openSession } from '../../src/index.js';
import { printChromeTrace, summarizeSteps } from '../../src/report/index.js';
import {
  openEmbeddedSession,
  type SpanKind,
  type TaskTrace,
  type TraceSpan,
} from '../../src/runtime/index.js';
import { fixtureNamed, graphPath } from '../helpers/fixtures.js';
import { temporaryFolder } from '../helpers/folder.js';
import { handBuiltTasks, trainRequests } from '../helpers/hand-built.js';

function span(kind: SpanKind, beginMs: number, durationMs: number, type = ''): TraceSpan {
  return { kind, name: type.toLowerCase(), type, beginMs, durationMs };
}

/** Two steps of 10 ms, 12 ms apart, and the beginning of a third. */
const TRACE: TaskTrace = {
  task: 1,
  dropped: 0,
  spans: [
    span('kernel', 1000, 4, 'MatMul'),
    span('copy', 1004, 1, 'ReadVariableOp'),
    span('wait', 1005, 3, 'QueueDequeueV2'),
    span('idle', 1006, 2),
    span('update', 1008, 1, 'ApplyAdam'),
    span('step', 1000, 10),
    span('kernel', 1012, 6, 'MatMul'),
    span('step', 1012, 10),
    span('step', 1024, 10),
  ],
};

interface Event {
  readonly ph: string;
  readonly name: string;
  readonly cat?: string;
  readonly tid: number;
  readonly ts: number;
  readonly dur?: number;
  readonly args?: { readonly operation?: string };
}

const GRADIENTS = [
  [1, 2],
  [3, 4],
];

const eventsOf = (text: string): Event[] => JSON.parse(text).traceEvents;

test('a printed trace has an event per span, in microseconds from the first one', (t) => {
  const events = eventsOf(printChromeTrace([TRACE]));
  const update = events.find(({ name }) => name === 'ApplyAdam');
  t.like(update, { ph: 'X', cat: 'update', tid: 1, ts: 8000, dur: 1000, args: { operation: 'applyadam' } });
  t.is(events.filter(({ ph }) => ph === 'X').length, TRACE.spans.length - 1);
});

test('a wait is printed as an asynchronous event, which may overlap others', (t) => {
  const events = eventsOf(printChromeTrace([TRACE])).filter(({ name }) => name === 'QueueDequeueV2');
  t.deepEqual(
    events.map(({ ph, ts }) => [ph, ts]),
    [
      ['b', 5000],
      ['e', 8000],
    ],
  );
});

test('the times of a step are sums over whole steps; what no span covers is overhead', (t) => {
  const [times] = summarizeSteps([TRACE]);
  t.deepEqual(times, {
    task: 1,
    steps: 2,
    period: 12,
    kernel: 5,
    copy: 0.5,
    update: 0.5,
    idle: 1,
    overhead: 5,
  });
});

test('an empty trace has no steps and prints', (t) => {
  const [times] = summarizeSteps([{ task: 0, spans: [], dropped: 0 }]);
  t.deepEqual([times?.steps, times?.period], [0, 0]);
  t.is(eventsOf(printChromeTrace([{ task: 0, spans: [], dropped: 0 }])).length, 1);
});

test('a session gives the spans of all tasks when it has ended, none of them outside its step', async (t) => {
  let given: readonly TaskTrace[] = [];
  const session = await openEmbeddedSession({
    tasks: handBuiltTasks(2),
    onTrace: (tasks) => (given = tasks),
  });
  await session.initialize();
  for (let step = 0; step < 3; step++) await session.run(trainRequests(GRADIENTS));
  t.is(given.length, 0);
  await session.close();
  t.deepEqual(
    given.map(({ task }) => task),
    [0, 1],
  );
  for (const { spans } of given) {
    t.is(spans.filter(({ kind }) => kind === 'step').length, 3);
    const steps = spans.filter(({ kind }) => kind === 'step' || kind === 'run');
    t.true(steps.length > 3, 'initializers are no steps');
    for (const { kind, beginMs, durationMs } of spans) {
      const slack = 0.01;
      const within = steps.some(
        (step) =>
          beginMs >= step.beginMs - slack && beginMs + durationMs <= step.beginMs + step.durationMs + slack,
      );
      t.true(within, kind);
    }
  }
  const types = new Set(given.flatMap(({ spans }) => spans.map(({ type }) => type)));
  for (const type of ['QueueDequeueV2', 'ResourceAccumulatorTakeGradient']) t.true(types.has(type), type);
});

test('the option trace of a session writes a file when it is closed, and touches none before', async (t) => {
  const folder = temporaryFolder(t);
  const trace = join(folder, 'trace.json');
  const resources = { nodes: [{ address: 'localhost', tasks: 2 }] };
  const graph = graphPath(fixtureNamed('linear-regression.resource'));
  const session = await openSession({ graph, resources, strategy: 'ps', trace });
  await session.initialize();
  t.false(existsSync(trace), 'a session that is killed leaves no empty file');
  await session.close();
  const events = eventsOf(readFileSync(trace, 'utf8'));
  t.deepEqual(new Set(events.map(({ tid }) => tid)), new Set([0, 1]));
  t.true(events.some(({ cat }) => cat === 'run'));
});

test('a file is found to be writable, or not, without a trace of it', (t) => {
  const folder = temporaryFolder(t);
  const [kept, none] = [join(folder, 'kept.json'), join(folder, 'none.json')];
  writeFileSync(kept, 'of before');
  tryWriting(kept);
  tryWriting(none);
  t.is(readFileSync(kept, 'utf8'), 'of before');
  t.deepEqual(readdirSync(folder), ['kept.json']);
  t.throws(() => tryWriting(folder), { code: 'EISDIR' });
  t.throws(() => tryWriting(join(kept, 'below')), { code: 'ENOTDIR' });
});

test('a trace that cannot be written is refused before anything runs', async (t) => {
  const resources = { nodes: [{ address: 'localhost' }] };
  const options = { graph: graphPath(fixtureNamed('linear-regression.resource')), resources, strategy: 'ps' };
  const trace = join(tmpdir(), 'gradsync-no-such-folder', 'trace.json');
  await t.throwsAsync(openSession({ ...options, trace }), {
    code: 'NOT_FOUND',
    message: /Writing the trace/,
  });
});
