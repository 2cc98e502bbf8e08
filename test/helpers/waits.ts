/**
 * One wait of every kind the addon has: how it begins, what ends it well, and what must still work after the thread that waited has died.
 * Used in tests, in their worker threads (wait-in-thread.ts) and in processes of their own.
 */
import type { NativeCommunicator, NativeSession, NativeTensor, Pending } from '../../src/addon/native.js';
import { PATIENT } from './patience.js';

const FOREVER = { deadlineMs: Number.POSITIVE_INFINITY };
const SPEC = { dtype: 'float32', shape: null, reduction: 'mean' } as const;
const SPARSE = { ...SPEC, form: 'combined' } as const;
const ROUNDS = { ...SPEC, members: [0, 1], rule: { kind: 'bounded-staleness', staleness: 0 } } as const;
const QUEUE = { dtypes: ['float32'], shapes: null, capacity: 1 } as const;

export interface Wait {
  readonly title: string;
  /** Begins it, for ever. */
  begin(session: NativeSession): Pending<unknown>;
  /** What others do so that it ends well. */
  finish(session: NativeSession): unknown;
  /** What another thread gets once the one that waited has died: nothing was given to the dead, and whoever needs them is told. */
  outlive(session: NativeSession): Promise<unknown>;
  readonly outlived: unknown;
}

const tensor = (value: number, isShared = false): NativeTensor => {
  const data = new Float32Array(isShared ? new SharedArrayBuffer(4) : new ArrayBuffer(4));
  return { dtype: 'float32', shape: [1], data: data.fill(value) };
};
const rankOf = (session: NativeSession, rank: number): NativeCommunicator =>
  session.communicator('ranks', { size: 2, rank });
const queueOf = (session: NativeSession) => session.tokenQueue('q', QUEUE);
const enqueue = (session: NativeSession, value: number) => queueOf(session).enqueue([tensor(value)], PATIENT);
const dequeue = async (session: NativeSession): Promise<unknown> =>
  (await queueOf(session).dequeue(PATIENT).promise)[0]!.data[0];

const roundsOf = (session: NativeSession) => session.denseRounds('r', ROUNDS);
/** A member's part of round 0. */
function contribute(session: NativeSession, member: number): void {
  const rounds = roundsOf(session);
  void rounds.begin(member, PATIENT);
  rounds.apply(0, member, new Float32Array([5]), [1]);
}
/** The rest of round 0: the next step may begin then. */
async function endRound(session: NativeSession): Promise<unknown> {
  contribute(session, 1);
  await roundsOf(session).take(PATIENT).promise;
  return roundsOf(session).applied(0);
}

function wait(title: string, begin: Wait['begin'], finish: Wait['finish'], outlive: Wait['outlive']): Wait {
  return { title, begin, finish, outlive, outlived: 5 };
}

/** Of a collective: the call of either rank. */
function collective(title: string, call: (rank: NativeCommunicator) => Pending<unknown>): Wait {
  const outlive = async (session: NativeSession): Promise<unknown> => {
    try {
      return await call(rankOf(session, 1)).promise;
    } catch (error) {
      return (error as { code?: unknown }).code;
    }
  };
  return {
    title,
    begin: (session) => call(rankOf(session, 0)),
    finish: (session) => call(rankOf(session, 1)).promise,
    outlive,
    outlived: 'UNAVAILABLE',
  };
}

const applyDense = (session: NativeSession) =>
  session.denseAccumulator('d', SPEC).apply(0, 0, new Float32Array([5]), [1]);
const applySparse = (session: NativeSession) =>
  session.sparseAccumulator('s', SPARSE).apply(0, 0, new Int32Array([2]), new Float32Array([5]), [1], null);
const UNDER_G = { key: 'g', ...FOREVER };

export const WAITS: readonly Wait[] = [
  wait(
    'dense take',
    (session) => session.denseAccumulator('d', SPEC).take(1, FOREVER),
    applyDense,
    async (session) => {
      applyDense(session);
      return (await session.denseAccumulator('d', SPEC).take(1, PATIENT).promise).data[0];
    },
  ),
  wait(
    'sparse take',
    (session) => session.sparseAccumulator('s', SPARSE).take(1, FOREVER),
    applySparse,
    async (session) => {
      applySparse(session);
      return (await session.sparseAccumulator('s', SPARSE).take(1, PATIENT).promise).values.data[0];
    },
  ),
  wait(
    'dequeue',
    (session) => queueOf(session).dequeue(FOREVER),
    (session) => enqueue(session, 5),
    async (session) => {
      await enqueue(session, 5).promise;
      return dequeue(session);
    },
  ),
  wait(
    'enqueue into a full queue',
    (session) => {
      enqueue(session, 5);
      return queueOf(session).enqueue([tensor(6)], FOREVER);
    },
    dequeue,
    async (session) => {
      const first = await dequeue(session);
      return queueOf(session).size === 0 ? first : 'the element of the dead';
    },
  ),
  wait(
    'take of a round',
    (session) => roundsOf(session).take(FOREVER),
    (session) => {
      for (const member of [0, 1]) contribute(session, member);
    },
    async (session) => {
      for (const member of [0, 1]) contribute(session, member);
      return (await roundsOf(session).take(PATIENT).promise).result.data[0];
    },
  ),
  wait(
    'begin of a step',
    (session) => {
      contribute(session, 0);
      return roundsOf(session).begin(0, FOREVER);
    },
    endRound,
    async (session) => {
      await endRound(session);
      // Its own place is free: whoever goes on in its name may begin.
      return 4 + (await roundsOf(session).begin(0, PATIENT).promise).step;
    },
  ),
  collective('barrier', (rank) => rank.barrier(UNDER_G)),
  collective('all-reduce', (rank) => rank.allReduce(tensor(1), { ...UNDER_G, reduction: 'sum' })),
  collective('all-reduce in shared memory', (rank) =>
    rank.allReduce(tensor(1, true), { ...UNDER_G, reduction: 'sum' }),
  ),
  collective('all-gather', (rank) => rank.allGather(tensor(1), UNDER_G)),
  collective('sparse all-reduce', (rank) =>
    rank.sparseAllReduce(new Int32Array([3]), tensor(1), { ...UNDER_G, reduction: 'sum', tableRows: 4 }),
  ),
];

export function waitOf(title: string): Wait {
  const found = WAITS.find((wait) => wait.title === title);
  if (found === undefined) throw new Error(`expected a wait among those of waits.ts but received ${title}`);
  return found;
}
