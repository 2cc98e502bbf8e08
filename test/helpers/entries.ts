/** Every call of the addon that takes arrays: what it takes, and the call itself with what it gives, as plain data that can be compared. */
import type { IndexArray, NativeSession, NativeTensor, NumericArray } from '../../src/addon/native.js';
import { PATIENT } from './patience.js';

export interface Entry {
  readonly title: string;
  readonly arrays: readonly NumericArray[];
  /** Makes the call with arrays like these. A call that throws, throws before it waits. */
  call(session: NativeSession, arrays: readonly NumericArray[]): unknown;
}

const SPEC = { dtype: 'float32', shape: null, reduction: 'mean' } as const;
const ADAGRAD = { kind: 'adagrad', lr: 0.5, updateSlots: true } as const;
const UNDER_G = { key: 'g', ...PATIENT };

const f32 = (data: NumericArray): NativeTensor => ({ dtype: 'float32', shape: [4], data });
/** Far enough behind each other that a test can take one array for the other and notice. */
const values = (): Float32Array => new Float32Array([1.5, -2, 3.25, 4]);
const indices = (): IndexArray => new Int32Array([3, 1, 3, 0]);

function variableOf(session: NativeSession, key = 'w') {
  const variable = session.variable(key, { dtype: 'float32', shape: [4] });
  if (!variable.isInitialized) variable.assign(new Float32Array([10, 20, 30, 40]), [4]);
  return variable;
}

/** Calls that change a variable and give nothing: what it is afterwards. */
function change(
  title: string,
  arrays: readonly NumericArray[],
  call: (variable: ReturnType<typeof variableOf>, session: NativeSession, arrays: never) => void,
): Entry {
  return {
    title,
    arrays,
    call: (session, given) => {
      const variable = variableOf(session);
      call(variable, session, given as never);
      return variable.read().data;
    },
  };
}

type Rank = ReturnType<NativeSession['communicator']>;
/** A rank joins once, so a session's is kept. */
const ranks = new WeakMap<NativeSession, Rank>();
function rankOf(session: NativeSession): Rank {
  const rank = ranks.get(session) ?? session.communicator('c', { size: 1, rank: 0 });
  ranks.set(session, rank);
  return rank;
}

export const ENTRIES: readonly Entry[] = [
  {
    title: 'dense apply',
    arrays: [values()],
    call: (session, [gradient]) => {
      const accumulator = session.denseAccumulator('d', SPEC);
      accumulator.apply(0, 0, gradient!, [4]);
      return accumulator.take(1, PATIENT).promise;
    },
  },
  ...[indices(), new BigInt64Array([3n, 1n, 3n, 0n])].map(
    (list): Entry => ({
      title: `sparse apply with ${list.constructor.name}`,
      arrays: [list, values()],
      call: (session, [rows, gradient]) => {
        const accumulator = session.sparseAccumulator('s', { ...SPEC, form: 'combined' });
        accumulator.apply(0, 0, rows as IndexArray, gradient!, [4], [4]);
        return accumulator.take(1, PATIENT).promise;
      },
    }),
  ),
  {
    title: 'enqueue',
    arrays: [values(), new BigInt64Array([7n])],
    call: async (session, [first, second]) => {
      const queue = session.tokenQueue('q', { dtypes: ['float32', 'int64'], shapes: null, capacity: 1 });
      await queue.enqueue([f32(first!), { dtype: 'int64', shape: [], data: second! }], PATIENT).promise;
      return queue.dequeue(PATIENT).promise;
    },
  },
  change('assign', [values()], (variable, _, [value]: [NumericArray]) => variable.assign(value, [4])),
  change('assignAdd', [values()], (variable, _, [value]: [NumericArray]) => variable.assignAdd(value)),
  change('assignSub', [values()], (variable, _, [value]: [NumericArray]) => variable.assignSub(value)),
  ...(['scatterAdd', 'scatterSub', 'scatterUpdate'] as const).map((method) =>
    change(method, [indices(), values()], (variable, _, [rows, gradient]: [IndexArray, NumericArray]) =>
      variable[method](rows, gradient),
    ),
  ),
  change('applyDense', [values()], (variable, session, [gradient]: [NumericArray]) =>
    variable.applyDense(ADAGRAD, [variableOf(session, 'slot')], gradient),
  ),
  change(
    'applySparse',
    [values(), indices()],
    (variable, session, [gradient, rows]: [NumericArray, IndexArray]) =>
      variable.applySparse(ADAGRAD, [variableOf(session, 'slot')], gradient, rows),
  ),
  {
    title: 'copyTo',
    arrays: [values()],
    call: (session, [out]) => [variableOf(session).copyTo(out!, 0), out],
  },
  {
    title: 'gather',
    arrays: [indices(), values()],
    call: (session, [rows, out]) => [variableOf(session).gather(rows as IndexArray, out!), out],
  },
  {
    title: 'allReduce',
    arrays: [values()],
    call: async (session, [data]) => {
      await rankOf(session).allReduce(f32(data!), { ...UNDER_G, reduction: 'mean' }).promise;
      return data;
    },
  },
  {
    title: 'broadcast',
    arrays: [values()],
    call: async (session, [data]) => {
      await rankOf(session).broadcast(f32(data!), { ...UNDER_G, root: 0 }).promise;
      return data;
    },
  },
  {
    title: 'allGather',
    arrays: [values()],
    call: (session, [data]) => rankOf(session).allGather(f32(data!), UNDER_G).promise,
  },
  {
    title: 'reduceScatter',
    arrays: [values()],
    call: (session, [data]) =>
      rankOf(session).reduceScatter(f32(data!), { ...UNDER_G, reduction: 'sum' }).promise,
  },
  {
    title: 'allToAll',
    arrays: [values()],
    call: (session, [data]) => rankOf(session).allToAll(f32(data!), UNDER_G).promise,
  },
  {
    title: 'sparseAllReduce',
    arrays: [indices(), values()],
    call: async (session, [rows, data]) => {
      const options = { ...UNDER_G, reduction: 'sum', tableRows: 4, algorithm: 'rows' } as const;
      const { promise } = rankOf(session).sparseAllReduce(rows as IndexArray, f32(data!), options);
      const result = await promise;
      return [result.indices, result.values];
    },
  },
];
