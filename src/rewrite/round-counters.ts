/**
 * What is counted where rounds are run in the background: how many are applied, and how many steps each task has contributed. The difference,
 * read before a step reads the variables, is the lag of its reads: none of them misses more rounds.
 */
import { attr, attributes } from '../graph/attributes.js';
import type { Graph } from '../graph/graph.js';
import type { Operation, Tensor } from '../graph/operation.js';
import type { Closure } from './closure.js';
import { gradientTensors } from './gradient-region.js';
import { constant, newName, operation, type Site } from './make.js';
import type { RewriteContext } from './pass.js';
import { roundsName, stepsName } from './shared-objects.js';
import type { RoundGroup } from './synchrony.js';
import type { VariableUses } from './variable-uses.js';
import { ancestors } from './walk.js';

const INT64 = attr.type('int64');

export interface RoundCounters {
  readonly applied: Counter;
  readonly steps: Counter;
  /** Reads of both; `applied` first of all that a step reads. */
  readonly appliedNow: Tensor;
  readonly stepsNow: Tensor;
  readonly lag: Tensor;
}

/** `site` is on the task's CPU. */
export function addCounters(site: Site, context: RewriteContext, number: number): RoundCounters {
  const chief = { ...site, device: context.devices.chiefCpu };
  const applied = new Counter(chief, context.digest, 'rounds', roundsName(number));
  const steps = new Counter(site, context.digest, 'steps', stepsName(number));
  const appliedNow = applied.read();
  const stepsNow = steps.read();
  const lag = operation(site, newName(site, 'lag'), {
    type: 'Sub',
    inputs: [stepsNow, appliedNow],
    attributes: attributes({ T: INT64 }),
  }).output();
  return { applied, steps, appliedNow, stepsNow, lag };
}

/** An int64 variable. */
export class Counter {
  readonly handle: Operation;
  readonly #site: Site;
  readonly #name: string;

  constructor(site: Site, digest: string, name: string, sharedName: string) {
    this.#site = site;
    this.#name = name;
    this.handle = operation(site, newName(site, name), {
      type: 'VarHandleOp',
      attributes: attributes({
        dtype: INT64,
        shape: attr.shape([]),
        container: attr.string(digest),
        shared_name: attr.string(sharedName),
      }),
    });
  }

  read(): Tensor {
    const node = { type: 'ReadVariableOp', inputs: [this.handle.output()] };
    return operation(this.#site, newName(this.#site, this.#name, 'read'), {
      ...node,
      attributes: attributes({ dtype: INT64 }),
    }).output();
  }

  start(): Operation {
    return this.#change('start', 'AssignVariableOp', 0, []);
  }

  count(after: readonly Operation[]): Operation {
    return this.#change('count', 'AssignAddVariableOp', 1, after);
  }

  #change(how: string, type: string, value: number, after: readonly Operation[]): Operation {
    const site = this.#site;
    const operand = constant(site, newName(site, this.#name, how, 'value'), 'int64', [value]);
    return operation(site, newName(site, this.#name, how), {
      type,
      inputs: [this.handle.output(), operand],
      after,
      attributes: attributes({ dtype: INT64 }),
    });
  }
}

/** Makes all reads of shared variables on the way to the group's gradients wait until the applied rounds are read. */
export function countBeforeReads(
  graph: Graph,
  { pairs }: RoundGroup,
  { appliedNow }: RoundCounters,
  { members, shared }: Pick<Closure, 'members' | 'shared'>,
  uses: VariableUses,
): void {
  const roots = pairs.flatMap((pair) => gradientTensors(pair).map((tensor) => tensor.operation));
  const forward = ancestors(graph, roots);
  for (const variable of shared) {
    for (const holder of uses.holdersOf(variable)) {
      const reads =
        forward.has(holder) &&
        !members.has(holder) &&
        uses.variableOf(holder.output()) === undefined &&
        uses.mutatedBy(holder).length === 0;
      if (reads) graph.addControlInput(holder, appliedNow.operation);
    }
  }
}
