/** What a program without types may pass in: every mistake is a typed error before the step, and the session goes on. */
import test from 'ava';
import { type ErrorCode, GradsyncError } from '../../src/errors.js';
import { attr, attributes } from '../../src/graph/attributes.js';
import type { Graph } from '../../src/graph/graph.js';
import { openEmbeddedSession, type RunRequest, type Session } from '../../src/runtime/index.js';
import { handBuiltTasks, trainRequests, vector } from '../helpers/hand-built.js';

const ok = { dtype: 'float32', shape: [2], data: Float32Array.of(1, 1) };
const feeding = (feeds: unknown, fetches: unknown = ['loss:0']) => [{ feeds, fetches }];
const fed = (feed: unknown) => feeding({ 'x:0': feed });

const RUNS: readonly [title: string, requests: unknown, code: ErrorCode, ...parts: string[]][] = [
  ['no requests', undefined, 'INVALID_ARGUMENT', 'an array of 1', 'undefined'],
  ['requests that are undefined', [undefined], 'INVALID_ARGUMENT', 'Request of task 0', 'undefined'],
  ['a text for requests', 'a', 'INVALID_ARGUMENT', '"a"'],
  ['no feeds', [{ fetches: [] }], 'INVALID_ARGUMENT', '"feeds"', 'undefined'],
  ['feeds that are null', feeding(null), 'INVALID_ARGUMENT', '"feeds"', 'null'],
  ['feeds in an array', feeding([]), 'INVALID_ARGUMENT', '"feeds"', 'an array of 0'],
  ['no fetches', [{ feeds: {} }], 'INVALID_ARGUMENT', '"fetches"', 'an array of texts'],
  [
    'a field that no request has',
    [{ feeds: {}, fetches: [], targets: ['train_op'] }],
    'INVALID_ARGUMENT',
    'only feeds, fetches',
    'also "targets"',
  ],
  ['a text for fetches', feeding({}, 'loss:0'), 'INVALID_ARGUMENT', '"fetches"', '"loss:0"'],
  ['a number among fetches', feeding({}, [5]), 'INVALID_ARGUMENT', '"fetches"'],
  ['a feed that is null', fed(null), 'INVALID_ARGUMENT', 'Feed "x:0"', 'null', '{ dtype, shape, data }'],
  ['a feed that is a text', fed('bogus'), 'INVALID_ARGUMENT', 'Feed "x:0"', 'received "bogus"'],
  ['a bare array', fed(ok.data), 'INVALID_ARGUMENT', 'Feed "x:0"', 'Float32Array of 2'],
  ['a feed without data', fed({ ...ok, data: undefined }), 'INVALID_ARGUMENT', '"data"', 'typed array'],
  ['a feed without shape', fed({ ...ok, shape: undefined }), 'INVALID_ARGUMENT', '"shape"', 'undefined'],
  ['a text for shape', fed({ ...ok, shape: '2' }), 'INVALID_ARGUMENT', '"shape"', '"2"'],
  [
    'a dtype that is none',
    fed({ ...ok, dtype: 'float' }),
    'INVALID_ARGUMENT',
    '"dtype"',
    '"float"',
    'float32',
  ],
  ['an output that is not there', feeding({ 'x:0': ok }, ['loss:5']), 'NOT_FOUND', '"loss:5"', '0 to 0'],
  ['the output of an operation without', feeding({ 'x:0': ok }, ['train_op:0']), 'NOT_FOUND', '"train_op"'],
  ['a feed of an output that is not there', feeding({ 'x:0': ok, 'loss:5': ok }), 'NOT_FOUND', '"loss:5"'],
  ['a feed under two names', feeding({ x: ok, 'x:0': ok }), 'INVALID_ARGUMENT', '"x:0"', 'under "x"'],
  [
    'a feed of another dtype than the operation makes',
    feeding({ 'loss:0': { dtype: 'int32', shape: [2], data: new Int32Array(2) } }),
    'INVALID_ARGUMENT',
    'Feed "loss:0"',
    'float32',
    'int32',
  ],
  [
    'a feed of another shape than the variable has',
    feeding({ 'w/read:0': { ...vector(1, 2, 3) } }, ['w/read:0']),
    'INVALID_ARGUMENT',
    'Feed "w/read:0"',
    '[2]',
    '[3]',
  ],
  ['a feed of a handle', feeding({ 'w:0': ok }, ['w/read:0']), 'INVALID_ARGUMENT', '"w:0"', 'resource'],
];

