/** Compressed gradients, embedded: how far they lead astray, that error feedback leads back, and that it does not matter what travels together. */
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { openSession } from '../../src/engine.js';
import { openEmbeddedSession, type Session } from '../../src/runtime/index.js';
import { rewriteFixture, trainSteps } from '../helpers/embedded.js';
import { fixtureNamed, graphPath } from '../helpers/fixtures.js';
import { FLOAT32_EPSILON } from '../helpers/tolerance.js';

const fixture = fixtureNamed('steady-sgd.resource');
const RATE = 0.5;
const START = 0.5;
/** Whatever the variables are, this is the gradient of every element of the kernel. */
const GRADIENT = Math.fround(1 / 3);
/** Distance of float16 between 1/4 and 1/2. */
const UNIT = 2 ** -12;

async function open(compressor: string): Promise<Session> {
  const session = await openSession({
    graph: graphPath(fixture),
    resources: { nodes: [{ address: '127.0.0.1', port: 15_000, tasks: 2 }] },
    strategy: JSON.stringify({ builder: 'all-reduce', compressor }),
    deadlineMs: 60_000,
  });
  await session.initialize();
  return session;
}

async function train(session: Session, steps: number): Promise<void> {
  const feeds = {
    'x:0': { dtype: 'float32', shape: [1, 4], data: new Float32Array(4).fill(GRADIENT) },
    'ids:0': { dtype: 'int32', shape: [1], data: Int32Array.of(0) },
  } as const;
  for (let step = 0; step < steps; step++) {
    await session.run([0, 1].map(() => ({ feeds, fetches: [fixture.trainOp] })));
  }
}

/** The kernel, whose elements are all the same, on both tasks. */
async function kernelOf(session: Session): Promise<number> {
  const [one, two] = await Promise.all(
    [0, 1].map(async (task) => (await session.readVariables(task)).get('kernel')!),
  );
  if (String(one!.data) !== String(two!.data)) throw new Error('the tasks differ');
  return Number(one!.data[0]);
}

async function trained(compressor: string, steps: number): Promise<number> {
  const session = await open(compressor);
  try {
    await train(session, steps);
    return await kernelOf(session);
  } finally {
    await session.close();
  }
}

const STEPS = 20;
/** Rounding of the variable and of the update in float32, step by step. */
const ROUNDING = STEPS * FLOAT32_EPSILON * Math.abs(START - STEPS * RATE * GRADIENT);
const EXACT = START - STEPS * RATE * GRADIENT;

test.serial('float16 and bfloat16 lose as much in every step as the type is coarse', async (t) => {
  const half = Math.round(GRADIENT / UNIT) * UNIT;
  const brain = Math.round(GRADIENT / 2 ** -9) * 2 ** -9;
  for (const [compressor, sent] of [
    ['float16', half],
    ['bfloat16', brain],
  ] as const) {
    const expected = START - STEPS * RATE * sent;
    const kernel = await trained(compressor, STEPS);
    t.true(Math.abs(kernel - expected) <= ROUNDING, `${compressor}: ${kernel}, not ${expected}`);
    t.true(Math.abs(kernel - EXACT) > 10 * ROUNDING, `${compressor}: ${kernel} is too good`);
  }
});

test.serial('with error feedback no more is missing than one step loses', async (t) => {
  const kernel = await trained('float16-error-feedback', STEPS);
  t.true(Math.abs(kernel - EXACT) <= (RATE * UNIT) / 2 + ROUNDING, `${kernel}, not ${EXACT}`);
});

test.serial('what is missing is saved, and training goes on to the same bits', async (t) => {
  const path = join(await mkdtemp(join(tmpdir(), 'gradsync-')), 'checkpoint.safetensors');
  const whole = await open('float16-error-feedback');
  await train(whole, 3);
  await whole.save(path);
  const residual = (await whole.readVariables(1)).get('gradsync/kernel/residual')!;
  t.true(Number(residual.data[0]) !== 0);
  await train(whole, 4);
  const end = [await whole.readVariables(0), await whole.readVariables(1)];
  await whole.close();
  const resumed = await open('float16-error-feedback');
  await resumed.restore(path);
  await train(resumed, 4);
  t.deepEqual([await resumed.readVariables(0), await resumed.readVariables(1)], end);
  await resumed.close();
});

/** Every variable of every task after two steps, what compression keeps included. */
async function trainedInGroups(compressor: string, group: number): Promise<readonly unknown[]> {
  const images = fixtureNamed('mnist-cnn.resource');
  const strategy = JSON.stringify({ builder: 'all-reduce', compressor, group });
  const session = await openEmbeddedSession({
    tasks: rewriteFixture(images, 3, strategy),
    deadlineMs: 60_000,
  });
  try {
    await session.initialize();
    await trainSteps(session, images, 0, 2);
    return await Promise.all([0, 1, 2].map((task) => session.readVariables(task)));
  } finally {
    await session.close();
  }
}

for (const compressor of ['none', 'float16-error-feedback']) {
  test.serial(
    `${compressor}: gradients that travel together come to the bits of those that travel alone`,
    async (t) => {
      t.deepEqual(await trainedInGroups(compressor, 4), await trainedInGroups(compressor, 1));
    },
  );
}
