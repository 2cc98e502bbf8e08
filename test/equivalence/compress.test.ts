/** Compressed gradients, embedded: how far they lead astray, that error feedback leads back, and that it does not matter what travels together. */
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { openSession } from '../../src/engine.js';
import { elementCount } from '../../src/graph/shape.js';
import { openEmbeddedSession, type Session } from '../../src/runtime/index.js';
import { rewriteFixture, trainSteps } from '../helpers/embedded.js';
import { type FedProgram, fedProgram, openFed, trainFed, unevenValues } from '../helpers/fed-gradients.js';
import { fixtureNamed, graphPath } from '../helpers/fixtures.js';
import { temporaryFolder } from '../helpers/folder.js';
import { PATIENT_MS } from '../helpers/patience.js';
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
    deadlineMs: PATIENT_MS,
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
  const path = join(temporaryFolder(t), 'checkpoint.safetensors');
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
async function trainedInGroups(options: object, group: number): Promise<readonly unknown[]> {
  const images = fixtureNamed('mnist-cnn.resource');
  const strategy = JSON.stringify({ builder: 'all-reduce', ...options, group });
  const session = await openEmbeddedSession({
    tasks: rewriteFixture(images, 3, strategy),
    deadlineMs: PATIENT_MS,
  });
  try {
    await session.initialize();
    await trainSteps(session, images, 0, 2);
    return await Promise.all([0, 1, 2].map((task) => session.readVariables(task)));
  } finally {
    await session.close();
  }
}

for (const options of [
  { compressor: 'none' },
  { compressor: 'float16-error-feedback' },
  { compressor: 'top-k-error-feedback', k: 0.05 },
]) {
  test.serial(
    `${options.compressor}: gradients that travel together come to the bits of those that travel alone`,
    async (t) => {
      t.deepEqual(await trainedInGroups(options, 4), await trainedInGroups(options, 1));
    },
  );
}

/** Of all shapes, down to one element. */
const SHAPES = { kernel: [7, 5], bias: [5], scale: [], shift: [1] } as const;
type Name = keyof typeof SHAPES;
const NAMES = Object.keys(SHAPES) as Name[];
const TASKS = 3;

/** What top-k training comes to, computed one element after the other: the variables, and what each task keeps back. */
class TopKOracle {
  readonly variables: Record<Name, Float32Array>;
  readonly kept: readonly Record<Name, Float32Array>[];
  readonly #k: number;

  constructor(k: number) {
    const zeros = () =>
      Object.fromEntries(NAMES.map((name) => [name, new Float32Array(elementCount(SHAPES[name]))])) as Record<
        Name,
        Float32Array
      >;
    this.#k = k;
    this.variables = zeros();
    this.kept = Array.from({ length: TASKS }, zeros);
  }

  step(gradients: (task: number) => Readonly<Record<string, readonly number[]>>): void {
    for (const name of NAMES) {
      const variable = this.variables[name];
      const sum = new Float32Array(variable.length);
      for (const [task, { [name]: kept }] of this.kept.entries()) {
        for (const [i, gradient] of gradients(task)[name]!.entries()) kept[i]! += gradient;
        const largest = [...kept.keys()].sort((a, b) => Math.abs(kept[b]!) - Math.abs(kept[a]!) || a - b);
        for (const i of largest.slice(0, this.#countOf(kept.length))) {
          sum[i]! += kept[i]!;
          kept[i] = 0;
        }
      }
      for (const i of variable.keys()) variable[i]! -= Math.fround(sum[i]! / TASKS);
    }
  }

  #countOf(size: number): number {
    return this.#k < 1 ? Math.max(1, Math.round(this.#k * size)) : this.#k;
  }
}

const fed = (task: number, step: number) =>
  Object.fromEntries(
    NAMES.map((name, i) => [name, unevenValues(100 * step + 10 * task + i, elementCount(SHAPES[name]))]),
  );

for (const [k, group] of [
  [0.2, 64],
  [5, 1],
  [1000, 64],
] as const) {
  test(`top-k of ${k}: every variable and all that is kept back have the bits of the oracle, step by step`, async (t) => {
    const program = fedProgram(SHAPES, fed, 4);
    const strategy = JSON.stringify({
      builder: 'all-reduce',
      compressor: 'top-k-error-feedback',
      k,
      group,
    });
    const session = await openFed(program, strategy, TASKS);
    t.teardown(() => session.close());
    await session.initialize();
    const oracle = new TopKOracle(k);
    for (let step = 0; step < program.steps; step++) {
      oracle.step((task) => fed(task, step));
      await trainFed(session, program, step, step + 1);
      for (let task = 0; task < TASKS; task++) {
        const values = await session.readVariables(task);
        for (const name of NAMES) {
          t.deepEqual(values.get(name)!.data, oracle.variables[name], `${name} of task ${task}`);
          const kept = values.get(`gradsync/${name}/residual`)?.data;
          if (kept !== undefined) t.deepEqual(kept, oracle.kept[task]![name], `kept of ${name}`);
          // What is sent whole leaves nothing to keep.
          else t.true(oracle.kept[task]![name].every((value) => value === 0));
        }
      }
    }
  });
}

