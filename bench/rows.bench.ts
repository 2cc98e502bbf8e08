/** Sparse gradients of copies, embedded: each step gathers rows or sums them as a dense gradient, against always gathering. */
import type { Session } from '../src/index.js';
import { fedProgram, openFed } from '../test/helpers/fed-gradients.js';
import { type BenchCase, type BenchOptions, type BenchRow, timeInTurn, toRow } from './case.js';

const NAME = 'rows of copies';
const ROWS = 20_000;
const WIDTH = 64;

/** Tasks, and the rows that each has a gradient for. */
const SIZES: Readonly<Record<string, readonly [tasks: number, touched: number]>> = Object.fromEntries(
  [2, 4].flatMap((tasks) =>
    [1000, 8000, 18_000].map((touched) => [
      `${tasks} tasks, ${touched} of ${ROWS} rows x ${WIDTH}`,
      [tasks, touched] as const,
    ]),
  ),
);

async function run(size: string, { quick }: BenchOptions): Promise<BenchRow> {
  const [tasks, touched] = SIZES[size]!;
  // Whole numbers, of which sums are exact in any order.
  const gradients = (task: number) => ({
    table: {
      indices: Array.from({ length: touched }, (_, i) => (i + 997 * task) % ROWS),
      values: new Array<number>(touched * WIDTH).fill(tasks * (task + 1)),
    },
  });
  const program = fedProgram({ table: [ROWS, WIDTH] }, gradients, 1, { sliced: ['table'] });
  const [ours, gathering] = await Promise.all(
    ['auto', 'gather'].map((sparse) =>
      openFed(program, JSON.stringify({ builder: 'all-reduce', sparse }), tasks),
    ),
  );
  const stepOf = (session: Session) => async (): Promise<void> => {
    const requests = Array.from({ length: tasks }, (_, task) => ({
      feeds: Object.fromEntries(program.feeds(task, 0)),
      fetches: program.fetches,
    }));
    await session.run(requests);
  };
  const sessions = [ours!, gathering!];
  for (const session of sessions) await session.initialize();
  const contestants = { ours: stepOf(ours!), gathering: stepOf(gathering!) };
  await contestants.ours();
  await contestants.gathering();
  await requireEqual(ours!, gathering!);
  const [sent, gathered] = sessions.map((session) => (session.traffic(0).sent / 2 ** 20).toFixed(2));
  const times = await timeInTurn(contestants, quick ? { rounds: 3, warmUp: 1 } : { rounds: 40, warmUp: 5 });
  for (const session of sessions) await session.close();
  const note = `whole steps; a task sends ${sent} MiB, gathering ${gathered} MiB`;
  return toRow(
    { case: NAME, size, rival: 'always gathering', note },
    times.ours,
    times.gathering.median,
    null,
  );
}

async function requireEqual(ours: Session, gathering: Session): Promise<void> {
  const [own, other] = await Promise.all(
    [ours, gathering].map(
      async (session) => (await session.readVariables()).get('table')!.data as Float32Array,
    ),
  );
  if (own!.every((value, i) => value === other![i])) return;
  throw new Error('the two ways come to different tables');
}

export const ROW_CASES: readonly BenchCase[] = [{ name: NAME, sizes: Object.keys(SIZES), run }];
