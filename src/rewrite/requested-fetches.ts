/** Fetches that a user announces: each must exist and be had on this task, and is then listed in the plan under its own name. */
import { GradsyncError } from '../errors.js';
import type { Graph } from '../graph/graph.js';
import { type FetchName, parseFetchName } from '../graph/name.js';
import { describeMissing, hasOutput } from '../graph/outputs.js';
import type { FetchPlan, Plan } from './plan.js';
import { fetchOf } from './replica-fetches.js';
import type { Replicas } from './replicate.js';
import type { Rewritten } from './rewrite.js';

/**
 * The plan with these fetches listed.
 *
 * @throws GradsyncError NOT_FOUND for a name that the graph has not, FAILED_PRECONDITION for one that would wait for ever.
 */
export function withFetches({ plan, graph, replicas }: Rewritten, names: readonly string[]): Plan {
  const wanted = names.map((name) => [name, parseFetchName(name)] as const);
  const runsStep = wanted.some(([name]) => isStep(plan.fetches[name]));
  const found = new Map(Object.entries(plan.fetches));
  for (const [name, parsed] of wanted) {
    checkExists(name, parsed, graph);
    checkReachable(name, parsed, plan, runsStep);
    if (!found.has(name)) found.set(name, planOf(parsed, name, graph, replicas));
  }
  const fetches = Object.fromEntries([...found].sort(([a], [b]) => (a < b ? -1 : 1)));
  return { ...plan, fetches };
}

function isStep(fetch: FetchPlan | undefined): boolean {
  return fetch !== undefined && 'operations' in fetch;
}

function planOf({ operation, index }: FetchName, name: string, graph: Graph, replicas: Replicas): FetchPlan {
  if (index !== undefined) return fetchOf(graph.get(operation).output(index), replicas);
  return { operations: replicas.of(graph.get(name)).map((copy) => copy.name) };
}

function checkExists(name: string, { operation, index }: FetchName, graph: Graph): void {
  const found = graph.find(operation);
  if (found !== undefined && (index === undefined || hasOutput(found, index))) return;
  throw new GradsyncError('NOT_FOUND', 'Fetch', {
    expected: 'a tensor or an operation of the graph',
    received: describeMissing(name, found),
    remedy: 'correct the name; gradsync transform --explain lists names',
    operation,
  });
}

function checkReachable(name: string, { operation }: FetchName, plan: Plan, runsStep: boolean): void {
  const reason = plan.notFetchable[operation] ?? plan.notFetchable[name];
  if (reason === undefined || name in plan.fetches || (runsStep && plan.task === plan.chief)) return;
  throw new GradsyncError('FAILED_PRECONDITION', `Fetch "${name}" on task ${plan.task}`, {
    expected: 'a name that can be fetched',
    received: `one that ${reason}`,
    remedy: 'fetch it on the chief, together with the training operation',
    operation,
    task: plan.task,
  });
}
