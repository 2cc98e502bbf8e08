/**
 * Trainings of fixtures, or of programs made for a test, on real TensorFlow: rewritten, written to disk, run one after the other, each by as
 * many gRPC processes as it has tasks.
 */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TrainingOptions, transformAll } from '../../src/engine.js';
import type { FedProgram } from './fed-gradients.js';
import { type Fixture, graphPath, type Layout } from './fixtures.js';
import { nodesOf, taskFeeds } from './layouts.js';
import { type PlanResult, type PlanRun, runPlans, writeTasks } from './run-plan.js';
import { freePorts } from './tensorflow.js';

interface Training {
  readonly strategy: TrainingOptions['strategy'];
  /** Replicas of each task, and what each is on. */
  readonly layout: Layout;
  readonly devices?: 'gpus';
  readonly uneven?: TrainingOptions['uneven'];
  readonly more?: Partial<Omit<PlanRun, 'folders' | 'feeds' | 'read' | 'holdBack'>>;
}

export interface TrainingCase extends Training {
  readonly strategy: string;
  readonly fixture: Fixture;
}

export interface FedCase extends Training {
  readonly program: FedProgram;
}

type AnyCase = TrainingCase | FedCase;

/** Rewrites the case's graph for every task and writes graph.pb and plan.json into a folder each. */
function transformCase(one: AnyCase, ports: readonly number[]): PlanRun {
  const { strategy, layout, devices } = one;
  const uneven = one.uneven === undefined ? {} : { uneven: one.uneven };
  const resources = { nodes: nodesOf(layout, ports, devices) };
  const { graph: source, gradients, ...run } = 'program' in one ? one.program : programOf(one);
  const results = transformAll({ graph: source, gradients, resources, strategy, ...uneven });
  const root = mkdtempSync(join(tmpdir(), 'gradsync-equivalence-'));
  const folders = writeTasks(root, results);
  return { folders, ...run, ...one.more };
}

type Program = Omit<FedProgram, 'graph'> & { readonly graph: Uint8Array | string };

function programOf({ fixture, layout }: TrainingCase): Program {
  const { steps, loss, trainOp, state } = fixture;
  const feeds = taskFeeds(fixture, layout);
  return { graph: graphPath(fixture), gradients: [], steps, feeds, fetches: [loss, trainOp], read: state };
}

/** What became of trainings: throws for one that failed. */
export type ResultOf = (one: AnyCase) => PlanResult;

/** Runs all cases; those that fail do not keep others from running. */
export async function runCases(python: string, cases: readonly AnyCase[]): Promise<ResultOf> {
  const outcomes = new Map<AnyCase, PlanResult | Error>();
  const prepared: [AnyCase, PlanRun][] = [];
  for (const one of cases) {
    const ports = await freePorts(one.layout.length);
    try {
      prepared.push([one, transformCase(one, ports)]);
    } catch (error) {
      outcomes.set(one, error as Error);
    }
  }
  const results = await runPlans(
    python,
    prepared.map(([, run]) => run),
  );
  for (const [index, [one]] of prepared.entries()) outcomes.set(one, results[index]!);
  return (one) => {
    const outcome = outcomes.get(one);
    if (outcome === undefined) throw new Error('it was not run');
    if (outcome instanceof Error) throw outcome;
    return outcome;
  };
}
