/**
 * The equivalence matrix: cases x strategies x clusters x executors. A strategy is a row, a model a line of CASES; what does not apply to a
 * combination says why, and is counted where the matrix is run.
 */
import { allFixtures, type Fixture, fixtureNamed, type Layout, type OracleStep } from './fixtures.js';
import { oracleOf, oracleOfReplicas } from './layouts.js';

export type ExecutorName = 'embedded' | 'tensorflow';

export interface StrategyRow {
  readonly name: string;
  /** What `--strategy` is given. */
  readonly strategy: string;
  /** Whether every case meets every cluster, and not one of them. */
  readonly everywhere?: boolean;
  /** What counts the same in a mean where tasks have different numbers of replicas; tasks if it is left out. */
  readonly weighs?: 'replicas';
  /** Why a case cannot be compared with the oracle on a cluster. */
  readonly inapplicable?: (fixture: Fixture, layout: Layout) => string | undefined;
}

export interface Cell {
  readonly fixture: Fixture;
  readonly row: StrategyRow;
  readonly layout: Layout;
}

export interface Absent extends Cell {
  readonly reason: string;
}

/** One fixture, or several forms, for each kind of model. */
const CASES: readonly string[] = [
  'linear-regression.resource',
  'mnist-cnn.resource',
  'words-adagrad-v2.resource',
  'words-momentum.resource',
  'words-adam.resource',
  'tied.resource',
  'batch-norm.resource',
  'words-adam-clipped.resource',
  'two-optimizers.resource',
  'recurrent-frames.resource',
  'recurrent-while.resource',
  'arrays-frames.resource',
  'arrays-while.resource',
  'branching-frames.resource',
  'branching-if.resource',
  'calling.resource',
  'capturing.resource',
  'words-prime.resource',
  'two-devices.resource',
  'no-rows.resource',
  'words-sgd.reference',
  'recurrent-frames.reference',
  'branching-frames.reference',
  'batch-norm.reference',
];

/** Numbers of replicas of each task. */
export const CLUSTERS: readonly Layout[] = [[2], [1, 1], [2, 2], [1, 1, 1], [2, 1]];

/** Averages over the batches of each task by itself. */
const OF_OWN_DATA = /(^|\/)moving_(mean|variance)$/;

/** What a cell must come to. */
export function oracleOfCell({ fixture, row, layout }: Cell): readonly OracleStep[] {
  if (row.weighs !== 'replicas' || isEven(layout)) return oracleOf(fixture, layout);
  // Here the replicas are tasks of one replica each: of its own data a task would have less.
  return oracleOfReplicas(fixture, layout).map((step) => ({
    ...step,
    variables: new Map([...step.variables].filter(([name]) => !OF_OWN_DATA.test(name))),
  }));
}

function isEven(layout: Layout): boolean {
  return new Set(layout).size === 1;
}

function weighsBoth(_fixture: Fixture, layout: Layout): string | undefined {
  return isEven(layout) ? undefined : 'it weighs replicas in dense means and tasks in sparse ones';
}

function noTwoTasks(_fixture: Fixture, layout: Layout): string | undefined {
  return layout.length > 1
    ? 'updates come in any order: asynchronous.test.ts trains what does not depend on it'
    : undefined;
}

export const STRATEGIES: readonly StrategyRow[] = [
  { name: 'ps', strategy: 'ps' },
  { name: 'ps-lb', strategy: 'ps-lb', everywhere: true },
  { name: 'ps-lb with proxies', strategy: '{"builder": "ps-lb", "proxy": true}' },
  {
    name: 'ps-lb asynchronous',
    strategy: '{"builder": "ps-lb", "sync": false}',
    inapplicable: noTwoTasks,
  },
  {
    name: 'all-reduce',
    strategy: 'all-reduce',
    weighs: 'replicas',
  },
  {
    name: 'parallax',
    strategy: 'parallax',
    weighs: 'replicas',
    inapplicable: weighsBoth,
  },
  { name: 'partitioned-ps', strategy: 'partitioned-ps' },
  { name: 'uneven-partitioned-ps', strategy: 'uneven-partitioned-ps' },
  {
    name: 'partitioned-all-reduce',
    strategy: 'partitioned-all-reduce',
    weighs: 'replicas',
  },
  {
    name: 'random-axis-partitioned-all-reduce',
    strategy: 'random-axis-partitioned-all-reduce',
    weighs: 'replicas',
  },
];

