/** Rounds that a run in the background does, one after the other, while every task, the chief too, goes on with its steps. */
import { attr, attributes } from '../graph/attributes.js';
import type { Operation, Tensor } from '../graph/operation.js';
import { checkSeparate, type Separated, type SeparateInput, separate } from './background.js';
import { aggregationsOf, contribute, type FinishInput, updatesDone } from './contribute.js';
import type { Finish } from './finish.js';
import { group, newName, operation, type Site } from './make.js';
import type { Draft, RewriteContext } from './pass.js';
import { addCounters, countBeforeReads, type RoundCounters } from './round-counters.js';
import type { RoundGroup } from './synchrony.js';
import { fillTokenQueue, giveTokens, tokenQueues } from './tokens.js';

export interface BackgroundFinish {
  readonly counters: RoundCounters;
  /** On the chief: what is run in a loop; undefined on other tasks. */
  readonly run: Operation | undefined;
  /** Operations of a step that take part in rounds, beside its gradients and its token. */
  readonly counts: readonly Operation[];
  /** Operations that only that run may run. */
  readonly alone: readonly Operation[];
  /** What that run computes anew: feeding these in a step would not reach the updates. */
  readonly anew: readonly Operation[];
  /** What a task runs before its first step. */
  readonly starts: readonly Operation[];
  /** What ends the loop. */
  readonly queues: readonly Tensor[];
}

export function finishInBackground(
  site: Site,
  context: RewriteContext,
  updates: RoundGroup,
  number: number,
  input: FinishInput,
): Finish {
  const { graph } = site;
  const { token, effects } = contribute(site, context, updates, number, input);
  const counters = addCounters(site, context, number);
  const counted = counters.steps.count([token, counters.stepsNow.operation]);
  const operation = group(site, newName(site, 'finish'), [token, counted, ...effects]);
  const chief = { ...site, device: context.devices.chiefCpu };
  const queues = { group: number, first: updates.background!.staleness };
  const aggregations = aggregationsOf(updates, input);
  const loop = context.isChief
    ? runRounds(chief, context, { ...input, group: updates, number, aggregations }, counters)
    : NO_RUN;
  if (loop.give !== undefined) graph.addControlInput(token, loop.give);
  countBeforeReads(graph, updates, counters, input.closure, input.uses);
  const starts = [counters.steps.start()];
  if (context.isChief) {
    starts.push(counters.applied.start());
    for (let worker = 0; worker < context.taskCount; worker++)
      starts.push(fillTokenQueue(chief, context, queues, worker));
  }
  const all = [
    ...aggregations.flatMap((each) => each.queues ?? []),
    ...tokenQueues(chief, context, queues),
    ...(loop.queue === undefined ? [] : [loop.queue]),
  ];
  const counts = [counted, ...(loop.give === undefined ? [] : [loop.give])];
  const { run, alone, anew } = loop;
  const background = { counters, run, counts, alone, anew, starts, queues: all };
  return { group: updates, number, operation, tokens: [token], background };
}

interface RoundLoop extends Separated {
  readonly run: Operation | undefined;
}

const NO_RUN: RoundLoop = { run: undefined, give: undefined, alone: [], anew: [], queue: undefined };

/** One round: takes a gradient of each task, updates, counts, and gives every task a token. */
function runRounds(
  site: Site,
  context: RewriteContext,
  input: SeparateInput,
  { applied }: RoundCounters,
): RoundLoop {
  const { group: updates, number } = input;
  const separated = separate(site, context, input);
  const { updated, waits } = updatesDone(site, updates);
  const counted = applied.count([updated]);
  const tasks = Array.from({ length: context.taskCount }, (_, task) => task);
  const queues = { group: number, first: updates.background!.staleness };
  const tokens = giveTokens(site, context, queues, tasks, counted);
  const run = group(site, newName(site, 'round'), tokens);
  checkSeparate(site.graph, run, updates);
  return { ...separated, run, alone: [...separated.alone, ...waits, counted, ...tokens, run] };
}

/** Ends what is run in the background, rounds from whichever task: what waits in its queues is let go. May be run again. */
export function closeQueues({ graph }: Draft, context: RewriteContext, queues: readonly Tensor[]): Operation {
  const closes = queues.map((queue) => {
    const site = { graph, device: queue.operation.device, pass: 'close', source: '' };
    return operation(site, newName(site, 'close_queue'), {
      type: 'QueueCloseV2',
      inputs: [queue],
      attributes: attributes({ cancel_pending_enqueues: attr.bool(true) }),
    });
  });
  const site = { graph, device: context.devices.cpu, pass: 'close', source: '' };
  return group(site, newName(site, 'close'), closes);
}
