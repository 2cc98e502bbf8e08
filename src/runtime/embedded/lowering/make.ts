/** What lowering makes in place of a call: small operations of branches and loops, and the place where its results come together. */
import { type AttrValue, attr, attributes } from '../../../graph/attributes.js';
import type { DType } from '../../../graph/dtype.js';
import type { Graph } from '../../../graph/graph.js';
import { joinName } from '../../../graph/name.js';
import type { Operation, Tensor } from '../../../graph/operation.js';

export interface Made {
  readonly type: string;
  /** What it is called below the call's own name. */
  readonly name: string;
  readonly inputs: readonly Tensor[];
  readonly dtype?: DType | undefined;
  readonly controls?: readonly Operation[];
  readonly more?: Readonly<Record<string, AttrValue>>;
}

export function make(graph: Graph, call: Operation, made: Made): Operation {
  return graph.add({
    name: graph.uniqueName(joinName(call.name, made.name)),
    type: made.type,
    inputs: made.inputs,
    controlInputs: made.controls ?? [],
    device: call.device,
    attributes: attributes({ ...(made.dtype && { T: attr.type(made.dtype) }), ...made.more }),
  });
}

/** Puts an operation in the place and under the name of a call that hands out `results` when `after` has run. */
export function replaceCall(
  graph: Graph,
  call: Operation,
  results: readonly { readonly tensor: Tensor; readonly dtype: DType }[],
  after: readonly Operation[],
): void {
  const { name, device } = call;
  const consumers = call.outputs.flatMap((output, index) =>
    [...(output?.consumers ?? [])].map((consumer) => ({ consumer, output: output!, index })),
  );
  const waiting = [...call.controlConsumers];
  for (const { consumer, output, index } of consumers)
    graph.replaceInput(output, results[index]!.tensor, [consumer]);
  for (const operation of waiting) graph.removeControlInput(operation, call);
  const places = consumers.map(({ consumer, index }) => ({
    consumer,
    index,
    from: results[index]!.tensor,
  }));
  graph.remove(call);
  const place = graph.add({
    name,
    type: results.length === 0 ? 'NoOp' : 'IdentityN',
    inputs: results.map(({ tensor }) => tensor),
    controlInputs: after,
    device,
    attributes: attributes({ T: attr.list(results.map(({ dtype }) => attr.type(dtype))) }),
  });
  for (const { consumer, index, from } of places) graph.replaceInput(from, place.output(index), [consumer]);
  for (const operation of waiting) graph.addControlInput(operation, place);
}
