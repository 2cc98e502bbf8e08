/** While: condition and body in the graph, as the frame of a loop. Handles do not change from one iteration to the next. */
import { GradsyncError } from '../../../errors.js';
import { attr } from '../../../graph/attributes.js';
import type { DType } from '../../../graph/dtype.js';
import type { GraphFunction } from '../../../graph/function.js';
import type { Graph } from '../../../graph/graph.js';
import type { Operation, Tensor } from '../../../graph/operation.js';
import { calledFunction, type Inlined, inline, typesOf } from './inline.js';
import { make, replaceCall } from './make.js';

type Functions = ReadonlyMap<string, GraphFunction>;

/** A variable of the loop; a handle is let in, and no more. */
interface LoopVariable {
  readonly dtype: DType;
  readonly input: Tensor;
  readonly enter: Operation;
  readonly merge?: Operation;
}

/** Gives the operations that were made of condition and body. */
export function lowerWhile(graph: Graph, call: Operation, functions: Functions): readonly Operation[] {
  const variables = letIn(graph, call);
  const merges = variables.flatMap(({ merge }) => merge ?? []);
  const [first] = merges;
  if (first === undefined) throw noVariable(call);
  const begin = variables.map(({ enter, merge }) => (merge ?? enter).output());
  const condition = inline(graph, calledFunction(functions, call, 'cond'), { call, inputs: begin, first });
  const goesOn = make(graph, call, {
    type: 'LoopCond',
    name: 'goes_on',
    inputs: [condition.results[0]!],
    controls: condition.effects,
  }).output();
  const sides = variables.map(({ dtype, merge }, i) =>
    merge === undefined
      ? undefined
      : make(graph, call, { type: 'Switch', name: `side_${i}`, inputs: [merge.output(), goesOn], dtype }),
  );
  const [taken] = sides.filter((side) => side !== undefined);
  const pivot = make(graph, call, { type: 'Identity', name: 'again', inputs: [taken!.output(1)] });
  const inputs = variables.map(({ enter }, i) => sides[i]?.output(1) ?? enter.output());
  const body = inline(graph, calledFunction(functions, call, 'body'), { call, inputs, first: pivot });
  closeLoop(graph, call, variables, body);
  const exits = variables.map(({ dtype, input }, i) => {
    const side = sides[i];
    const made = { type: 'Exit', name: `exit_${i}`, dtype };
    const tensor =
      side === undefined ? input : make(graph, call, { ...made, inputs: [side.output(0)] }).output();
    return { tensor, dtype };
  });
  const left = exits.filter((_, i) => sides[i] !== undefined).map(({ tensor }) => tensor.operation);
  replaceCall(graph, call, exits, left);
  return [...condition.operations, ...body.operations];
}

function letIn(graph: Graph, call: Operation): LoopVariable[] {
  const types = typesOf(call.attributes, 'T');
  return call.inputs.map((input, i) => {
    const dtype = types[i] ?? 'float32';
    const isHandle = dtype === 'resource';
    const enter = make(graph, call, {
      type: 'Enter',
      name: `enter_${i}`,
      inputs: [input],
      dtype,
      controls: call.controlInputs,
      more: { frame_name: attr.string(call.name), is_constant: attr.bool(isHandle) },
    });
    if (isHandle) return { dtype, input, enter };
    const inputs = [enter.output(), enter.output()];
    const merge = make(graph, call, {
      type: 'Merge',
      name: `merge_${i}`,
      inputs,
      dtype,
      more: { N: attr.int(2) },
    });
    return { dtype, input, enter, merge };
  });
}

function closeLoop(graph: Graph, call: Operation, variables: readonly LoopVariable[], body: Inlined): void {
  variables.forEach(({ dtype, enter, merge }, i) => {
    const result = body.results[i]!;
    if (merge === undefined) {
      if (result !== enter.output()) throw changingHandle(call, i);
      return;
    }
    const controls = body.effects;
    const next = make(graph, call, {
      type: 'NextIteration',
      name: `next_${i}`,
      inputs: [result],
      dtype,
      controls,
    });
    graph.setInput(merge, 1, next.output());
  });
}

function noVariable(call: Operation): GradsyncError {
  return new GradsyncError('UNIMPLEMENTED', `Operation "${call.name}" (${call.type})`, {
    expected: 'a loop with a variable that is no handle',
    received: 'handles alone',
    remedy: 'count the iterations in a loop variable',
    operation: call.name,
  });
}

function changingHandle(call: Operation, index: number): GradsyncError {
  return new GradsyncError('UNIMPLEMENTED', `Operation "${call.name}" (${call.type})`, {
    expected: 'a loop that goes on with the handles it began with',
    received: `another handle as variable ${index}`,
    remedy: 'run this graph on TensorFlow',
    operation: call.name,
  });
}
