/**
 * Splits one variable, with what its optimizer keeps for it: every operation that uses them gets a counterpart on the shards, and the
 * originals are taken out of the graph. Reads keep their names: they put the whole together for who takes it.
 */
import { attr } from '../../graph/attributes.js';
import type { DType } from '../../graph/dtype.js';
import { baseName } from '../../graph/name.js';
import { updateRule } from '../../graph/op-catalog.js';
import type { Operation, Tensor } from '../../graph/operation.js';
import type { Variable } from '../../graph/training-graph.js';
import { isGather } from '../gathering.js';
import { constant, group, newName, operation } from '../make.js';
import { replaceOperation } from '../replace.js';
import type { Checkpoints } from './checkpoints.js';
import { described, notSplittable } from './errors.js';
import { canGather, splitGather } from './gather.js';
import { PASS, type Shards } from './shards.js';
import { ASKS, findUsers, type Users } from './users.js';

export class Splitter {
  readonly #shards: Shards;
  readonly #checkpoints: Checkpoints;
  /** Operations that initialize or restore: they stay fetchable as one. */
  readonly #named = new Set<Operation>();
  /** What was put together for operations that may turn out to be needed no more. */
  readonly #joined: Operation[];
  /** What stands in the place of reads, whether anything takes it or not. */
  readonly #reads = new Set<Operation>();

  /** `joined`: the gradient, put together. */
  constructor(shards: Shards, checkpoints: Checkpoints, joined: readonly Operation[]) {
    this.#shards = shards;
    this.#checkpoints = checkpoints;
    this.#joined = [...joined];
  }

  run(): void {
    const shards = this.#shards;
    const { cut, uses } = shards;
    const all = [...shards.members].map((member) => [member, findUsers(member, cut.axis, uses)] as const);
    for (const [member, { changes }] of all) for (const change of changes) this.#copyChange(change, member);
    for (const [member, users] of all) this.#copyReads(member, users);
    for (const joined of [...this.#joined]) this.#splitNorms(joined.output());
    for (const [member, users] of all) this.#retireUsers(member, users);
    for (const original of shards.copied()) this.#moveWaiting(original);
    this.#removeUnused();
  }

  #copyChange(change: Operation, member: Variable): void {
    const { gradient, kind } = updateRule(change.type)!;
    const shards = this.#shards;
    const value = change.inputs[gradient]!;
    const restored =
      kind === 'assign' && this.#checkpoints.restored(value, shards.cut, shards.pieces.site, member.dtype);
    if (restored) shards.give(value, restored);
    const isFetched = change.controlConsumers.size === 0 && (change.outputs[0]?.consumers.size ?? 0) === 0;
    if (restored || change === member.initializer || isFetched) this.#named.add(change);
    shards.copy(change);
  }

  /** Reads, and what is taken from them in parts. */
  #copyReads(member: Variable, { reads, others, carriers }: Users): void {
    const shards = this.#shards;
    for (const read of reads) {
      shards.copy(read);
      for (const taker of [...read.output().consumers]) this.#splitTaker(taker, read.output(), member);
    }
    for (const user of others) {
      if (ASKS.test(user.type)) this.#splitQuestion(user, member);
      for (const { outputs } of carriers) {
        const [output] = outputs;
        if (output !== undefined && user.inputs.includes(output)) this.#splitTaker(user, output, member);
      }
    }
  }

