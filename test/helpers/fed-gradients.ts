/**
 * Programs whose gradients are what they are fed: `variable -= gradient`, variables of any shape. What a step does to a variable follows
 * from the feeds of all tasks alone, in any runtime.
 */
import { openSession } from '../../src/engine.js';
import { attr, attributes } from '../../src/graph/attributes.js';
import { encodeGraphDef } from '../../src/graph/codec/graph-def.js';
import { Graph } from '../../src/graph/graph.js';
import type { Operation } from '../../src/graph/operation.js';
import { elementCount } from '../../src/graph/shape.js';
import type { RunResult, Session } from '../../src/runtime/index.js';
import { nodesOf } from './layouts.js';
import { PATIENT_MS } from './patience.js';
import type { FileTensor } from './tensor-file.js';

export type Shapes = Readonly<Record<string, readonly number[]>>;

/** Rows of a gradient, one behind the other. */
export interface Slices {
  readonly indices: readonly number[];
  readonly values: readonly number[];
}

/** The gradients of one task in one step, by variable. */
export type Gradients = (task: number, step: number) => Readonly<Record<string, readonly number[] | Slices>>;

export interface FedOptions {
  /** Of every step, beside what trains. */
  readonly fetches?: readonly string[];
  /** Variables whose gradients are slices. */
  readonly sliced?: readonly string[];
  /** What trains which variables; one `train_op` for all if left out. */
  readonly trainOps?: Readonly<Record<string, readonly string[]>>;
}

export interface FedProgram {
  readonly graph: Uint8Array;
  /** As of openSession. */
  readonly gradients: readonly string[];
  readonly steps: number;
  readonly feeds: (task: number, step: number) => ReadonlyMap<string, FileTensor>;
  /** Fetched in every step; the training operation is among them. */
  readonly fetches: readonly string[];
  /** Variable -> the tensor that reads it. */
  readonly read: Readonly<Record<string, string>>;
}

/** Float32 variables that begin as zeros. */
export function fedProgram(
  shapes: Shapes,
  gradients: Gradients,
  steps: number,
  options: FedOptions = {},
): FedProgram {
  const names = Object.keys(shapes);
  const { fetches = [], sliced = [], trainOps = { train_op: names } } = options;
  const graph = new Graph();
  const updates = new Map(
    names.map((name) => [name, addVariable(graph, name, shapes[name]!, sliced.includes(name))]),
  );
  for (const [name, trained] of Object.entries(trainOps)) {
    graph.add({ name, type: 'NoOp', controlInputs: trained.map((variable) => updates.get(variable)!) });
  }
  return {
    graph: encodeGraphDef(graph),
    gradients: names.map((name) =>
      sliced.includes(name) ? `${name}|${name}/indices;${name}/gradient` : `${name}|${name}/gradient`,
    ),
    steps,
    feeds: (task, step) =>
      new Map(Object.entries(gradients(task, step)).flatMap(([name, given]) => feedsOf(name, given, shapes))),
    fetches: [...Object.keys(trainOps), ...fetches],
    read: Object.fromEntries(names.map((name) => [name, `${name}/read:0`])),
  };
}

function feedsOf(
  name: string,
  given: readonly number[] | Slices,
  shapes: Shapes,
): readonly (readonly [string, FileTensor])[] {
  const feed = (values: readonly number[], shape: readonly number[]) =>
    [`${name}/fed:0`, { dtype: 'float32', shape, data: Float32Array.from(values) }] as const;
  if (!('indices' in given)) return [feed(given, [given.length])];
  const { indices, values } = given;
  const data = Int32Array.from(indices);
  return [
    [`${name}/rows:0`, { dtype: 'int32', shape: [data.length], data }],
    feed(values, [data.length, ...shapes[name]!.slice(1)]),
  ];
}

function addVariable(graph: Graph, name: string, shape: readonly number[], isSliced: boolean): Operation {
  const float = attr.type('float32');
  const add = (
    part: string,
    type: string,
    inputs: readonly Operation[],
    own: Parameters<typeof attributes>[0],
  ) =>
    graph.add({
      name: part === '' ? name : `${name}/${part}`,
      type,
      inputs: inputs.map((input) => input.output()),
      attributes: attributes(own),
    });
  const constant = (part: string, data: Float32Array | Int32Array, dims: readonly number[]) => {
    const dtype = data instanceof Float32Array ? 'float32' : 'int32';
    const value = attr.tensor({ dtype, shape: dims, bytes: new Uint8Array(data.buffer) });
    return add(part, 'Const', [], { dtype: attr.type(dtype), value });
  };
  const count = elementCount(shape);
  const handle = add('', 'VarHandleOp', [], {
    dtype: float,
    shape: attr.shape(shape),
    shared_name: attr.string(name),
  });
  const zeros = constant('zeros', new Float32Array(count), shape);
  add('assign', 'AssignVariableOp', [handle, zeros], { dtype: float });
  add('read', 'ReadVariableOp', [handle], { dtype: float });
  const int = attr.type('int32');
  if (isSliced) {
    const rows = add('rows', 'Placeholder', [], { dtype: int, shape: attr.shape([-1]) });
    const fed = add('fed', 'Placeholder', [], { dtype: float, shape: attr.shape([-1, ...shape.slice(1)]) });
    const indices = add('indices', 'Identity', [rows], { T: int });
    const values = add('gradient', 'Identity', [fed], { T: float });
    return add('update', 'ResourceScatterSub', [handle, indices, values], { dtype: float, Tindices: int });
  }
  const fed = add('fed', 'Placeholder', [], { dtype: float, shape: attr.shape([count]) });
  const dims = constant('dims', Int32Array.from(shape), [shape.length]);
  const gradient = add('gradient', 'Reshape', [fed, dims], { T: float, Tshape: int });
  const one = constant('one', Float32Array.of(1), []);
  return add('update', 'ResourceApplyGradientDescent', [handle, one, gradient], { T: float });
}

/** An embedded session of the program, one replica for each task. It is not initialized. */
export function openFed({ graph, gradients }: FedProgram, strategy: string, tasks: number): Promise<Session> {
  return openSession({
    graph,
    gradients,
    resources: { nodes: nodesOf(new Array<number>(tasks).fill(1)) },
    strategy,
    deadlineMs: PATIENT_MS,
  });
}

/** Steps `from` up to, not including, `to`: what each task fetched in each. */
export async function trainFed(
  session: Session,
  { feeds, fetches }: FedProgram,
  from: number,
  to: number,
): Promise<readonly (readonly RunResult[])[]> {
  const results: (readonly RunResult[])[] = [];
  for (let step = from; step < to; step++) {
    const requests = Array.from({ length: session.taskCount }, (_, task) => ({
      feeds: Object.fromEntries(feeds(task, step)),
      fetches,
    }));
    results.push(await session.run(requests));
  }
  return results;
}

/** Numbers of both signs and all magnitudes from 2 ** -6 to 2 ** 2, none of them exact in a half type; the same for the same seed. */
export function unevenValues(seed: number, length: number): number[] {
  let state = Math.imul(seed + 1, 2_654_435_761) >>> 0;
  const next = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
  return Array.from({ length }, () => {
    const magnitude = (1 + next()) * 2 ** (Math.floor(8 * next()) - 6);
    return Math.fround(next() < 0.5 ? -magnitude : magnitude);
  });
}
