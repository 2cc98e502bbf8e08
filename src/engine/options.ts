/** What the entry points of the engine are given, and the checks of it. */
import {
  BYTES,
  check,
  checkOptions,
  either,
  FUNCTION,
  MILLISECONDS,
  OBJECT,
  oneOf,
  optional,
  type Rule,
  SIGNAL,
  TEXT,
  TEXTS,
} from '../check.js';
import type { ResourceInput } from '../cluster/index.js';
import type { FeedOverride } from '../rewrite/index.js';
import { UNEVEN_BATCHES, type UnevenBatches } from '../runtime/rounds.js';
import { UNEVEN, type Uneven } from '../runtime/train.js';
import type { BuilderChoice, Strategy, StrategyBuilder } from '../strategy/index.js';

/** What is trained, where and how. */
export interface TrainingOptions {
  /** A GraphDef or MetaGraphDef, binary or text, or the path of a file that holds one. */
  readonly graph: Uint8Array | string;
  /** The machines: the path of a YAML file, or an object with the same keys. */
  readonly resources: ResourceInput | string;
  /** A builder's name (`ps`, `ps-lb`) or that with options, a strategy, either of them in JSON, or a builder of one's own. */
  readonly strategy: string | BuilderChoice | Strategy | StrategyBuilder;
  /** Gradient pairs, `variable|gradient` or `variable|indices;values;dense_shape`; found in the graph where not given. */
  readonly gradients?: readonly string[];
  /** How feeds are shared by the replicas of a task, by tensor name; for others it follows from their shapes. */
  readonly feeds?: Readonly<Record<string, FeedOverride>>;
  /** Tensors and operations that will be fetched: each must exist, and is listed in the plan. */
  readonly fetches?: readonly string[];
  /**
   * What becomes of the other tasks when one runs out of data (`Session.train`; on TensorFlow `rollCall` of the plan): `stop` ends the training
   * before that step, `join` goes on without it, with the mean over those that have data. Without it data that end at different steps are
   * an error.
   */
  readonly uneven?: Uneven;
}

export interface TransformOptions extends TrainingOptions {
  /** The task whose graph is wanted; 0 is the chief. */
  readonly task: number;
}

export interface SessionOptions extends TrainingOptions {
  /** Milliseconds that one operation may wait for other tasks. Default 60,000. */
  readonly deadlineMs?: number;
  /** Ends the session and all that runs in it. */
  readonly signal?: AbortSignal;
  /**
   * What becomes of a training step in which tasks get batches of different sizes. Their gradients are averaged with equal weight, so
   * examples of a small batch would weigh more: by default (`refuse`) such a step is an error before it begins; `allow` trains it.
   */
  readonly unevenBatches?: UnevenBatches;
  /** A file that gets the times of all operations when the session ends, as a Chrome trace (chrome://tracing, ui.perfetto.dev). */
  readonly trace?: string;
}

const TRAINING_RULES = {
  graph: either({ ...TEXT, expected: 'the path of a file' }, BYTES),
  resources: either(
    { ...TEXT, expected: 'the path of a YAML file' },
    { ...OBJECT, expected: 'an object with nodes' },
  ),
  strategy: either(
    { ...TEXT, expected: "a builder's name" },
    { ...OBJECT, expected: 'a strategy or a builder' },
  ),
  gradients: optional(TEXTS),
  feeds: optional(OBJECT),
  fetches: optional(TEXTS),
  uneven: optional(oneOf(UNEVEN)),
};
const INTEGER: Rule = { expected: 'an integer', holds: Number.isInteger };
const SPLIT_FIELDS = {
  split: { expected: 'an axis, from 0 on', holds: (value: unknown) => Number.isSafeInteger(value) },
};
const FEED_RULE = either({ expected: '"all"', holds: (value) => value === 'all' }, OBJECT);
const TRANSFORM_RULES = { task: INTEGER };
const SESSION_RULES = {
  deadlineMs: optional(MILLISECONDS),
  signal: optional(SIGNAL),
  unevenBatches: optional(oneOf(UNEVEN_BATCHES)),
  trace: optional({ ...TEXT, expected: 'the path of a file' }),
};

export function checkTransformOptions(options: unknown): void {
  checkGiven('Options of transform', options, TRANSFORM_RULES);
}

export function checkTrainingOptions(options: unknown, asked = 'transformAll'): void {
  checkGiven(`Options of ${asked}`, options, {});
}

export function checkSessionOptions(options: unknown): void {
  checkGiven('Options of openSession', options, SESSION_RULES);
}

function checkGiven(subject: string, options: unknown, more: Readonly<Record<string, Rule>>): void {
  check(subject, options, OBJECT, 'give { graph, resources, strategy }');
  checkOptions(subject, options, { ...TRAINING_RULES, ...more }, 'correct the option');
  for (const [name, rule] of Object.entries((options as TrainingOptions).feeds ?? {})) {
    const remedy = 'give { split: <axis> } or "all"';
    check(`${subject}, feed "${name}"`, rule, FEED_RULE, remedy);
    if (rule !== 'all') checkOptions(`${subject}, feed "${name}"`, rule, SPLIT_FIELDS, remedy);
  }
}

const STRATEGY: Rule = {
  expected: 'an object with replicas and variables',
  holds: (value) =>
    OBJECT.holds(value) &&
    Array.isArray((value as Partial<Strategy>).replicas) &&
    Array.isArray((value as Partial<Strategy>).variables),
};

/** Refuses what a builder of the caller's own gave, if it is no strategy. */
export function checkBuilt(builder: string, strategy: unknown): void {
  check(`Strategy of builder "${builder}"`, strategy, STRATEGY, 'return a strategy from build()');
}

export function checkBuilder(build: unknown): void {
  check('Strategy, "build"', build, FUNCTION, 'give a builder, a strategy or a name');
}