  /** One that takes the handle, or the value. */
  #splitTaker(taker: Operation, value: Tensor, member: Variable): void {
    const shards = this.#shards;
    if (taker.type === 'Shape' || taker.type === 'VariableShape') {
      this.#replaceShape(taker);
    } else if (taker.type === 'SaveV2') {
      for (const [position, input] of taker.inputs.entries()) {
        if (input === value) this.#checkpoints.save(taker, position, shards.cut, shards.partsOf(value));
      }
    } else if (isGather(taker) && taker.inputs[0] === value) {
      if (shards.runsPerShard(taker)) this.#retire(taker, member.dtype, 0);
      else if (canGather(taker, shards)) splitGather(shards, taker, shards.partsOf(value), member.dtype);
      else if (member.kind === 'resource') throw batchedGather(member, taker);
    }
  }

  /** The answer for all shards together. */
  #splitQuestion(question: Operation, member: Variable): void {
    const { graph, pieces } = this.#shards;
    const node = {
      type: question.type,
      attributes: question.attributes.with({ _output_shapes: undefined, _class: undefined }),
    };
    const answers = this.#shards.handlesOf(member).map((handle, shard) =>
      operation(this.#siteOf(shard, question), this.#nameOf(shard, question), {
        ...node,
        inputs: [handle.output()],
      }).output(),
    );
    const and = (name: string, a: Tensor, b: Tensor): Operation =>
      operation(pieces.site, name, { type: 'LogicalAnd', inputs: [a, b] });
    const [last, ...first] = answers.reverse();
    const others = first.reduce((a, b) => and(newName(pieces.site, 'initialized'), a, b).output());
    replaceOperation(graph, question, others, (name) => and(name, others, last!));
  }

  #siteOf(shard: number, { device }: Operation) {
    return { ...this.#shards.siteOf(shard), device };
  }

  #nameOf(shard: number, { name }: Operation): string {
    return newName(this.#shards.siteOf(shard), baseName(name));
  }

  /** The shape is known: the whole need not be read for it. */
  #replaceShape(asked: Operation): void {
    const { graph, cut, pieces } = this.#shards;
    const out = asked.attributes.get('out_type');
    const dtype = out?.kind === 'type' && out.value === 'int64' ? 'int64' : 'int32';
    const make = (name: string): Operation =>
      constant({ ...pieces.site, device: asked.device }, name, dtype, cut.shape, [cut.shape.length])
        .operation;
    const standIn = pieces.number('shape', cut.shape, dtype, [cut.shape.length]);
    replaceOperation(graph, asked, standIn, make);
    graph.remove(standIn.operation);
  }

  /** Half the sum of squares, as clipping by the global norm asks for: that of each shard, added up. */
  #splitNorms(whole: Tensor): void {
    const { graph, pieces } = this.#shards;
    for (const norm of [...whole.consumers].filter(({ type }) => type === 'L2Loss')) {
      const values = norm.attributes.with({ _class: undefined });
      const parts = this.#shards.partsOf(whole).map((part, shard) =>
        operation(this.#siteOf(shard, norm), this.#nameOf(shard, norm), {
          type: 'L2Loss',
          inputs: [part],
          after: norm.controlInputs,
          attributes: values,
        }).output(),
      );
      const node = { type: 'AddN', inputs: parts, attributes: values.with({ N: attr.int(parts.length) }) };
      replaceOperation(graph, norm, parts[0]!, (name) =>
        operation({ ...pieces.site, device: norm.device }, name, node),
      );
    }
  }

  #retireUsers(member: Variable, { carriers, changes, reads }: Users): void {
    const { graph } = this.#shards;
    for (const change of changes) this.#retire(change, member.dtype);
    for (const read of reads) this.#keepRead(read, member.dtype);
    for (const carrier of [...carriers].reverse()) {
      if (carrier !== member.handle && graph.has(carrier)) this.#retire(carrier, member.dtype);
    }
    if (member.kind === 'reference') this.#keepRead(member.handle, member.dtype);
    else graph.remove(member.handle);
  }

  /**
   * A read, or a reference, becomes the parts put together, under its name. One that waits for something is a step of the update, and needed
   * only as long as something takes it; others people fetch.
   */
  #keepRead(read: Operation, dtype: DType): void {
    const shards = this.#shards;
    this.#moveWaiting(read);
    const parts = shards.partsOf(read.output());
    const isStep = read.controlInputs.length > 0 && (read.outputs[0]?.consumers.size ?? 0) > 0;
    const whole = replaceOperation(shards.graph, read, parts[0]!, (name) => shards.whole(parts, name, dtype));
    if (isStep) this.#joined.push(whole);
    else this.#reads.add(whole);
  }

  /** Takes out an operation that has copies; who still takes its output, takes theirs put together. */
  #retire(original: Operation, dtype: DType, axis?: number): void {
    const shards = this.#shards;
    const { graph, pieces } = shards;
    const copies = shards.copy(original);
    if ((original.outputs[0]?.consumers.size ?? 0) > 0) {
      const parts = copies.map((copy) => copy.output());
      const whole = shards.whole(parts, newName(pieces.site, baseName(original.name)), dtype, axis);
      graph.replaceInput(original.output(), whole.output());
      this.#joined.push(whole);
    }
    if (this.#named.has(original)) {
      const waiting = [...original.controlConsumers];
      for (const each of waiting) graph.removeControlInput(each, original);
      graph.remove(original);
      const all = group({ ...pieces.site, device: original.device }, original.name, copies);
      for (const each of waiting) graph.addControlInput(each, all);
    } else {
      this.#moveWaiting(original);
      graph.remove(original);
    }
  }

  /** What waits for an original waits for its copies. */
  #moveWaiting(original: Operation): void {
    const { graph } = this.#shards;
    const copies = this.#shards.copiesOf(original);
    if (copies === undefined || !graph.has(original)) return;
    for (const waiting of [...original.controlConsumers]) {
      graph.removeControlInput(waiting, original);
      for (const copy of copies) graph.addControlInput(waiting, copy);
    }
  }

  /** Originals and joined tensors that nothing takes any more, and what is there for these alone. */
  #removeUnused(): void {
    const { graph } = this.#shards;
    const copied = new Set(this.#shards.copied());
    const queue = [...copied, ...this.#joined];
    const kept = (each: Operation): boolean => !copied.has(each) && each.origin?.pass !== PASS;
    for (const unused of queue) {
      const isUsed =
        unused.controlConsumers.size > 0 || unused.outputs.some((output) => output?.consumers.size);
      if (isUsed || !graph.has(unused)) continue;
      const producers = unused.inputs.map((input) => input.operation);
      graph.remove(unused);
      for (const producer of producers)
        if (!kept(producer) && !this.#reads.has(producer)) queue.push(producer);
    }
  }
}

function batchedGather(variable: Variable, gather: Operation) {
  return notSplittable(variable, 'gathers without batch dimensions', described(gather), gather);
}
