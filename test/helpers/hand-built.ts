/**
 * A graph for each of N tasks, made by hand the way the rewrite makes them: one variable `w` on task 0, every task's gradient is what is
 * fed as `x`, the chief takes the mean, applies `w -= mean` and hands out a token to everyone else. Small enough to know every result.
 */
import { attr, attributes } from '../../src/graph/attributes.js';
import { encodeGraphDef } from '../../src/graph/codec/graph-def.js';
import { Graph } from '../../src/graph/graph.js';
import type { Operation } from '../../src/graph/operation.js';
import type { TensorData } from '../../src/runtime/executor.js';
import type { EmbeddedTask } from '../../src/runtime/index.js';
import type { RunPlan } from '../../src/runtime/request.js';

export const WIDTH = 2;
const CHIEF = '/job:worker/replica:0/task:0/device:CPU:0';

export interface HandBuiltOptions {
  /** Adds operations to the graph of a task before it is encoded. */
  readonly edit?: (graph: Graph, task: number) => void;
  readonly plan?: Partial<RunPlan>;
}

export function handBuiltTasks(tasks: number, options: HandBuiltOptions = {}): EmbeddedTask[] {
  return Array.from({ length: tasks }, (_, task) => {
    const graph = new TaskGraph(task, tasks).build();
    options.edit?.(graph, task);
    return { graph: encodeGraphDef(graph), plan: { ...planOf(task), ...options.plan } };
  });
}

export function vector(...elements: number[]): TensorData {
  return { dtype: 'float32', shape: [elements.length], data: Float32Array.from(elements) };
}

/** A step of every task, task k's gradient being `gradients[k]`. */
export function trainRequests(
  gradients: readonly (readonly number[])[],
  fetches: readonly string[] = ['train_op'],
) {
  return gradients.map((gradient) => ({ feeds: { 'x:0': vector(...gradient) }, fetches }));
}

function planOf(task: number): RunPlan {
  return {
    digest: 'hand-built',
    task,
    initializers: task === 0 ? ['w/init', 'count/init'] : ['count/init'],
    feeds: {},
    fetches: {},
    notFetchable: task === 0 ? { mean: 'it takes a round', apply: 'it is part of a round' } : {},
    background: [],
  };
}

class TaskGraph {
  readonly #graph = new Graph();
  readonly #task: number;
  readonly #tasks: number;

  constructor(task: number, tasks: number) {
    this.#task = task;
    this.#tasks = tasks;
  }

  build(): Graph {
    const w = this.#variable('w', 'float32', [WIDTH], CHIEF);
    const count = this.#variable('count', 'int64', [], '');
    this.#add('AssignVariableOp', 'w/init', [w, this.#constant('w/zero', new Float32Array(WIDTH), [WIDTH])]);
    this.#add('AssignVariableOp', 'count/init', [count, this.#constant('count/zero', new BigInt64Array(1))]);
    this.#read('w/read', w, []);
    const x = this.#add('Placeholder', 'x', [], { dtype: attr.type('float32'), shape: attr.shape([WIDTH]) });
    this.#add('Identity', 'loss', [x], { T: attr.type('float32') });
    const finish = this.#synchronize(w, x);
    const one = this.#constant('count/one', BigInt64Array.of(1n));
    this.#add('AssignAddVariableOp', 'train_op', [count, one], { dtype: attr.type('int64') }, [finish]);
    return this.#graph;
  }

  #synchronize(w: Operation, x: Operation): Operation {
    const accumulator = this.#add(
      'ResourceConditionalAccumulator',
      'accumulator',
      [],
      {
        dtype: attr.type('float32'),
        shape: attr.shape([WIDTH]),
        shared_name: attr.string('w/grad_accum'),
        reduction_type: attr.string('MEAN'),
      },
      [],
      CHIEF,
    );
    const step = this.#constant('local_step', BigInt64Array.of(2n ** 63n - 1n));
    const types = { dtype: attr.type('float32') };
    const apply = this.#add('ResourceAccumulatorApplyGradient', 'apply', [accumulator, step, x], types);
    return this.#task === 0 ? this.#chief(w, accumulator, apply) : this.#token(this.#task, 'Dequeue', apply);
  }

  #chief(w: Operation, accumulator: Operation, apply: Operation): Operation {
    const required = this.#constant('required', Int32Array.of(this.#tasks));
    const types = { dtype: attr.type('float32') };
    const mean = this.#add('ResourceAccumulatorTakeGradient', 'mean', [accumulator, required], types, [
      apply,
    ]);
    const rate = this.#constant('rate', Float32Array.of(1));
    const update = this.#add('ResourceApplyGradientDescent', 'update', [w, rate, mean], {
      T: attr.type('float32'),
    });
    const tokens = Array.from({ length: this.#tasks - 1 }, (_, i) => this.#token(i + 1, 'Enqueue', update));
    return this.#add('NoOp', 'finish', [], {}, [update, ...tokens]);
  }

  #token(task: number, kind: 'Enqueue' | 'Dequeue', after: Operation): Operation {
    const queue = this.#add(
      'FIFOQueueV2',
      `token_${task}`,
      [],
      {
        component_types: attr.list([attr.type('bool')]),
        shapes: attr.list([attr.shape([])]),
        capacity: attr.int(1),
        shared_name: attr.string(`token_${task}`),
      },
      [],
      CHIEF,
    );
    const inputs = kind === 'Enqueue' ? [queue, this.#constant(`true_${task}`, Uint8Array.of(1))] : [queue];
    return this.#add(`Queue${kind}V2`, `${kind}_${task}`, inputs, {}, [after]);
  }

  #variable(name: string, dtype: 'float32' | 'int64', shape: readonly number[], device: string): Operation {
    const attrs = { dtype: attr.type(dtype), shape: attr.shape(shape), shared_name: attr.string(name) };
    return this.#add('VarHandleOp', name, [], attrs, [], device);
  }

  #read(name: string, variable: Operation, after: readonly Operation[]): Operation {
    return this.#add('ReadVariableOp', name, [variable], { dtype: attr.type('float32') }, after);
  }

  #constant(
    name: string,
    data: Float32Array | Int32Array | BigInt64Array | Uint8Array,
    shape: readonly number[] = [],
  ): Operation {
    const dtype =
      data instanceof Float32Array
        ? 'float32'
        : data instanceof Int32Array
          ? 'int32'
          : data instanceof BigInt64Array
            ? 'int64'
            : 'bool';
    const value = { dtype, shape, bytes: new Uint8Array(data.buffer) } as const;
    return this.#add('Const', name, [], { dtype: attr.type(dtype), value: attr.tensor(value) });
  }

  #add(
    type: string,
    name: string,
    inputs: readonly Operation[] = [],
    attrs: Parameters<typeof attributes>[0] = {},
    controlInputs: readonly Operation[] = [],
    device = '',
  ): Operation {
    return this.#graph.add({
      type,
      name,
      inputs: inputs.map((input) => input.output()),
      attributes: attributes(attrs),
      controlInputs,
      device,
    });
  }
}
