/**
 * Lowering: a graph without calls of functions, that does the same. While, If and PartitionedCall become operations of the graph they stand
 * in, as TensorFlow's own runtime makes them, so that plans know one kind of loop and one kind of branch.
 */
import { GradsyncError } from '../../../errors.js';
import { functionsOf } from '../../../graph/codec/function-library.js';
import { decodeGraphDef } from '../../../graph/codec/graph-def.js';
import type { GraphFunction } from '../../../graph/function.js';
import type { Graph } from '../../../graph/graph.js';
import type { Operation } from '../../../graph/operation.js';
import { lowerIf } from './branch.js';
import { calledFunction, inline, typesOf } from './inline.js';
import { lowerWhile } from './loop.js';
import { make, replaceCall } from './make.js';

type Functions = ReadonlyMap<string, GraphFunction>;
/** Puts what a call does in its place; gives the operations of the functions' bodies. */
type Lower = (graph: Graph, call: Operation, functions: Functions) => readonly Operation[];

const CALLS: Readonly<Record<string, Lower>> = {
  PartitionedCall: lowerCall,
  StatefulPartitionedCall: lowerCall,
  If: lowerIf,
  StatelessIf: lowerIf,
  While: lowerWhile,
  StatelessWhile: lowerWhile,
};

/** Functions that call each other deeper than any program does call themselves. */
const DEEPEST = 100;

/** The graph of a task as its thread runs it. */
export function openTaskGraph(bytes: Uint8Array): Graph {
  const graph = decodeGraphDef(bytes);
  lowerCalls(graph);
  return graph;
}

/** Edits the graph. */
function lowerCalls(graph: Graph): void {
  let calls = [...graph.operations()].filter(isCall);
  if (calls.length === 0) return;
  const functions = functionsOf(graph);
  for (let depth = 0; calls.length > 0; depth++) {
    if (depth === DEEPEST) throw endless(calls[0]!);
    calls = calls.flatMap((call) => CALLS[call.type]!(graph, call, functions)).filter(isCall);
  }
}

function isCall({ type }: Operation): boolean {
  return Object.hasOwn(CALLS, type);
}

function lowerCall(graph: Graph, call: Operation, functions: Functions): readonly Operation[] {
  const { controlInputs: controls, inputs } = call;
  const first =
    controls.length === 0
      ? undefined
      : make(graph, call, { type: 'NoOp', name: 'begin', inputs: [], controls });
  const { results, effects, operations } = inline(graph, calledFunction(functions, call, 'f'), {
    call,
    inputs,
    first,
  });
  const types = typesOf(call.attributes, 'Tout');
  const found = results.map((tensor, i) => ({ tensor, dtype: types[i] ?? 'float32' }) as const);
  replaceCall(graph, call, found, effects);
  return operations;
}

function endless({ name, type }: Operation): GradsyncError {
  return new GradsyncError('UNIMPLEMENTED', `Operation "${name}" (${type})`, {
    expected: 'functions that do not call themselves',
    received: `calls that are ${DEEPEST} deep`,
    remedy: 'write the recursion as a loop',
    operation: name,
  });
}
