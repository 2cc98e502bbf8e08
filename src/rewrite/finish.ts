/**
 * Finish: what waited for the closure C now waits for the end of the round. On the chief that is C and the tokens it gives; on another task
 * its own contribution, its token, and what C would have run beforehand (moving averages, assertions). So nothing there reaches C. Where rounds
 * are run in the background, the chief's step is as any other task's, and C is in that run.
 */
import type { Graph } from '../graph/graph.js';
import type { Operation } from '../graph/operation.js';
import { type BackgroundFinish, finishInBackground } from './background-rounds.js';
import { contribute, type FinishInput, updatesDone } from './contribute.js';
import { group, newName, type Site } from './make.js';
import type { Draft, RewriteContext } from './pass.js';
import type { RoundGroup } from './synchrony.js';
import { giveTokens } from './tokens.js';
import type { UpdateGroup } from './update-groups.js';

export interface Finish {
  readonly group: RoundGroup;
  /** Its place among the groups. */
  readonly number: number;
  /** The operation after which this task's part of the round is over. */
  readonly operation: Operation;
  /** The operations that exchange tokens; the one that takes some, if the step does, is the first. */
  readonly tokens: readonly Operation[];
  /** Where rounds are run in the background. */
  readonly background?: BackgroundFinish;
}

/** With one task there is nobody to wait for, and nothing changes. */
export function addFinish(draft: Draft, context: RewriteContext, input: FinishInput): readonly Finish[] {
  if (context.taskCount === 1) return [];
  return input.groups.map((updates, number) => {
    const source = input.groups.length === 1 ? '' : String(number);
    const site = { graph: draft.graph, device: context.devices.cpu, pass: 'finish', source };
    const finish =
      updates.background !== undefined
        ? finishInBackground(site, context, updates, number, input)
        : context.isChief
          ? finishOnChief(site, context, updates, number)
          : finishOnWorker(site, context, updates, number, input);
    redirect(draft.graph, updates, finish.operation);
    return finish;
  });
}

function finishOnChief(site: Site, context: RewriteContext, updates: RoundGroup, number: number): Finish {
  const chief = { ...site, device: context.devices.chiefCpu };
  const others = Array.from({ length: context.taskCount - 1 }, (_, i) => i + 1);
  const queues = { group: number, first: 0 };
  const tokens = giveTokens(chief, context, queues, others, updatesDone(site, updates).updated);
  return { group: updates, number, operation: group(site, newName(site, 'finish'), tokens), tokens };
}

function finishOnWorker(
  site: Site,
  context: RewriteContext,
  updates: RoundGroup,
  number: number,
  input: FinishInput,
): Finish {
  const { token, effects } = contribute(site, context, updates, number, input);
  const operation = group(site, newName(site, 'finish'), [token, ...effects]);
  return { group: updates, number, operation, tokens: [token] };
}

/** Makes what waited for members of the group wait for `finish` instead. */
function redirect(graph: Graph, updates: UpdateGroup, finish: Operation): void {
  const own = new Set(updates.members);
  for (const waiting of updates.waiting) {
    for (const control of [...waiting.controlInputs]) {
      if (own.has(control)) graph.removeControlInput(waiting, control);
    }
    graph.addControlInput(waiting, finish);
  }
}