test('every mistake in a request is a typed error, and the session goes on', async (t) => {
  const session = await openEmbeddedSession({ tasks: handBuiltTasks(1) });
  t.teardown(() => session.close());
  await session.initialize();
  for (const [title, requests, code, ...parts] of RUNS) {
    const error = await t.throwsAsync(session.run(requests as RunRequest[]), undefined, title);
    t.true(error instanceof GradsyncError, `${title}: ${error?.stack}`);
    t.is((error as GradsyncError).code, code, `${title}: ${error?.message}`);
    for (const part of parts) t.true(error?.message.includes(part), `${title}: ${part}: ${error?.message}`);
  }
  const none = session as unknown as { runTask(): Promise<unknown>; save(): Promise<void> };
  await t.throwsAsync(none.runTask(), { code: 'INVALID_ARGUMENT' });
  await t.throwsAsync(none.save(), { code: 'INVALID_ARGUMENT' });
  const handedOver = { ...ok, data: Float32Array.of(1, 1) };
  structuredClone(handedOver.data, { transfer: [handedOver.data.buffer] });
  const gone = { code: 'INVALID_ARGUMENT', message: /Feed "x:0": .*handed over/ };
  await t.throwsAsync(session.run(fed(handedOver) as RunRequest[]), gone);
  for (const task of ['0', 'length', 0.5]) {
    const none = { code: 'INVALID_ARGUMENT', message: /Task: expected a number from 0 to 0/ };
    await t.throwsAsync(session.runTask(task as number, trainRequests([[1, 1]])[0]!), none);
  }
  const misspelled = { fromat: 'tensorflow' } as object;
  const unknown = { code: 'INVALID_ARGUMENT', message: /only format but received also "fromat"/ };
  await t.throwsAsync(session.save('never-written', misspelled), unknown);
  await t.throwsAsync(session.restore('never-written', misspelled), unknown);
  t.deepEqual(await session.run(trainRequests([[1, 1]], ['loss:0'])), [{ 'loss:0': vector(1, 1) }]);
});

test('an operation that computes with a handle is refused, and the session goes on', async (t) => {
  const edit = (graph: Graph) => {
    const inputs = [graph.get('w').output()];
    graph.add({
      name: 'square',
      type: 'Square',
      inputs,
      attributes: attributes({ T: attr.type('float32') }),
    });
  };
  const session = await openEmbeddedSession({ tasks: handBuiltTasks(1, { edit }) });
  t.teardown(() => session.close());
  await t.throwsAsync(session.runTask(0, { feeds: {}, fetches: ['square:0'] }), {
    code: 'INVALID_ARGUMENT',
    message: /^Operation "square" \(Square\): expected tensors with values but received "w:0", a handle/,
  });
  await session.initialize();
  await session.run(trainRequests([[1, 1]]));
});

test('a tensor that is no placeholder can be fed', async (t) => {
  const session: Session = await openEmbeddedSession({ tasks: handBuiltTasks(1) });
  t.teardown(() => session.close());
  const [result] = await session.run([{ feeds: { loss: vector(7, 8) }, fetches: ['loss:0'] }]);
  t.deepEqual(result, { 'loss:0': vector(7, 8) });
});

test('a plan that names what its graph has not is refused at open', async (t) => {
  const rounds = [{ applied: 'w', steps: 'nothing', lag: 'loss:0', trains: ['train_op'], anew: [] }];
  const plans = [
    { rounds },
    { partitions: { v: { axis: 0, shards: ['w', 'nothing'] } } },
    { partitions: { v: { axis: 1, shards: ['w'] } } },
  ];
  for (const plan of plans) {
    const error = await t.throwsAsync(openEmbeddedSession({ tasks: handBuiltTasks(1, { plan }) }));
    t.true(error instanceof GradsyncError, error?.stack);
    t.regex(error?.message ?? '', /^Plan.*graph and plan of one rewriting$/);
  }
});

test('tasks without graph and plan are refused at open', async (t) => {
  for (const options of [undefined, {}, { tasks: 3 }, { tasks: [null] }, { tasks: [{}] }]) {
    const opening = openEmbeddedSession(options as Parameters<typeof openEmbeddedSession>[0]);
    await t.throwsAsync(opening, { instanceOf: GradsyncError, code: 'INVALID_ARGUMENT' });
  }
});

for (const deadlineMs of [-1, 0, Number.NaN, 'x']) {
  test(`a deadline of ${deadlineMs} is refused at open`, async (t) => {
    const options = { tasks: handBuiltTasks(1), deadlineMs: deadlineMs as number };
    const error = { code: 'INVALID_ARGUMENT', message: /"deadlineMs": expected a positive number/ };
    await t.throwsAsync(openEmbeddedSession(options), error);
  });
}
