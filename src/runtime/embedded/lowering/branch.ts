/** If: both branches in the graph, with a Switch before each input and a Merge behind each result. */
import { GradsyncError } from '../../../errors.js';
import { attr } from '../../../graph/attributes.js';
import type { GraphFunction } from '../../../graph/function.js';
import type { Graph } from '../../../graph/graph.js';
import type { Operation, Tensor } from '../../../graph/operation.js';
import { calledFunction, type Inlined, inline, typesOf } from './inline.js';
import { make, replaceCall } from './make.js';

type Functions = ReadonlyMap<string, GraphFunction>;

/** Gives the operations that were made of the branches' bodies. */
export function lowerIf(graph: Graph, call: Operation, functions: Functions): readonly Operation[] {
  const [predicate, ...inputs] = call.inputs as [Tensor, ...Tensor[]];
  checkPredicate(call);
  const types = typesOf(call.attributes, 'Tin');
  const controls = call.controlInputs;
  const choose = make(graph, call, {
    type: 'Switch',
    name: 'choose',
    inputs: [predicate, predicate],
    dtype: 'bool',
    controls,
  });
  const sides = inputs.map((input, i) =>
    make(graph, call, {
      type: 'Switch',
      name: `input_${i}`,
      inputs: [input, predicate],
      dtype: types[i],
      controls,
    }),
  );
  const side = (index: 0 | 1, attribute: string): Side => {
    const pivot = make(graph, call, {
      type: 'Identity',
      name: attribute,
      inputs: [choose.output(index)],
      dtype: 'bool',
    });
    const body = calledFunction(functions, call, attribute);
    const given = sides.map((each) => each.output(index));
    return { pivot, body: inline(graph, body, { call, inputs: given, first: pivot }) };
  };
  const branches = [side(0, 'else_branch'), side(1, 'then_branch')];
  const results = typesOf(call.attributes, 'Tout').map((dtype, i) => {
    const parts = branches.map(({ body }) => body.results[i]!);
    return { tensor: merge(graph, call, `result_${i}`, parts, dtype).output(), dtype };
  });
  const ends = branches.map(({ pivot, body }) =>
    make(graph, call, {
      type: 'Identity',
      name: 'taken',
      inputs: [pivot.output()],
      dtype: 'bool',
      controls: body.effects,
    }).output(),
  );
  replaceCall(graph, call, results, [merge(graph, call, 'done', ends, 'bool')]);
  return branches.flatMap(({ body }) => body.operations);
}

interface Side {
  readonly pivot: Operation;
  readonly body: Inlined;
}

function merge(
  graph: Graph,
  call: Operation,
  name: string,
  inputs: readonly Tensor[],
  dtype: Parameters<typeof attr.type>[0],
): Operation {
  return make(graph, call, { type: 'Merge', name, inputs, dtype, more: { N: attr.int(inputs.length) } });
}

/** TensorFlow also takes numbers, for which anything but 0 is true. */
function checkPredicate(call: Operation): void {
  const dtype = call.attributes.get('Tcond');
  if (dtype?.kind !== 'type' || dtype.value === 'bool') return;
  throw new GradsyncError('UNIMPLEMENTED', `Operation "${call.name}" (${call.type})`, {
    expected: 'a condition of bool',
    received: dtype.value,
    remedy: 'compare it with 0 in the program',
    operation: call.name,
  });
}
