/** Sessions on real task threads and the native addon, with graphs small enough to know every number. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { type ErrorCode, GradsyncError } from '../../src/errors.js';
import { attr, attributes } from '../../src/graph/attributes.js';
import type { Graph } from '../../src/graph/graph.js';
import { openEmbeddedSession, type Session } from '../../src/runtime/index.js';
import { temporaryFolder } from '../helpers/folder.js';
import { handBuiltTasks, trainRequests, vector } from '../helpers/hand-built.js';
import { PATIENT_MS } from '../helpers/patience.js';

async function withSession<T>(tasks: number, use: (session: Session) => Promise<T>): Promise<T> {
  const session = await openEmbeddedSession({ tasks: handBuiltTasks(tasks), deadlineMs: PATIENT_MS });
  try {
    await session.initialize();
    return await use(session);
  } finally {
    await session.close();
  }
}

async function throwsCode(
  t: ExecutionContext,
  promise: Promise<unknown>,
  code: ErrorCode,
  ...parts: readonly string[]
): Promise<GradsyncError | undefined> {
  const error = await t.throwsAsync(promise, { instanceOf: GradsyncError });
  t.is(error?.code, code, error?.message ?? '');
  for (const part of parts) t.true(error?.message.includes(part), `"${part}" is not in: ${error?.message}`);
  return error;
}

async function weights(session: Session): Promise<number[]> {
  const variables = await session.readVariables();
  return [...(variables.get('w')!.data as Float32Array)];
}

for (const tasks of [1, 2, 3]) {
  test.serial(`${tasks} tasks: every step subtracts the mean of all gradients`, async (t) => {
    await withSession(tasks, async (session) => {
      const gradients = Array.from({ length: tasks }, (_, task) => [task + 1, 10 * (task + 1)]);
      const mean = (tasks + 1) / 2;
      for (let step = 1; step <= 3; step++) {
        await session.run(trainRequests(gradients));
        t.deepEqual(await weights(session), [-mean * step, -10 * mean * step]);
      }
    });
  });
}

test.serial('steps asked for without waiting run in order', async (t) => {
  await withSession(2, async (session) => {
    const steps = [1, 2, 3, 4].map((g) =>
      session.run(
        trainRequests(
          [
            [g, g],
            [g, g],
          ],
          ['w/read:0', 'train_op'],
        ),
      ),
    );
    const results = await Promise.all(steps);
    t.deepEqual(
      results.map(([chief]) => (chief!['w/read:0']!.data as Float32Array)[0]),
      [-0, -1, -3, -6].map((w) => w + 0),
    );
  });
});

test.serial('a read that nothing orders sees the value before the step, on every task', async (t) => {
  await withSession(3, async (session) => {
    for (let step = 0; step < 10; step++) {
      const results = await session.run(
        trainRequests(
          [
            [1, 1],
            [1, 1],
            [1, 1],
          ],
          ['train_op', 'w/read:0'],
        ),
      );
      for (const result of results) t.is((result['w/read:0']!.data as Float32Array)[0]! + 0, -step + 0);
    }
  });
});

test.serial('a fetch gives the value, its dtype and its shape; operations give nothing', async (t) => {
  await withSession(1, async (session) => {
    const [result] = await session.run([{ feeds: { 'x:0': vector(3, 4) }, fetches: ['loss:0', 'loss'] }]);
    t.deepEqual(result, { 'loss:0': vector(3, 4) });
  });
});

test.serial('a fed array may be reused at once, and one in shared memory is read where it is', async (t) => {
  await withSession(1, async (session) => {
    const feed = vector(1, 2);
    const shared = { ...vector(0, 0), data: new Float32Array(new SharedArrayBuffer(8)) };
    shared.data.set([5, 6]);
    const first = session.runTask(0, { feeds: { 'x:0': feed }, fetches: ['loss:0'] });
    const second = session.runTask(0, { feeds: { 'x:0': shared }, fetches: ['loss:0'] });
    await new Promise(setImmediate);
    (feed.data as Float32Array).fill(9);
    t.deepEqual((await first)['loss:0'], vector(1, 2));
    t.deepEqual((await second)['loss:0'], vector(5, 6));
  });
});

test.serial('errors of a request come before any task begins, and the session goes on', async (t) => {
  await withSession(2, async (session) => {
    const good = trainRequests([
      [1, 1],
      [1, 1],
    ]);
    const bad = (feed: ReturnType<typeof vector> | undefined, ...fetches: string[]) => [
      good[0]!,
      { feeds: feed === undefined ? {} : { 'x:0': feed }, fetches },
    ];
    await throwsCode(
      t,
      session.run(bad(vector(1, 2, 3), 'train_op')),
      'INVALID_ARGUMENT',
      'x:0',
      'float32 [2]',
      '[3]',
    );
    const ints = { dtype: 'int32', shape: [2], data: new Int32Array(2) } as const;
    await throwsCode(
      t,
      session.run(bad(ints, 'train_op')),
      'INVALID_ARGUMENT',
      'x:0',
      'float32 [2]',
      'int32',
    );
    await throwsCode(
      t,
      session.run(bad(undefined, 'train_op')),
      'INVALID_ARGUMENT',
      'Placeholder "x"',
      'float32 [2]',
    );
    await throwsCode(t, session.run(bad(vector(1, 2), 'nonsense:0')), 'NOT_FOUND', '"nonsense:0"');
    await throwsCode(t, session.run(bad(vector(1, 2), 'nonsense')), 'NOT_FOUND', '"nonsense"');
    await throwsCode(t, session.run(bad(vector(1, 2), 'w:0')), 'INVALID_ARGUMENT', 'w:0', 'handle');
    await throwsCode(t, session.run(good.slice(1)), 'INVALID_ARGUMENT', 'Requests');
    await throwsCode(t, session.runTask(7, good[0]!), 'INVALID_ARGUMENT', '0 to 1', '7');
    await session.run(good);
    t.deepEqual(await weights(session), [-1, -1]);
  });
});

test.serial('what lies behind the take is fetched with the train operation or not at all', async (t) => {
  await withSession(2, async (session) => {
    const [chief, other] = trainRequests([
      [1, 1],
      [3, 3],
    ]);
    await throwsCode(
      t,
      session.run([{ ...chief!, fetches: ['mean:0'] }, other!]),
      'FAILED_PRECONDITION',
      'mean:0',
    );
    await throwsCode(
      t,
      session.runTask(0, { ...chief!, fetches: ['apply'] }),
      'FAILED_PRECONDITION',
      '"apply"',
    );
    const [result] = await session.run([{ ...chief!, fetches: ['mean:0', 'apply', 'train_op'] }, other!]);
    t.deepEqual(result, { 'mean:0': vector(2, 2) });
  });
});

test.serial('reading before initialization is an error that says what to call', async (t) => {
  const session = await openEmbeddedSession({ tasks: handBuiltTasks(1) });
  t.is((await session.readVariables()).size, 0);
  await throwsCode(
    t,
    session.runTask(0, { feeds: {}, fetches: ['w/read:0'] }),
    'FAILED_PRECONDITION',
    '"w"',
    'initialize()',
  );
  await session.close();
});

test.serial('training goes on from a checkpoint to the same bits, in a new session', async (t) => {
  const path = join(temporaryFolder(t), 'c.safetensors');
  const step = (i: number) =>
    trainRequests([
      [0.1 * i, 1 / i],
      [0.7 / i, i],
    ]);
  const uninterrupted = await withSession(2, async (session) => {
    for (let i = 1; i <= 6; i++) {
      await session.run(step(i));
      if (i === 3) await session.save(path);
    }
    return session.readVariables();
  });
  const resumed = await withSession(2, async (session) => {
    await session.restore(path);
    t.is((await session.readVariables(1)).get('count')?.data[0], 3n);
    for (let i = 4; i <= 6; i++) await session.run(step(i));
    return session.readVariables();
  });
  t.deepEqual(resumed, uninterrupted);
});

test.serial('random numbers go on from a checkpoint where they were, seeded or not', async (t) => {
  const path = join(temporaryFolder(t), 'c.safetensors');
  const tasks = handBuiltTasks(2, { edit: addRandom });
  const draw = async (session: Session): Promise<unknown[]> => {
    const request = { feeds: {}, fetches: ['seeded:0', 'unseeded:0'] };
    return [await session.runTask(0, request), await session.runTask(1, request)];
  };
  const first = await openEmbeddedSession({ tasks });
  await first.initialize();
  await draw(first);
  await first.save(path);
  const expected = [await draw(first), await draw(first)];
  await first.close();
  const second = await openEmbeddedSession({ tasks });
  await second.initialize();
  await second.restore(path);
  t.deepEqual([await draw(second), await draw(second)], expected);
  t.notDeepEqual(expected[0], expected[1]);
  await second.close();
});

function addRandom(graph: Graph): void {
  const value = { dtype: 'int32', shape: [1], bytes: Uint8Array.of(3, 0, 0, 0) } as const;
  const shape = graph.add({
    type: 'Const',
    name: 'random_shape',
    attributes: attributes({ dtype: attr.type('int32'), value: attr.tensor(value) }),
  });
  for (const [name, seed] of [
    ['seeded', 7],
    ['unseeded', 0],
  ] as const) {
    const attrs = {
      dtype: attr.type('float32'),
      T: attr.type('int32'),
      seed: attr.int(seed),
      seed2: attr.int(0),
    };
    graph.add({ type: 'RandomUniform', name, inputs: [shape.output()], attributes: attributes(attrs) });
  }
}

test.serial('a checkpoint of another cluster is refused and changes nothing', async (t) => {
  const path = join(temporaryFolder(t), 'c.safetensors');
  await withSession(2, (session) => session.save(path));
  await withSession(1, async (session) => {
    await session.run(trainRequests([[1, 1]]));
    await throwsCode(t, session.restore(path), 'INVALID_ARGUMENT', 'progress of 1 tasks');
    t.deepEqual(await weights(session), [-1, -1]);
  });
});

test.serial('a session without values saves nothing and says so', async (t) => {
  const folder = temporaryFolder(t);
  const session = await openEmbeddedSession({ tasks: handBuiltTasks(1) });
  t.teardown(() => session.close());
  for (const name of ['none.safetensors', 'none.ckpt']) {
    await throwsCode(t, session.save(join(folder, name)), 'FAILED_PRECONDITION', 'initialize()');
  }
  t.deepEqual(await readdir(folder), []);
});

test.serial('two sessions at once do not see each other', async (t) => {
  await withSession(2, (first) =>
    withSession(2, async (second) => {
      await Promise.all([
        first.run(
          trainRequests([
            [1, 1],
            [1, 1],
          ]),
        ),
        second.run(
          trainRequests([
            [5, 5],
            [5, 5],
          ]),
        ),
      ]);
      t.deepEqual(await weights(first), [-1, -1]);
      t.deepEqual(await weights(second), [-5, -5]);
    }),
  );
});

test.serial(
  'closing is repeated without harm, rejects what is pending and refuses what comes later',
  async (t) => {
    const session = await openEmbeddedSession({ tasks: handBuiltTasks(2) });
    await session.initialize();
    const stuck = session.runTask(0, trainRequests([[1, 1]])[0]!);
    const failure = throwsCode(t, stuck, 'FAILED_PRECONDITION', 'closed');
    await new Promise((resolve) => setTimeout(resolve, 50));
    await Promise.all([session.close(), session.close()]);
    await failure;
    await throwsCode(t, session.runTask(0, trainRequests([[1, 1]])[0]!), 'FAILED_PRECONDITION', 'closed');
  },
);

test.serial('a graph with operations nobody knows is refused at open, all of them named', async (t) => {
  const tasks = handBuiltTasks(2, {
    edit: (graph, task) => {
      if (task === 0) return;
      graph.add({ type: 'Mystery', name: 'm', attributes: attributes({ T: attr.type('float32') }) });
      graph.add({ type: 'Arcane', name: 'a' });
    },
  });
  await throwsCode(t, openEmbeddedSession({ tasks }), 'UNIMPLEMENTED', 'Arcane ("a"), Mystery ("m")');
});

test.serial('a graph that is none is refused at open', async (t) => {
  const [task] = handBuiltTasks(1);
  const tasks = [{ ...task!, graph: Uint8Array.of(1, 2, 3) }];
  const error = await t.throwsAsync(openEmbeddedSession({ tasks }), { instanceOf: GradsyncError });
  t.not(error?.code, 'INTERNAL');
});
