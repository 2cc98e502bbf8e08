/** Prints what a rewriting decided, for people: variables, feeds, fetches, placement, and the strategy as JSON to start one's own from. */
import type { TransformResult } from '../engine.js';
import { printStrategy } from '../strategy/codec.js';
import { type Row, section } from './section.js';

export function explain({ plan, strategy, operations }: TransformResult): string {
  const variables = Object.entries(plan.variables).map(
    ([name, { gradient, sparseForm, synchronizer, devices, bytes, sparseFormReason }]): Row => [
      name,
      sparseForm === null ? gradient : `${gradient} (${sparseForm})`,
      `${bytes} bytes`,
      synchronizer,
      devices.join(' '),
      sparseFormReason ?? '',
    ],
  );
  const feeds = Object.entries(plan.feeds).map(
    ([name, { tensors, split }]): Row => [
      name,
      split === null ? 'whole' : `split along axis ${split}`,
      tensors.join(' '),
    ],
  );
  const fetches = Object.entries(plan.fetches).map(
    ([name, fetch]): Row => [
      name,
      'tensors' in fetch ? fetch.combine : 'run',
      ('tensors' in fetch ? fetch.tensors : fetch.operations).join(' '),
    ],
  );
  const refused = Object.entries(plan.notFetchable).map(([name, why]): Row => [name, why]);
  const placement = Object.entries(plan.placement).map(([name, { device, why }]): Row => [name, device, why]);
  return [
    `task ${plan.task} of ${plan.cluster.worker.length} (${plan.cluster.worker.join(', ')})\n`,
    `digest ${plan.digest}\n`,
    section('variables', variables),
    section('feeds', feeds),
    section('fetches; all other names stand for themselves', fetches),
    section('not to be fetched alone', refused),
    section('shared operations', placement),
    section(
      'operations of the graph that was read',
      operations.map((name) => [name]),
    ),
    `\nstrategy\n${printStrategy(strategy)}`,
  ].join('');
}
