/**
 * Device names, as TensorFlow's DeviceNameUtils read, print and merge them: full (`/job:worker/replica:0/task:1/device:CPU:0`), partial
 * (`/job:ps`), with wildcards (`/device:GPU:*`) and in the older short form (`/cpu:0`, `CPU:0`).
 */
import { GradsyncError } from '../errors.js';

/** A device, whole or in part. An absent field is free: it matches anything and is filled in by whoever places the operation. */
export interface DeviceName {
  readonly job?: string;
  readonly replica?: number;
  readonly task?: number;
  /** `CPU`, `GPU`, ... */
  readonly type?: string;
  readonly index?: number;
}

type Draft = { -readonly [K in keyof DeviceName]: DeviceName[K] };

const FIELDS: readonly (keyof DeviceName)[] = ['job', 'replica', 'task', 'type', 'index'];
const IDENTIFIER = /^[A-Za-z][A-Za-z0-9_]*$/;
const NUMBER = /^[0-9]{1,9}$/;
/** Types that have a short form, and are upper case however they are written. */
const SHORT_TYPES = new Set(['CPU', 'GPU']);

/** Parses a device name; `''` and `/` are the device about which nothing is said. Bad text is INVALID_ARGUMENT. */
export function parseDevice(text: string): DeviceName {
  const draft: Draft = {};
  for (const part of text.split('/')) {
    if (part === '') continue;
    if (!readPart(part.split(':'), draft)) throw badDevice(text);
  }
  return draft;
}

/** TensorFlow's canonical text: fields in order, free ones left out, a free half of the device as `*`. */
export function printDevice(device: DeviceName): string {
  const { job, replica, task, type, index } = device;
  const parts = [
    job === undefined ? '' : `/job:${job}`,
    replica === undefined ? '' : `/replica:${replica}`,
    task === undefined ? '' : `/task:${task}`,
    type === undefined && index === undefined ? '' : `/device:${type ?? '*'}:${index ?? '*'}`,
  ];
  return parts.join('');
}

/** The device both describe; INVALID_ARGUMENT if they contradict each other. */
export function mergeDevices(a: DeviceName, b: DeviceName): DeviceName {
  const conflict = FIELDS.find(
    (field) => a[field] !== undefined && b[field] !== undefined && a[field] !== b[field],
  );
  if (conflict !== undefined) {
    throw new GradsyncError(
      'INVALID_ARGUMENT',
      `Merging devices "${printDevice(a)}" and "${printDevice(b)}"`,
      {
        expected: `the same ${conflict}, or none`,
        received: `${a[conflict]} and ${b[conflict]}`,
        remedy: 'leave that part out of one of them, or use overrideDevice',
      },
    );
  }
  return { ...a, ...b };
}

/** `base` with every field that `over` names taken from `over`: what nested `tf.device` scopes do. */
export function overrideDevice(base: DeviceName, over: DeviceName): DeviceName {
  return { ...base, ...over };
}

/** Whether nothing is left free. */
export function isFullDevice(device: DeviceName): device is Required<DeviceName> {
  return FIELDS.every((field) => device[field] !== undefined);
}

/** Reads one slash-separated part into the draft; false if it is not understood. */
function readPart(words: readonly string[], draft: Draft): boolean {
  const [key = '', value = '', rest] = words;
  switch (key) {
    case 'job':
      return words.length === 2 && readName(value, (job) => (draft.job = job));
    case 'replica':
      return words.length === 2 && readNumber(value, (replica) => (draft.replica = replica));
    case 'task':
      return words.length === 2 && readNumber(value, (task) => (draft.task = task));
    case 'device':
      return words.length <= 3 && value !== '' && readDevice(value, rest ?? '*', draft);
    default:
      return (
        words.length <= 2 && SHORT_TYPES.has(key.toUpperCase()) && readDevice(key, words[1] ?? '*', draft)
      );
  }
}

function readDevice(type: string, index: string, draft: Draft): boolean {
  if (draft.type !== undefined || draft.index !== undefined) return false;
  const upper = type.toUpperCase();
  return (
    readName(SHORT_TYPES.has(upper) ? upper : type, (value) => (draft.type = value)) &&
    readNumber(index, (value) => (draft.index = value))
  );
}

function readName(text: string, set: (value: string) => void): boolean {
  if (text === '*') return true;
  if (!IDENTIFIER.test(text)) return false;
  set(text);
  return true;
}

function readNumber(text: string, set: (value: number) => void): boolean {
  if (text === '*') return true;
  if (!NUMBER.test(text)) return false;
  set(Number(text));
  return true;
}

function badDevice(text: string): GradsyncError {
  return new GradsyncError('INVALID_ARGUMENT', 'Device name', {
    expected: 'parts such as /job:worker/replica:0/task:0/device:CPU:0',
    received: JSON.stringify(text),
    remedy: 'leave out what is free, or write * for it',
  });
}
