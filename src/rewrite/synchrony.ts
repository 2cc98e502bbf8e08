/** How each update group is synchronized: by rounds of all tasks, in the chief's step or in a run in the background, or not at all. */
import { GradsyncError } from '../errors.js';
import type { GradientPair } from '../graph/training-graph.js';
import type { Division } from './divide.js';
import { planOf, type RunContext } from './pass.js';
import type { UpdateGroup } from './update-groups.js';

/** A group whose updates wait for the gradients of all tasks. */
export interface RoundGroup extends UpdateGroup {
  /** Where a run of its own does the rounds, beside the tasks' steps: by how many rounds a task may be ahead. */
  readonly background: { readonly staleness: number } | undefined;
}

export interface GroupsBySynchrony {
  readonly rounds: readonly RoundGroup[];
  /** Every task updates these by itself. */
  readonly asynchronous: readonly UpdateGroup[];
}

/**
 * @throws GradsyncError UNIMPLEMENTED where variables that are updated together have plans of several sorts: the optimizer's state would be
 * changed for some of them only.
 */
export function bySynchrony(division: Division, run: RunContext): GroupsBySynchrony {
  const groups = division.onServers;
  for (const { pairs } of groups) checkAlike(pairs, run);
  for (const { group } of division.published) {
    if (backgroundOf(group, run) !== undefined) throw withCopies(group.pairs[0]!.variable.name);
  }
  const isSynchronous = ({ pairs }: UpdateGroup): boolean => planOf(pairs[0]!, run).sync;
  return {
    rounds: groups.filter(isSynchronous).map((group) => ({ ...group, background: backgroundOf(group, run) })),
    asynchronous: groups.filter((group) => !isSynchronous(group)),
  };
}

/** One task alone is never late: its rounds are its steps. */
function backgroundOf({ pairs }: UpdateGroup, run: RunContext): RoundGroup['background'] {
  const { staleness } = planOf(pairs[0]!, run);
  return staleness > 0 && run.taskCount > 1 ? { staleness } : undefined;
}

function checkAlike(pairs: readonly GradientPair[], run: RunContext): void {
  const first = planOf(pairs[0]!, run);
  for (const pair of pairs) {
    const { sync, staleness } = planOf(pair, run);
    const names = [pairs[0]!.variable.name, pair.variable.name] as const;
    if (sync !== first.sync) throw mixed(names, 'sync', 'one synchronous, one asynchronous');
    if (staleness !== first.staleness) throw mixed(names, 'staleness', `${first.staleness} and ${staleness}`);
  }
}

/** Copies are updated in every step, with what the same optimizer computes for the others in that step. */
function withCopies(variable: string): GradsyncError {
  return new GradsyncError('UNIMPLEMENTED', `Plan of variable "${variable}"`, {
    expected: '"staleness": 0 beside variables of the same training operation that have a collective plan',
    received: 'more',
    remedy: 'set "staleness" to 0, or use the strategy ps or ps-lb for all variables',
    variable,
  });
}

function mixed([variable, other]: readonly [string, string], field: string, received: string): GradsyncError {
  return new GradsyncError('UNIMPLEMENTED', `Plans of variables "${variable}" and "${other}"`, {
    expected: `the same "${field}" for all variables that one training operation updates`,
    received,
    remedy: `give both the same "${field}", or update them in training operations of their own`,
    variable: other,
  });
}
