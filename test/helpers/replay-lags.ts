/**
 * What training with staleness must come to, given how stale each read was: round t is the mean of all workers' gradients of step t, each
 * computed from the variables as they were `lag` rounds before t, applied once and in order. One task of the original program computes it: its
 * variables are set back for each gradient, and the mean is fed in place of the program's own gradients.
 */
import { readFileSync } from 'node:fs';
import { decodeGraphFile, encodeGraphDef } from '../../src/graph/index.js';
import { EmbeddedExecutor } from '../../src/runtime/embedded/executor.js';
import type { TensorData, VariableInfo } from '../../src/runtime/executor.js';
import { type Fixture, type FixtureGradient, graphPath, readFeeds } from './fixtures.js';

type State = ReadonlyMap<VariableInfo, TensorData>;
/** Values of a gradient's tensors, by name. */
type Gradients = ReadonlyMap<string, TensorData>;

/** `lags[task][step]`; a task has no part in rounds for which it has none. The variables after as many rounds as there are steps, by name. */
export async function replayLags(
  fixture: Fixture,
  lags: readonly (readonly (number | undefined)[])[],
): Promise<ReadonlyMap<string, TensorData>> {
  const graph = encodeGraphDef(decodeGraphFile(readFileSync(graphPath(fixture))).graph);
  const executor = await EmbeddedExecutor.open({ graphs: [graph] });
  try {
    return await new Replay(executor, fixture).run(lags);
  } finally {
    await executor.close();
  }
}

/** Moving averages of batch norm. */
const OF_OWN_DATA = /(^|\/)moving_(mean|variance)$/;

class Replay {
  readonly #executor: EmbeddedExecutor;
  readonly #fixture: Fixture;

  constructor(executor: EmbeddedExecutor, fixture: Fixture) {
    this.#executor = executor;
    this.#fixture = fixture;
  }

  async run(lags: readonly (readonly (number | undefined)[])[]): Promise<ReadonlyMap<string, TensorData>> {
    const shareOf = readFeeds(this.#fixture);
    await this.#run([this.#fixture.init], [], new Map());
    const states = [this.#state()];
    const steps = Math.max(...lags.map(({ length }) => length));
    for (let step = 0; step < steps; step++) {
      const gradients: Gradients[] = [];
      for (const [task, ofTask] of lags.entries()) {
        const lag = ofTask[step];
        if (lag === undefined) continue;
        this.#setBack(states[step - lag]!);
        gradients.push(await this.#gradients(shareOf(task, step)));
      }
      this.#setBack(states[step]!);
      // What the mean does not decide is the chief's, of its own data.
      const hasData = lags[0]![step] !== undefined;
      const shown = shareOf(hasData ? 0 : lags.findIndex((ofTask) => ofTask[step] !== undefined), step);
      const fed = new Map([...shown, ...meanOf(gradients, this.#fixture)]);
      await this.#run([this.#fixture.trainOp], [], fed);
      if (!hasData) this.#setBack(new Map([...states[step]!].filter(([{ name }]) => OF_OWN_DATA.test(name))));
      states.push(this.#state());
    }
    return new Map([...states.at(-1)!].map(([{ name }, value]) => [name, value]));
  }

  #state(): State {
    const state = new Map<VariableInfo, TensorData>();
    for (const variable of this.#executor.variables[0]!) {
      const value = this.#executor.readVariable(variable);
      if (value !== undefined) state.set(variable, value);
    }
    return state;
  }

  #setBack(state: State): void {
    for (const [variable, value] of state) this.#executor.writeVariable(variable, value);
  }

  async #gradients(feeds: ReadonlyMap<string, TensorData>): Promise<Gradients> {
    const names = Object.values(this.#fixture.gradients).flatMap(tensorsOf);
    const values = await this.#run([], names, feeds);
    return new Map(names.map((name, i) => [name, values[i]!]));
  }

  async #run(
    operations: readonly string[],
    tensors: readonly string[],
    feeds: ReadonlyMap<string, TensorData>,
  ): Promise<readonly TensorData[]> {
    const request = { feeds: [...feeds.keys()], tensors, operations, guarded: [] };
    const { id } = await this.#executor.prepare(0, request);
    // What is fed is taken over.
    const values = [...feeds.values()].map(({ dtype, shape, data }) => ({
      dtype,
      shape,
      data: data.slice() as TensorData['data'],
    }));
    return this.#executor.run(0, id, values);
  }
}

function tensorsOf(gradient: FixtureGradient): readonly string[] {
  return 'dense' in gradient ? [gradient.dense] : [gradient.indices, gradient.values];
}

/** Dense: the sum in the order of the workers, divided by their number. Sparse: all slices in that order, so divided. */
function meanOf(all: readonly Gradients[], { gradients }: Fixture): Gradients {
  const mean = new Map<string, TensorData>();
  for (const gradient of Object.values(gradients)) {
    if ('dense' in gradient) {
      mean.set(gradient.dense, sumOver(all.map((each) => each.get(gradient.dense)!)));
      continue;
    }
    const { indices, values } = gradient;
    mean.set(indices, joined(all.map((each) => each.get(indices)!)));
    const rows = joined(all.map((each) => each.get(values)!));
    mean.set(values, { ...rows, data: (rows.data as Float32Array).map((value) => value / all.length) });
  }
  return mean;
}

function sumOver(values: readonly TensorData[]): TensorData {
  const sum = (values[0]!.data as Float32Array).slice();
  for (const { data } of values.slice(1)) {
    for (const [i, value] of (data as Float32Array).entries()) sum[i] = Math.fround(sum[i]! + value);
  }
  return { ...values[0]!, data: sum.map((value) => value / values.length) };
}

function joined(parts: readonly TensorData[]): TensorData {
  const [first] = parts;
  const size = parts.reduce((sum, { data }) => sum + data.length, 0);
  const data = new (first!.data.constructor as Float32ArrayConstructor)(size);
  let at = 0;
  for (const part of parts) {
    data.set(part.data as Float32Array, at);
    at += part.data.length;
  }
  const rows = parts.reduce((sum, { shape }) => sum + shape[0]!, 0);
  return { ...first!, shape: first!.shape.with(0, rows), data };
}
