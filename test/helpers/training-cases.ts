/**
 * Trainings of fixtures on real TensorFlow: rewritten, written to disk, run by as many gRPC processes as there are tasks. All of one size run
 * one after the other in the same processes.
 */
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { transformAll } from '../../src/engine.js';
import { type Fixture, graphPath, type Layout } from './fixtures.js';
import { nodesOf, taskFeeds } from './layouts.js';
import { type PlanResult, type PlanRun, runPlans } from './run-plan.js';
import { freePorts } from './tensorflow.js';

export interface TrainingCase {
  readonly fixture: Fixture;
  readonly strategy: string;
  /** Replicas of each task, and what each is on. */
  readonly layout: Layout;
  readonly devices?: 'gpus';
}

/** Rewrites the case's graph for every task and writes graph.pb and plan.json into a folder each. */
function transformCase(
  { fixture, strategy, layout, devices }: TrainingCase,
  ports: readonly number[],
): PlanRun {
  const resources = { nodes: nodesOf(layout, ports, devices) };
  const results = transformAll({ graph: graphPath(fixture), resources, strategy });
  const root = mkdtempSync(join(tmpdir(), 'gradsync-equivalence-'));
  const folders = results.map(({ graph, plan }) => {
    const folder = join(root, `task-${plan.task}`);
    mkdirSync(folder);
    writeFileSync(join(folder, 'graph.pb'), graph);
    writeFileSync(join(folder, 'plan.json'), JSON.stringify(plan));
    return folder;
  });
  const { steps, loss, trainOp, state } = fixture;
  return { folders, steps, feeds: taskFeeds(fixture, layout), fetches: [loss, trainOp], read: state };
}

/** What became of trainings: throws for one that failed. */
export type ResultOf = (one: TrainingCase) => PlanResult;

/** Runs all cases; those that fail do not keep others from running. */
export async function runCases(python: string, cases: readonly TrainingCase[]): Promise<ResultOf> {
  const outcomes = new Map<TrainingCase, PlanResult | Error>();
  for (const workers of new Set(cases.map(({ layout }) => layout.length))) {
    const chosen = cases.filter(({ layout }) => layout.length === workers);
    await runSize(python, workers, chosen, outcomes);
  }
  return (one) => {
    const outcome = outcomes.get(one);
    if (outcome === undefined) throw new Error('it was not run');
    if (outcome instanceof Error) throw outcome;
    return outcome;
  };
}

async function runSize(
  python: string,
  workers: number,
  cases: readonly TrainingCase[],
  outcomes: Map<TrainingCase, PlanResult | Error>,
): Promise<void> {
  const prepared: [TrainingCase, PlanRun][] = [];
  const ports = await freePorts(workers * cases.length);
  for (const [index, one] of cases.entries()) {
    try {
      prepared.push([one, transformCase(one, ports.slice(index * workers, (index + 1) * workers))]);
    } catch (error) {
      outcomes.set(one, error as Error);
    }
  }
  const results = await runPlans(
    python,
    workers,
    prepared.map(([, run]) => run),
  );
  for (const [index, [one]] of prepared.entries()) outcomes.set(one, results[index]!);
}
