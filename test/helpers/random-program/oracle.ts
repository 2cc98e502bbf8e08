/**
 * What a random training must come to: one task with the program as it is computes every replica's gradients at the same variables; their
 * mean, taken in float64, is fed to the program's own updates in place of its gradients.
 */
import type { Session, TensorData } from '../../../src/runtime/index.js';
import { openEmbeddedSession } from '../../../src/runtime/index.js';
import type { OracleStep } from '../fixtures.js';
import type { FileTensor } from '../tensor-file.js';
import { FLOAT32_EPSILON, largestDifference, largestMagnitude } from '../tolerance.js';
import type { TrainingSpec } from './arbitrary.js';
import { LOSS, type Program, TRAIN_OP } from './program.js';
import { uniform } from './random.js';
import { type Feeds, sharesOf } from './shares.js';
import { type Weights, weightedMean } from './weighted-mean.js';

/** Trainings with errors as large as rounding makes them, which say how far it may lead. */
const PERTURBATIONS = 2;

/** `program` is the isolated one; `weights` tell how the replicas' gradients of each variable count. */
export async function oracleFor(
  program: Program,
  spec: TrainingSpec,
  weights: ReadonlyMap<string, Weights>,
): Promise<readonly OracleStep[]> {
  const plan = {
    digest: 'oracle',
    task: 0,
    initializers: program.initializers,
    feeds: {},
    fetches: {},
    notFetchable: {},
    background: [],
  };
  await using session = await openEmbeddedSession({ tasks: [{ graph: program.graph, plan }] });
  const trainer = new Trainer(session, program, spec, weights);
  const plain = await trainer.train();
  const bounds = plain.map(() => new Map<string, number>());
  for (let i = 0; i < PERTURBATIONS; i++) widen(bounds, plain, await trainer.train(i));
  widenShadows(bounds, plain, program.shadows);
  return plain.map((step, i) => ({ ...step, bounds: bounds[i]! }));
}

type Trained = Pick<OracleStep, 'variables' | 'losses'>;

class Trainer {
  readonly #session: Session;
  readonly #program: Program;
  readonly #spec: TrainingSpec;
  readonly #weights: ReadonlyMap<string, Weights>;

  constructor(session: Session, program: Program, spec: TrainingSpec, weights: ReadonlyMap<string, Weights>) {
    this.#session = session;
    this.#program = program;
    this.#spec = spec;
    this.#weights = weights;
  }

  /** The start and what each step comes to; with a number, gradients are disturbed. */
  async train(disturbance?: number): Promise<readonly Trained[]> {
    await this.#session.initialize();
    const history: Trained[] = [{ variables: await this.#read(), losses: [] }];
    for (let step = 0; step < this.#spec.steps; step++) {
      const shares = this.#spec.layout.flatMap((_, task) => sharesOf(this.#program, this.#spec, task, step));
      const results: Feeds[] = [];
      for (const feeds of shares) results.push(await this.#run(feeds, [LOSS, ...this.#gradientTensors()]));
      const means = this.#means(results);
      const rate = disturbance === undefined ? 0 : disturbanceOf(results, shares);
      const fed =
        rate === 0 ? means : disturbed(means, rate, `${disturbance} ${step}`, this.#program.spec.seed);
      // Averages of a batch are those of the chief's first replica.
      await this.#run({ ...shares[0]!, ...fed }, [TRAIN_OP]);
      const losses = results.map((result) => Number(result[LOSS]!.data[0]));
      history.push({ variables: await this.#read(), losses });
    }
    return history;
  }

  async #run(feeds: Feeds, fetches: readonly string[]): Promise<Feeds> {
    const [result] = await this.#session.run([{ feeds, fetches }]);
    return result!;
  }

  async #read(): Promise<ReadonlyMap<string, FileTensor>> {
    return (await this.#session.readVariables()) as ReadonlyMap<string, FileTensor>;
  }

  #gradientTensors(): readonly string[] {
    return [...this.#program.gradients.values()].flatMap((gradient) =>
      gradient.kind === 'dense' ? [gradient.tensor] : [gradient.indices, gradient.values],
    );
  }

  #means(results: readonly Feeds[]): Feeds {
    const means = [...this.#program.gradients].map(([name, gradient]) =>
      weightedMean(gradient, results, this.#weights.get(name)!),
    );
    return Object.assign({}, ...means) as Feeds;
  }
}

/** What rounding of the sums behind a gradient may come to, from the largest gradient of all: `eps * sqrt(terms) * |g|`. */
function disturbanceOf(results: readonly Feeds[], shares: readonly Feeds[]): number {
  const terms = Math.max(...shares.flatMap((share) => Object.values(share).map(({ data }) => data.length)));
  const gradients = results.flatMap((result) => Object.entries(result).filter(([name]) => name !== LOSS));
  const floats = gradients.filter(([, { dtype }]) => dtype === 'float32');
  const largest = Math.max(...floats.map(([, { data }]) => largestMagnitude(data as Float32Array)));
  return FLOAT32_EPSILON * Math.sqrt(terms) * largest;
}

function disturbed(means: Feeds, rate: number, name: string, seed: number): Feeds {
  const moved = Object.entries(means).map(([tensor, value]): [string, TensorData] => {
    if (value.dtype !== 'float32') return [tensor, value];
    const errors = uniform(seed, `${tensor} ${name}`, value.data.length);
    const data = Float32Array.from(value.data as Float32Array, (x, i) => x + (2 * errors[i]! - 1) * rate);
    return [tensor, { ...value, data }];
  });
  return Object.fromEntries(moved);
}

function widen(
  bounds: readonly Map<string, number>[],
  plain: readonly Trained[],
  moved: readonly Trained[],
): void {
  for (const [step, { variables }] of plain.entries()) {
    for (const [name, { data }] of variables) {
      const difference = largestDifference(moved[step]!.variables.get(name)!.data, data);
      bounds[step]!.set(name, Math.max(bounds[step]!.get(name) ?? 0, difference));
    }
  }
}

/** What a running average follows has been rounded when it was stored. */
function widenShadows(
  bounds: readonly Map<string, number>[],
  plain: readonly Trained[],
  shadows: Program['shadows'],
): void {
  for (const [step, { variables }] of plain.entries()) {
    for (const [shadow, name] of shadows) {
      const rounding = FLOAT32_EPSILON * largestMagnitude(variables.get(name)!.data);
      bounds[step]!.set(shadow, Math.max(bounds[step]!.get(shadow)!, rounding));
    }
  }
}