test('what is no number is sent at once, and is not kept back', async (t) => {
  const broken = Float32Array.from([8, 1, Number.NaN, 2]);
  const program = fedProgram(
    { w: [4] },
    (task, step) => ({ w: task === 1 && step === 0 ? [...broken] : [4, 1, 1, 1] }),
    2,
  );
  const session = await openFed(
    program,
    '{"builder": "all-reduce", "compressor": "top-k-error-feedback", "k": 1}',
    2,
  );
  t.teardown(() => session.close());
  await session.initialize();
  await trainFed(session, program, 0, 1);
  const after = async (task: number, name: string) => [
    ...(await session.readVariables(task)).get(name)!.data,
  ];
  t.deepEqual(await after(0, 'w'), [-2, 0, Number.NaN, 0]);
  t.deepEqual(await after(1, 'gradsync/w/residual'), [8, 1, 0, 2]);
  await trainFed(session, program, 1, 2);
  t.deepEqual(await after(0, 'w'), [-2 - (4 + 12) / 2, 0, Number.NaN, 0]);
});

const kept = async (session: Session, task: number, name = 'w'): Promise<readonly number[]> =>
  Array.from((await session.readVariables(task)).get(`gradsync/${name}/residual`)!.data as Float32Array);

async function opened(
  t: ExecutionContext,
  program: FedProgram,
  options: object,
  tasks = 2,
): Promise<Session> {
  const session = await openFed(program, JSON.stringify({ builder: 'all-reduce', ...options }), tasks);
  t.teardown(() => session.close());
  await session.initialize();
  return session;
}

const LARGEST = { compressor: 'top-k-error-feedback', k: 1 };

test('where a checkpoint knows of nothing that was kept back, nothing is: what the program saved, or a session of fewer tasks', async (t) => {
  const folder = temporaryFolder(t);
  const program = fedProgram({ w: [2] }, (task) => ({ w: [8, task + 1] }), 2);
  const plain = await opened(t, program, {});
  await trainFed(plain, program, 0, 1);
  const two = await opened(t, program, LARGEST);
  await trainFed(two, program, 0, 1);
  t.deepEqual(
    [await kept(two, 0), await kept(two, 1)],
    [
      [0, 1],
      [0, 2],
    ],
  );
  await two.save(join(folder, 'two.ckpt'));
  const three = await opened(t, program, LARGEST, 3);
  await trainFed(three, program, 0, 1);
  await three.restore(join(folder, 'two.ckpt'));
  t.deepEqual(
    [await kept(three, 0), await kept(three, 1), await kept(three, 2)],
    [
      [0, 1],
      [0, 2],
      [0, 0],
    ],
  );
  for (const name of ['plain.ckpt', 'plain.safetensors']) {
    await plain.save(join(folder, name));
    await two.restore(join(folder, 'two.ckpt'));
    t.deepEqual(await kept(two, 1), [0, 2]);
    await two.restore(join(folder, name));
    t.deepEqual(
      [await kept(two, 0), await kept(two, 1)],
      [
        [0, 0],
        [0, 0],
      ],
      name,
    );
  }
  await plain.restore(join(folder, 'two.ckpt'));
  t.deepEqual([...(await plain.readVariables()).keys()], ['w']);
});

test('what is kept back of shards is saved as that of the whole, and restored in other shards', async (t) => {
  const path = join(temporaryFolder(t), 'shards.safetensors');
  const program = fedProgram({ w: [6] }, (task) => ({ w: [8, 1, 2, 9, 3, 4 + task] }), 1);
  const shards = (count: number) => ({
    ...LARGEST,
    builder: 'partitioned-all-reduce',
    shards: count,
    minShardBytes: 1,
  });
  const two = await opened(t, program, shards(2));
  await trainFed(two, program, 0, 1);
  t.deepEqual(await kept(two, 1), [0, 1, 2, 0, 3, 5]);
  await two.save(path);
  for (const options of [shards(3), LARGEST]) {
    const other = await opened(t, program, options);
    await other.restore(path);
    t.deepEqual(
      [await kept(other, 0), await kept(other, 1)],
      [
        [0, 1, 2, 0, 3, 4],
        [0, 1, 2, 0, 3, 5],
      ],
    );
  }
});
