/** Trains a random program under a random strategy and compares what comes of it with the oracle. */
import { makeResourceSpec, resolveCluster } from '../../../src/cluster/index.js';
import { openSession } from '../../../src/engine.js';
import { GradsyncError } from '../../../src/errors.js';
import { decodeGraphFile, readTrainingGraph } from '../../../src/graph/index.js';
import type { Session } from '../../../src/runtime/index.js';
import { type Strategy, summarize } from '../../../src/strategy/index.js';
import { differencesFromOracle } from '../equivalence.js';
import type { OracleStep } from '../fixtures.js';
import { nodesOf, taskLoss } from '../layouts.js';
import type { FileTensor } from '../tensor-file.js';
import { largestMagnitude, sumTolerance } from '../tolerance.js';
import { replicasOf, type TrainingSpec } from './arbitrary.js';
import { oracleFor } from './oracle.js';
import { LOSS, makeProgram, type Program, TRAIN_OP } from './program.js';
import { batchOf } from './shares.js';
import { strategyOf } from './strategies.js';
import { weightsOf } from './weighted-mean.js';

/**
 * Why a training may be refused; undefined where it has to train. Without a pair, one is asked for where the program changes a gradient that is
 * no sum of those of the examples, and where its update takes none.
 */
export function reasonToRefuse({ program, strategy }: TrainingSpec): string | undefined {
  const { pairs, change, shrinks, layers, optimizers } = program;
  const isFound = pairs === 'found';
  if (isFound && change.startsWith('clip')) return 'the gradient before it is clipped is asked for';
  if (layers.some(({ kind }) => kind === 'embedding')) {
    const isComposed = optimizers.some(({ kind }) => kind === 'adam');
    if (isFound && isComposed) return 'the gradient of a composed optimizer is asked for';
    if (isFound && shrinks) return 'the gradient of a variable that is assigned to as well is asked for';
    if (isComposed && shrinks) return 'two assignments follow the gradient of a composed optimizer';
  }
  const plans = strategy.kind === 'custom' ? strategy.plans : [];
  const kinds = new Set(plans.map(({ isCollective }) => isCollective));
  const areMixed = kinds.size > 1 && plans.some(({ shards }) => shards > 1);
  return areMixed ? 'shards of one variable are kept in different ways' : undefined;
}

export type Outcome =
  | { readonly kind: 'refused'; readonly error: GradsyncError }
  /** Sentences about what differs; none where all is well. */
  | { readonly kind: 'trained'; readonly differences: readonly string[] };

/** Refusals come before anything is trained; whatever else fails is thrown. */
export async function trainRandom(spec: TrainingSpec): Promise<Outcome> {
  const program = makeProgram(spec.program, { isolated: false });
  let opened: Opened;
  try {
    opened = await open(program, spec);
  } catch (error) {
    if (error instanceof GradsyncError) return { kind: 'refused', error };
    throw error;
  }
  await using session = opened.session;
  const oracle = await expectedOf(spec, opened.strategy);
  return { kind: 'trained', differences: await compare(session, program, spec, oracle) };
}

interface Opened {
  readonly session: Session;
  readonly strategy: Strategy;
}

async function open(program: Program, spec: TrainingSpec): Promise<Opened> {
  const { graph } = program;
  const gradients = pairsOf(program);
  const strategy = strategyFor(program, spec);
  const unevenBatches = spec.areEven && new Set(replicasOf(spec)).size === 1 ? 'refuse' : 'allow';
  const resources = { nodes: nodesOf(spec.layout) };
  const session = await openSession({ graph, gradients, resources, strategy, unevenBatches });
  return { session, strategy };
}

/** Gradient pairs as texts, where they are given. */
export function pairsOf({ spec, gradients }: Program): readonly string[] {
  if (spec.pairs === 'found') return [];
  return [...gradients].map(([name, gradient]) =>
    gradient.kind === 'dense'
      ? `${name}|${gradient.tensor}`
      : `${name}|${gradient.indices};${gradient.values}`,
  );
}

/** @throws GradsyncError where pairs cannot be found. */
export function strategyFor(program: Program, spec: TrainingSpec): Strategy {
  const cluster = resolveCluster(makeResourceSpec({ nodes: nodesOf(spec.layout) }));
  const training = readTrainingGraph(decodeGraphFile(program.graph), { gradients: pairsOf(program) });
  return strategyOf(spec.strategy, summarize(training), cluster);
}

/** What one process comes to under a strategy, step by step. */
export function expectedOf(spec: TrainingSpec, strategy: Strategy): Promise<readonly OracleStep[]> {
  const program = makeProgram(spec.program, { isolated: true });
  const plans = new Map(strategy.variables.map((plan) => [plan.variable, plan]));
  const weights = new Map(
    [...program.gradients.keys()].map((name) => [
      name,
      weightsOf(plans.get(name)!, program.shapes.get(name)!, replicasOf(spec)),
    ]),
  );
  return oracleFor(program, spec, weights);
}

async function compare(
  session: Session,
  program: Program,
  spec: TrainingSpec,
  oracle: readonly OracleStep[],
): Promise<readonly string[]> {
  await session.initialize();
  const differences = await differencesAfter(session, program, oracle, 0);
  for (let step = 0; step < spec.steps && differences.length === 0; step++) {
    if (hasDiverged(oracle[step + 1]!)) break;
    const requests = spec.layout.map((_, task) => ({
      feeds: batchOf(program, spec, task, step),
      fetches: [LOSS, TRAIN_OP],
    }));
    const results = await session.run(requests);
    differences.push(...(await differencesAfter(session, program, oracle, step + 1)));
    // Weights differ by rounding from the second step on.
    if (step > 0) continue;
    for (const [task, result] of results.entries()) {
      const [loss, fetched] = [taskLoss(oracle[1]!, replicasOf(spec), task), Number(result[LOSS]!.data[0])];
      // Losses are means of what may be any small difference of larger numbers.
      if (Math.abs(fetched - loss) > sumTolerance(LOSS_TERMS, 1 + Math.abs(loss)))
        differences.push(`loss of task ${task}: ${fetched}, not ${loss}`);
    }
  }
  return differences;
}

const LOSS_TERMS = 64;

/** Numbers that are none, and those on their way there, tell nothing. */
function hasDiverged({ variables }: OracleStep): boolean {
  return [...variables.values()].some(({ data }) => !(largestMagnitude(data) < MOST));
}

const MOST = 2 ** 20;

/** Every task's view: what each has for itself is compared on the chief only. */
async function differencesAfter(
  session: Session,
  { local }: Program,
  oracle: readonly OracleStep[],
  step: number,
): Promise<string[]> {
  const found: string[] = [];
  for (let task = 0; task < session.taskCount; task++) {
    const variables = (await session.readVariables(task)) as ReadonlyMap<string, FileTensor>;
    const differences = differencesFromOracle(oracle, step, variables, Math.max(1, step));
    const others = differences.filter(
      (each) => task === 0 || ![...local].some((name) => each.startsWith(name)),
    );
    found.push(...others.map((each) => `task ${task}: ${each}`));
  }
  return found;
}
