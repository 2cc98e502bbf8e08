/** The form of a request: that its feeds and fetches are what the types say. What they mean is checked against plan and graph. */
import {
  check,
  checkFields,
  checkOptions,
  ELEMENTS,
  OBJECT,
  oneOf,
  optional,
  SIZES,
  TEXT,
  TEXTS,
} from '../check.js';
import { GradsyncError } from '../errors.js';
import { DTYPES, type DType } from '../graph/dtype.js';
import { CHECKPOINT_FORMATS } from './checkpoint-format.js';

const FEED = {
  dtype: oneOf(storable()),
  shape: SIZES,
  data: ELEMENTS,
};
const REQUEST = { feeds: OBJECT, fetches: TEXTS };

const REQUEST_REMEDY = 'give { feeds, fetches }';
const FEED_REMEDY =
  'give { dtype, shape, data }, e.g. { dtype: "float32", shape: [2], data: Float32Array.of(1, 2) }';

/** Dtypes that a feed may have; the others have no array in JavaScript here. */
function storable(): DType[] {
  return (Object.keys(DTYPES) as DType[]).filter((dtype) => dtype !== 'resource' && dtype !== 'variant');
}

/** Refuses requests that are not an array of one per task. */
export function checkRequests(requests: unknown, tasks: number): void {
  const remedy = 'give a request for every task, or call runTask for one of them';
  const expected = `an array of ${tasks}, one per task`;
  check('Requests of a step', requests, { expected, holds: Array.isArray }, remedy);
  const { length } = requests as readonly unknown[];
  if (length === tasks) return;
  throw new GradsyncError('INVALID_ARGUMENT', 'Requests of a step', {
    expected: `${tasks}, one per task`,
    received: String(length),
    remedy,
  });
}

export function checkRequest(request: unknown, task: number): void {
  const remedy =
    request === null ? `${REQUEST_REMEDY}, or null to run() where a task has none` : REQUEST_REMEDY;
  checkOptions(`Request of task ${task}`, request, REQUEST, remedy);
  for (const [name, feed] of Object.entries((request as { feeds: object }).feeds)) {
    checkFields(`Feed "${name}"`, feed, FEED, FEED_REMEDY);
  }
}

const CHECKPOINT_OPTIONS = {
  format: optional(oneOf(CHECKPOINT_FORMATS)),
};

export function checkCheckpoint(path: unknown, options: unknown): void {
  check('Checkpoint', path, TEXT, 'give the path of a file');
  checkOptions('Options of a checkpoint', options, CHECKPOINT_OPTIONS, 'give { format }, or nothing');
}