/** Fixtures that are no case of their own (another optimizer, the other kind of variable) train under one strategy. */
const OTHERS: StrategyRow = STRATEGIES[1]!;

const FIXTURES: readonly string[] = allFixtures().map(({ name }) => name);

function* everything(): Iterable<Cell> {
  for (const name of CASES) {
    const fixture = fixtureNamed(name);
    for (const row of STRATEGIES) for (const layout of CLUSTERS) yield { fixture, row, layout };
  }
  for (const fixture of allFixtures().filter(({ name }) => !CASES.includes(name))) {
    for (const layout of CLUSTERS) yield { fixture, row: OTHERS, layout };
  }
}

/** Set to `full`, every combination is trained, which takes some minutes more; else some stand for the others. */
const IS_FULL = process.env['GRADSYNC_MATRIX'] === 'full';

/** How many clusters each case meets under a strategy. */
function clustersFor({ fixture, row }: Cell, executor: ExecutorName): number {
  if (IS_FULL) return CLUSTERS.length;
  // Starting a training on TensorFlow takes a second or two.
  const isWhole = executor === 'embedded' && row.everywhere === true && CASES.includes(fixture.name);
  return isWhole ? CLUSTERS.length : 1;
}

/** On TensorFlow every case meets every third strategy, and all meet one. */
function meets({ fixture, row }: Cell, executor: ExecutorName): boolean {
  if (IS_FULL || executor === 'embedded' || row === OTHERS) return true;
  return (FIXTURES.indexOf(fixture.name) + STRATEGIES.indexOf(row)) % 3 === 0;
}

/** Which they are: other ones for the next case and the next strategy, so that every two of case, strategy and cluster meet. */
function isTrained(cell: Cell, executor: ExecutorName): boolean {
  if (!meets(cell, executor)) return false;
  const { fixture, row, layout } = cell;
  const possible = CLUSTERS.filter(
    (each) => hasOracle({ ...cell, layout: each }) && row.inapplicable?.(fixture, each) === undefined,
  );
  const first = FIXTURES.indexOf(fixture.name) + STRATEGIES.indexOf(row);
  const count = Math.min(clustersFor(cell, executor), possible.length);
  return Array.from({ length: count }, (_, i) => possible[(first + i) % possible.length]).includes(layout);
}

function hasOracle(cell: Cell): boolean {
  return oracleOfCell(cell)[1]!.variables.size > 0;
}

function reasonAgainst(cell: Cell, executor: ExecutorName): string | undefined {
  const { fixture, row, layout } = cell;
  const reason = row.inapplicable?.(fixture, layout);
  if (reason !== undefined) return reason;
  if (!hasOracle(cell)) return 'large fixtures have no oracle for tasks with several replicas';
  return isTrained(cell, executor)
    ? undefined
    : 'others stand for it, to save time (GRADSYNC_MATRIX=full trains all)';
}

/** What an executor trains, and what it does not, with the reason. */
export function cellsOf(executor: ExecutorName): {
  readonly cells: readonly Cell[];
  readonly absent: readonly Absent[];
} {
  const cells: Cell[] = [];
  const absent: Absent[] = [];
  for (const cell of everything()) {
    const reason = reasonAgainst(cell, executor);
    if (reason === undefined) cells.push(cell);
    else absent.push({ ...cell, reason });
  }
  return { cells, absent };
}

export function titleOf({ fixture, row, layout }: Cell, executor: ExecutorName): string {
  const tasks = layout.length === 1 ? 'a task' : `${layout.length} tasks`;
  return `${fixture.name}, ${row.name}, ${tasks} with ${layout.join(' and ')} replicas, ${executor}: the variables of the oracle`;
}

/** Lines that count what was left out, by reason. */
export function summary(absent: readonly { readonly reason: string }[]): readonly string[] {
  const counts = new Map<string, number>();
  for (const { reason } of absent) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  return [...counts].map(([reason, count]) => `${count} not applicable: ${reason}`);
}
